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
        """Send what is left, for at most ``timeout_s``; a collector in trouble gets `GRACE_S`.

        The SDK's own flush has no time limit and its shutdown waits for 30 s. So it runs in a thread which the end of
        the process cuts off; what was not sent by then is lost.
        """
        done = threading.Event()

        def finish() -> None:
            self._provider.shutdown()
            done.set()

        threading.Thread(target=finish, name="snakeway-spans-close", daemon=True).start()
        grace_s = min(GRACE_S, timeout_s)
        if done.wait(grace_s) or (not self._trouble.now and done.wait(timeout_s - grace_s)):
            _OTEL_LOGGER.removeHandler(self._trouble)
            _OTEL_LOGGER.propagate = True
            return not self._trouble.now
        self._trouble.tell("the collector does not answer")
        self._exporter.shutdown()  # ends the wait between two tries
        return False


class _Exporter(OTLPSpanExporter):
    def __init__(self, trouble: "_Trouble") -> None:
        super().__init__()
        self._trouble = trouble
        self._stopped = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._stopped:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        self._trouble.now = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        if not self._stopped:  # the SDK logs a warning when it is told twice
            self._stopped = True
            super().shutdown()  # type: ignore[no-untyped-call]


class _Trouble(logging.Handler):
    """Knows from the SDK's log messages whether the collector takes what is sent, and tells the first failure."""

    def __init__(self, complain: Callable[[str], None] | None) -> None:
        super().__init__(logging.WARNING)
        self.now = False
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        self.now = True
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
