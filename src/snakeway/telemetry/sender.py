"""The way of spans to a collector, through OpenTelemetry's SDK. Importing this module imports the SDK."""

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

from snakeway import __version__
from snakeway.telemetry import names
from snakeway.telemetry.spans import Attribute, Result, SpanRef

# A run of 10,000 jobs must arrive whole, also when the collector is away for a while. The SDK's queue of 2,048 drops
# what comes beyond; one of 65,536 takes some 50 MB, and only when nobody takes the spans.
QUEUE_SPANS = 65_536
SEND_EVERY_MS = 1_000
GRACE_S = 1.0  # at the end: time that a collector gets which has refused, or not answered, what was sent last
CLOSING = "snakeway-spans-close"  # the thread that sends what is left

_INT64 = 2**63
_SILENT = "the collector does not answer"
_REFUSES = "the collector does not take them"
_OTEL_LOGGER = logging.getLogger("opentelemetry")


def resource() -> Resource:
    """Who sends. The standard variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our own words."""
    ours = {"service.name": names.SERVICE_NAME, "service.version": __version__, "host.name": platform.node()}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


class Sender:
    """Queues finished spans and sends them from a thread of its own."""

    def __init__(self, complain: Callable[[str], None] | None) -> None:
        self._exporter = _Exporter(complain)
        self._listener = _Listener(self._exporter)
        _OTEL_LOGGER.addHandler(self._listener)
        if complain is not None:
            _OTEL_LOGGER.propagate = False  # else every batch that fails would be several lines in snakemake's log
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            resource=resource(),
            id_generator=self._ids,
            shutdown_on_exit=False,  # that would wait up to 30 s for a dead collector
        )
        processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=_unless("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS),
            schedule_delay_millis=_unless("OTEL_BSP_SCHEDULE_DELAY", SEND_EVERY_MS),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(names.SCOPE, __version__)

    def send(
        self,
        ref: SpanRef,
        parent: SpanRef | None,
        name: str,
        times: tuple[float, float],
        outcome: tuple[Result, str],
        attributes: Mapping[str, Attribute],
        log_tail: str,
        *,
        of_server: bool = False,
    ) -> None:
        """Queue one span; see `Spans` for the meaning of everything."""
        start, end = (max(0, int(seconds * 1e9)) for seconds in times)
        result, message = outcome
        clean = {key: _encodable(value) for key, value in attributes.items()}
        kind = trace.SpanKind.SERVER if of_server else trace.SpanKind.INTERNAL
        with self._ids.giving(ref):
            span = self._tracer.start_span(name, _context(parent), kind, clean, start_time=start)
        if log_tail:
            span.add_event(names.EVENT_LOG, {names.LOG_TEXT: _encodable(log_tail)}, timestamp=end)
        if result is not Result.SUCCESS:
            span.set_status(trace.StatusCode.ERROR, str(_encodable(message or result.value)))
        span.end(end_time=max(start, end))

    def close(self, timeout_s: float) -> bool:
        """Send what is left, for at most ``timeout_s``; return whether the collector has taken all that was sent.

        One that refuses is not waited for. One that has not answered before, and does not now, gets `GRACE_S`.

        The SDK's own flush has no time limit and its shutdown waits for 30 s. So it runs in a thread which the end of
        the process cuts off; what was not sent by then is lost.
        """
        ended = threading.Event()

        def finish() -> None:
            self._provider.shutdown()
            ended.set()

        self._exporter.hurry()
        threading.Thread(target=finish, name=CLOSING, daemon=True).start()
        grace_s = min(GRACE_S, timeout_s)
        if not ended.wait(grace_s) and not self._exporter.trouble:
            ended.wait(timeout_s - grace_s)
        sent = ended.is_set() and not self._exporter.lost
        if not ended.is_set() or self._exporter.untold:
            self._exporter.complain(self._exporter.untold or self._exporter.trouble or _SILENT)
        if ended.is_set():
            _OTEL_LOGGER.removeHandler(self._listener)
            _OTEL_LOGGER.propagate = True
        else:
            self._exporter.shutdown()  # the SDK's thread then has nothing more to do
        return sent


class _Exporter(SpanExporter):
    """Sends a batch as the SDK does: for 10 s, with longer and longer pauses, and then drops it.

    At the end there are no pauses: a batch gets one more try at once, and when that is refused too, nothing more is
    sent. Only its shutdown ends the pause of an exporter of the SDK, so the next try takes a new one.
    """

    def __init__(self, complain: Callable[[str], None] | None) -> None:
        self.trouble = ""  # why the collector takes nothing at present
        self.lost = False
        self.untold = ""  # why something is lost, as far as nobody was told
        self.worker = 0  # the SDK's thread that sends
        self._complain, self._told = complain, False
        self._why, self._refused = "", False  # what became of the batch being sent; refused: it may be tried again
        self._closing = self._stopped = self._ended = False
        self._exporter = OTLPSpanExporter()
        self._ending = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.worker = threading.get_ident()
        for _ in range(2):
            if self._stopped:
                break
            self._why, self._refused = "", False
            if self._ready().export(spans) is SpanExportResult.SUCCESS:
                self.trouble, self._told = "", False
                return SpanExportResult.SUCCESS
            if not (self._refused or self._ended):  # the collector answers, and may take others
                self.trouble = ""
                break
            self.trouble = self._why or self.trouble or _REFUSES
            if not self._closing:
                break
        else:
            self._stopped = True
        self.lost = True
        if self._closing:
            self.untold = self.untold or self._why or self.trouble
        return SpanExportResult.FAILURE

    def paused(self, why: str) -> None:
        """Note that the batch being sent waits for its next try; at the end it does not wait."""
        self.trouble = self._why = why
        self._refused = True
        if self._closing:
            self._end()

    def dropped(self, why: str) -> None:
        """Note that the SDK gives the batch up: refused for good, or without ``why``, when it only ran out of tries.

        It is told at once, but at the end, where another try may follow.
        """
        self._refused = not why
        self._why = why or self._why or _REFUSES
        if not self._closing:
            self.complain(self._why)

    def complain(self, why: str) -> None:
        """Tell that spans are lost; once, until the collector takes some again."""
        if self._complain is not None and not self._told:
            self._told = True
            self._complain(f"spans are not sent: {why}")

    def hurry(self) -> None:
        """From now on wait for no pause, also not for one that has begun."""
        self._closing = True
        if self.trouble:
            self._end()

    def shutdown(self) -> None:
        self._stopped = True
        self._end()

    def _ready(self) -> OTLPSpanExporter:
        with self._ending:
            if self._ended and not self._stopped:
                self._exporter, self._ended = OTLPSpanExporter(), False
            return self._exporter

    def _end(self) -> None:
        with self._ending:
            if not self._ended:  # the SDK logs a warning when it is told twice
                self._ended = True
                self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Listener(logging.Handler):
    """Learns from the SDK's log messages, as nothing else tells, what becomes of a batch while it is being sent."""

    def __init__(self, exporter: _Exporter) -> None:
        super().__init__(logging.WARNING)
        self._exporter = exporter

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._exporter.worker:  # of another sender, or of metrics
            return
        told = str(record.msg)
        if record.levelno >= logging.ERROR:
            # After a pause, or where the next would be too long, the SDK does not say why.
            self._exporter.dropped("" if "due to timeout" in told else record.getMessage())
        elif told.startswith("Transient error") and isinstance(record.args, tuple):
            why = record.args[0]  # what went wrong with the connection, or the words of a status such as 503
            self._exporter.paused(f"the collector answers: {why}" if isinstance(why, str) else _SILENT)


class _GivenIds(IdGenerator):
    """Hands out the ids that were given: the SDK asks for a span's id, and for the trace's if the span is a root."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ref = SpanRef(1, 1)

    @contextmanager
    def giving(self, ref: SpanRef) -> Iterator[None]:
        """Give ``ref`` to the one span that is started within."""
        with self._lock:
            self._ref = ref
            yield

    def generate_span_id(self) -> int:
        return self._ref.span_id

    def generate_trace_id(self) -> int:
        return self._ref.trace_id


@lru_cache(maxsize=8)  # all jobs of an attempt have one parent
def _context(parent: SpanRef | None) -> Context:
    if parent is None:
        return Context()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    known = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(known), Context())


def _encodable(value: Attribute) -> Attribute:
    """Return ``value`` as protobuf can carry it: one bad value would lose its whole batch."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # file names may hold bytes that are not UTF-8
    return value if -_INT64 <= value < _INT64 else str(value)


def _unless(variable: str, value: int) -> int | None:
    """Return ``value``, or None if the standard variable is set: the SDK then reads it."""
    return None if os.environ.get(variable) else value
