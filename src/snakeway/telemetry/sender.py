"""The way of spans to a collector, through OpenTelemetry's SDK. Importing this module imports the SDK."""

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

from snakeway import __version__
from snakeway.telemetry import names
from snakeway.telemetry.spans import Attribute, Result, SpanRef

# A run of 10,000 jobs must arrive whole, also when the collector is away for a while. The SDK's queue of 2,048 drops
# what comes beyond; one of 65,536 takes some 50 MB, and only when nobody takes the spans.
QUEUE_SPANS = 65_536
SEND_EVERY_MS = 1_000
GRACE_S = 1.0  # at the end: time that a collector gets which has refused, or not answered, what was sent last
LAST_TRY_S = 0.5  # of that, for one batch. Shorter than the SDK's first pause (0.8 s), so that it makes no second try

_INT64 = 2**63
_OTEL_LOGGER = logging.getLogger("opentelemetry")


def resource() -> Resource:
    """Who sends. The standard variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our own words."""
    ours = {"service.name": names.SERVICE_NAME, "service.version": __version__, "host.name": platform.node()}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


class Sender:
    """Queues finished spans and sends them from a thread of its own."""

    def __init__(self, complain: Callable[[str], None] | None) -> None:
        self._trouble = _Trouble(complain)
        _OTEL_LOGGER.addHandler(self._trouble)
        if complain is not None:
            _OTEL_LOGGER.propagate = False  # else every batch that fails would be several lines in snakemake's log
        self._exporter = _Exporter(self._trouble)
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
        """Send what is left, for at most ``timeout_s``; a collector in trouble gets one try of each batch.

        One that refuses connections is so given up at once, and one that does not answer after `GRACE_S`.

        The SDK's own flush has no time limit and its shutdown waits for 30 s. So it runs in a thread which the end of
        the process cuts off; what was not sent by then is lost.
        """
        ended, news = threading.Event(), threading.Event()
        self._trouble.announce(news)

        def finish() -> None:
            self._provider.shutdown()
            ended.set()
            news.set()

        threading.Thread(target=finish, name="snakeway-spans-close", daemon=True).start()
        until = time.monotonic() + timeout_s
        if news.wait(timeout_s) and not ended.is_set():  # trouble
            self._exporter.hurry()
            ended.wait(min(GRACE_S, until - time.monotonic()))
            if not self._trouble.now:
                ended.wait(until - time.monotonic())
        if ended.is_set():
            _OTEL_LOGGER.removeHandler(self._trouble)
            _OTEL_LOGGER.propagate = True
            return not self._trouble.now
        self._trouble.tell("the collector does not answer")
        self._exporter.shutdown()  # ends the wait between two tries
        return False


class _Exporter(OTLPSpanExporter):
    """Knows how each batch fared. The SDK's exporter tries a batch for 10 s, with pauses, and then drops it."""

    def __init__(self, trouble: "_Trouble") -> None:
        super().__init__()
        self._trouble = trouble
        self._last: OTLPSpanExporter | None = None
        self._stopped = False
        self._ending = threading.Lock()  # the SDK logs a warning when it is told twice to shut down

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._stopped:
            return SpanExportResult.FAILURE
        result = super().export(spans) if self._last is None else SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS and self._last is not None:
            result = self._last.export(spans)
        self._trouble.now = result is not SpanExportResult.SUCCESS
        return result

    def hurry(self) -> None:
        """From now on try each batch once. A batch whose next try is being waited for is tried at once."""
        with self._ending:
            if not self._stopped:
                self._last = OTLPSpanExporter(timeout=LAST_TRY_S)
                super().shutdown()  # type: ignore[no-untyped-call]

    def shutdown(self) -> None:
        with self._ending:
            if self._stopped:
                return
            self._stopped = True
            if self._last is None:
                super().shutdown()  # type: ignore[no-untyped-call]
            else:
                self._last.shutdown()  # type: ignore[no-untyped-call]


class _Trouble(logging.Handler):
    """Knows from the SDK's log messages whether the collector takes what is sent, and tells the first failure."""

    def __init__(self, complain: Callable[[str], None] | None) -> None:
        super().__init__(logging.WARNING)
        self.now = False
        self._complain = complain
        self._news: threading.Event | None = None

    def announce(self, news: threading.Event) -> None:
        """Set ``news`` if there is trouble, now or later."""
        self._news = news
        if self.now:
            news.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.now = True
        if self._news is not None:
            self._news.set()
        if record.levelno >= logging.ERROR:
            self.tell(record.getMessage())

    def tell(self, text: str) -> None:
        if self._complain is not None:
            self._complain(f"spans are not sent: {text}")


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
