"""Spans and metric points as plain Python values, decoded from OTLP requests."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as ProtoMetric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Value: TypeAlias = "str | bool | int | float | bytes | list[Value] | dict[str, Value] | None"
Attributes: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True)
class Event:
    """Something that happened within a span; the time is in nanoseconds since 1970."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """A finished span as it arrived.

    Ids are in lower-case hexadecimal (32 digits for a trace, 16 for a span), times in nanoseconds since
    1970. `parent_id` is None for a root span. `status` is UNSET, OK or ERROR. `links` holds pairs of
    trace id and span id. `resource` holds the attributes of the sender, such as `service.name`.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[tuple[str, str], ...]
    resource: Attributes


@dataclass(frozen=True)
class MetricPoint:
    """One measured value of a sum, gauge or histogram, for one set of attributes at one time.

    For a histogram `value` is the sum of what was recorded and `count` how often; otherwise `count` is
    None.
    """

    name: str
    unit: str
    value: float
    count: int | None
    time_ns: int
    attributes: Attributes
    resource: Attributes


def decode_spans(body: bytes) -> Iterator[Span]:
    """Give the spans of a trace export request; raises google.protobuf.message.DecodeError for nonsense."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource)


def decode_metrics(body: bytes) -> Iterator[MetricPoint]:
    """Give the points of a metrics export request; raises DecodeError for nonsense.

    Points of exponential histograms and summaries are left out.
    """
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                yield from _points(metric, resource)


def _span(span: ProtoSpan, resource: Attributes) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(Event(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        resource=resource,
    )


def _points(metric: ProtoMetric, resource: Attributes) -> Iterator[MetricPoint]:
    for number in (*metric.sum.data_points, *metric.gauge.data_points):
        value = number.as_int if number.WhichOneof("value") == "as_int" else number.as_double
        known = _attributes(number.attributes)
        yield MetricPoint(metric.name, metric.unit, value, None, number.time_unix_nano, known, resource)
    for recorded in metric.histogram.data_points:
        total, count, time_ns = recorded.sum, recorded.count, recorded.time_unix_nano
        known = _attributes(recorded.attributes)
        yield MetricPoint(metric.name, metric.unit, total, count, time_ns, known, resource)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case None:
            return None
        case kind:
            plain: str | bool | int | float | bytes = getattr(value, kind)
            return plain
