"""Spans and metrics: ids, parents, when they are sent, and what a collector in trouble costs."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

from snakeway import ids
from snakeway.telemetry import Result, SpanRef, Spans, attempt_ref, configured, job_ref, names, run_ref, sender
from snakeway.telemetry.metrics import Metrics
from snakeway.telemetry.spans import CLOSE_S
from tests.support.sink import RETRY_AFTER_S, Sink, running_sink
from tests.support.telemetry import Span, decode_metrics, decode_spans
from tests.support.waiting import wait_until

RUN, ATTEMPT = ids.new_id(), ids.new_id()
CALLER = SpanRef(0xABC, 0xDEF)
REFS = st.builds(SpanRef, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())


@pytest.fixture(autouse=True)
def no_telemetry_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with running_sink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{sink.server_port}")
        yield sink


@pytest.fixture
def collector_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.fixture
def collector_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.fixture
def one_span_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")


def arrived(collector: Sink) -> list[Span]:
    return [
        span
        for path, body in [collector.requests.get() for _ in range(collector.requests.qsize())]
        if path == "/v1/traces"
        for span in decode_spans(body)
    ]


def send_job(spans: Spans, job: int = 1, **more: object) -> None:
    spans.job(attempt_ref(RUN, ATTEMPT), ATTEMPT, job, 1, "align", 10, 20, Result.SUCCESS, **more)  # type: ignore[arg-type]


def close_within(spans: Spans, limit_s: float, timeout_s: float = CLOSE_S) -> bool:
    begun = time.monotonic()
    sent = spans.close(timeout_s)
    assert time.monotonic() - begun < limit_s
    return sent


def answer_from_the_end_on(collector: Sink) -> None:
    """Have the collector answer when spans are being closed, which takes a thread, and not sooner."""
    before = set(threading.enumerate())

    def answer() -> None:
        with suppress(AssertionError):  # the test has failed before the end, and says why
            wait_until(
                lambda: any(thread.name == sender.CLOSING for thread in set(threading.enumerate()) - before),
                timeout_s=60,
                what="the end of the spans",
            )
        collector.answering.set()

    threading.Thread(target=answer, daemon=True).start()


@given(REFS)
def test_a_traceparent_is_read_back(ref: SpanRef) -> None:
    assert SpanRef.parse(ref.traceparent()) == ref
    assert SpanRef.parse(f" {ref.traceparent()}\n") == ref


@given(REFS)
def test_a_later_version_may_say_more(ref: SpanRef) -> None:
    assert SpanRef.parse("01" + ref.traceparent()[2:] + "-more") == ref
    assert SpanRef.parse(ref.traceparent() + "-more") is None
    assert SpanRef.parse("ff" + ref.traceparent()[2:]) is None


@given(st.text() | st.from_regex(r"[0-9a-fA-F]{2}-[0-9a-fA-F]{31,33}-[0-9a-fA-F]{15,17}-[0-9a-f]{1,3}", fullmatch=True))
def test_what_is_not_a_traceparent_is_no_span(text: str) -> None:
    found = SpanRef.parse(text)
    assert found is None or found.traceparent()[3:52] == text.strip()[3:52]


@pytest.mark.parametrize("text", [None, "", f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01"])
def test_nothing_and_zeros_are_no_span(text: str | None) -> None:
    assert SpanRef.parse(text) is None


def test_spans_have_their_places_by_name() -> None:
    run, attempt = run_ref(RUN), attempt_ref(RUN, ATTEMPT)
    tries = [job_ref(attempt, ATTEMPT, 7, number) for number in (1, 2)]
    assert run.trace_id == ids.trace_id(RUN)
    assert len({ref.span_id for ref in (run, attempt, *tries)}) == 4
    assert {ref.trace_id for ref in (attempt, *tries)} == {run.trace_id}


def test_a_run_of_a_caller_is_in_the_callers_trace() -> None:
    unsampled = SpanRef(5, 6, sampled=False)
    assert attempt_ref(RUN, ATTEMPT, CALLER).trace_id == CALLER.trace_id
    assert attempt_ref(RUN, ATTEMPT, CALLER).span_id == attempt_ref(RUN, ATTEMPT).span_id
    assert not attempt_ref(RUN, ATTEMPT, unsampled).sampled


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "console"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE"}, False, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False, False),
    ],
)
def test_the_standard_variables_decide(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], traces: bool, metrics: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (configured(), configured("METRICS")) == (traces, metrics)


def test_opentelemetry_is_not_imported_before_the_first_span() -> None:
    program = (
        "import sys, threading; from snakeway.telemetry import *; spans = Spans()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "assert threading.active_count() == 1\n"
        f"spans.run('{RUN}', 'w', 1, 2, Result.SUCCESS); assert spans.close()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_is_one_trace(collector: Sink) -> None:
    spans = Spans()
    attempt = attempt_ref(RUN, ATTEMPT, CALLER)
    spans.job(attempt, ATTEMPT, 7, 1, "align", 11, 12.5, Result.SUCCESS, attributes={names.THREADS: 4})
    spans.queued(attempt, ATTEMPT, 7, 1, "align", (10.5, 11))
    spans.attempt(RUN, ATTEMPT, 10, 20, Result.SUCCESS, caller=CALLER)
    spans.run(RUN, "demo", 1, 30, Result.SUCCESS, caller=CALLER)
    assert spans.close()
    found = {span.name: span for span in arrived(collector)}
    job, attempt_span, run = found["job align"], found["attempt"], found["run demo"]
    assert {span.trace_id for span in found.values()} == {f"{CALLER.trace_id:032x}"}
    assert run.parent_id == f"{CALLER.span_id:016x}"
    assert (job.parent_id, attempt_span.parent_id) == (attempt_span.span_id, run.span_id)
    assert job.span_id == f"{job_ref(attempt, ATTEMPT, 7, 1).span_id:016x}"
    assert (job.start_ns, job.end_ns) == (11_000_000_000, 12_500_000_000)
    assert job.attributes[names.TASK_ID] == f"{ATTEMPT}/7/1"
    assert job.attributes[names.THREADS] == 4
    assert job.status == "UNSET"
    queued = found["queue align"]
    assert (queued.parent_id, queued.end_ns - queued.start_ns) == (attempt_span.span_id, 500_000_000)
    assert queued.span_id != job.span_id


def test_a_run_without_a_caller_is_a_root(collector: Sink) -> None:
    spans = Spans()
    spans.run(RUN, "demo", 1, 30, Result.CANCELLATION)
    assert spans.close()
    (run,) = arrived(collector)
    assert (run.trace_id, run.parent_id) == (f"{ids.trace_id(RUN):032x}", None)
    assert (run.status, run.status_message) == ("ERROR", "cancellation")


def test_a_failure_carries_message_and_log(collector: Sink) -> None:
    spans = Spans()
    attempt = attempt_ref(RUN, ATTEMPT)
    spans.job(attempt, ATTEMPT, 1, 2, "align", 10, 20, Result.FAILURE, message="exit code 7", log_tail="boom")
    assert spans.close()
    (job,) = arrived(collector)
    assert (job.status, job.status_message) == ("ERROR", "exit code 7")
    assert [(event.name, event.time_ns, event.attributes) for event in job.events] == [
        (names.EVENT_LOG, 20_000_000_000, {names.LOG_TEXT: "boom"})
    ]


def test_an_unsampled_caller_gets_no_spans(collector: Sink) -> None:
    spans = Spans()
    spans.run(RUN, "demo", 1, 30, Result.SUCCESS, caller=SpanRef(1, 2, sampled=False))
    assert spans.close()
    assert arrived(collector) == []


def test_values_that_protobuf_refuses_do_not_lose_their_batch(collector: Sink) -> None:
    spans = Spans()
    send_job(spans, 1)
    send_job(spans, 2, message="\udcff", log_tail="\udcff", attributes={"name": "\udcff", "huge": 2**80, "flag": True})
    spans.job(attempt_ref(RUN, ATTEMPT), ATTEMPT, 3, 1, "late", -5, -10, Result.SUCCESS)
    assert spans.close()
    found = arrived(collector)
    assert len(found) == 3
    assert found[1].attributes["name"] == "?"
    assert found[1].attributes["huge"] == str(2**80)


def test_ten_thousand_spans_arrive(collector: Sink) -> None:
    spans = Spans()
    for job in range(10_000):
        send_job(spans, job)
    assert close_within(spans, 50, timeout_s=60)
    assert len({span.span_id for span in arrived(collector)}) == 10_000


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        ({}, "snakeway"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,team=a"}, "theirs"),
    ],
)
def test_the_environment_names_the_service(
    collector: Sink, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], service: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    spans = Spans()
    send_job(spans)
    assert spans.close()
    (span,) = arrived(collector)
    assert span.resource["service.name"] == service
    assert span.resource["host.name"]


@pytest.fixture
def patient_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK tries for so long that it takes a pause of `RETRY_AFTER_S`."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(4 * RETRY_AFTER_S))


@pytest.fixture
def no_time_runs_out(patient_sdk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector in trouble gets a minute at the end: whoever waits is seen to wait."""
    monkeypatch.setattr(sender, "GRACE_S", 60)


@pytest.mark.usefixtures("collector_that_is_down", "no_time_runs_out")
def test_a_collector_that_is_down_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    spans = Spans(said.append)
    for job in range(3_000):
        send_job(spans, job)
    assert not close_within(spans, 20, timeout_s=60)
    assert said == ["spans are not sent: the collector does not answer"]
    assert caplog.records == []


@pytest.mark.usefixtures("no_time_runs_out", "one_span_in_a_batch")
def test_a_collector_that_goes_on_refusing_is_not_waited_for(collector: Sink) -> None:
    collector.refusals = [503] * 1000
    said: list[str] = []
    spans = Spans(said.append)
    send_job(spans)
    wait_until(lambda: len(collector.refused) >= 1, timeout_s=30, what="the first span to be refused")
    for job in range(2, 100):
        send_job(spans, job)
    assert not close_within(spans, 20, timeout_s=60)
    assert len(collector.refused) < 5, "nothing is sent any more after the last try"
    assert said == ["spans are not sent: the collector answers: Service Unavailable"]


@pytest.mark.usefixtures("no_time_runs_out", "one_span_in_a_batch")
def test_a_collector_that_is_back_at_the_end_gets_everything(collector: Sink, caplog: pytest.LogCaptureFixture) -> None:
    collector.refusals = [503]
    said: list[str] = []
    spans = Spans(said.append)
    send_job(spans)
    wait_until(lambda: len(collector.refused) == 1, timeout_s=30, what="the span to be refused")
    send_job(spans, 2)
    assert close_within(spans, RETRY_AFTER_S - 10, timeout_s=60)
    assert len(arrived(collector)) == 2
    assert (said, caplog.records) == ([], [])


@pytest.mark.usefixtures("one_span_in_a_batch")
@pytest.mark.parametrize("timeout", ["10", str(4 * RETRY_AFTER_S)], ids=["no pause is so long", "pause"])
@pytest.mark.parametrize("status", [429, 503])
def test_one_refusal_at_the_end_loses_nothing(
    status: int, timeout: str, collector: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "GRACE_S", 60)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", timeout)
    collector.answering.clear()
    collector.refusals = [status]
    said: list[str] = []
    spans = Spans(said.append)
    for job in range(3):
        send_job(spans, job)
    answer_from_the_end_on(collector)
    assert close_within(spans, 20, timeout_s=60)
    assert len(arrived(collector)) == 3
    assert said == []


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_what_was_lost_at_the_end_is_told_though_the_rest_was_taken(collector: Sink) -> None:
    collector.answering.clear()
    collector.refusals = [400]
    said: list[str] = []
    spans = Spans(said.append)
    for job in range(3):
        send_job(spans, job)
    answer_from_the_end_on(collector)
    assert not close_within(spans, 20, timeout_s=60)
    assert len(arrived(collector)) == 2
    assert said == ["spans are not sent: Failed to export spans batch code: 400, reason: Bad Request"]


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_what_is_lost_on_the_way_is_told_once_and_at_once(collector: Sink) -> None:
    collector.refusals = [400, 400]
    said: list[str] = []
    spans = Spans(said.append)
    for job in range(2):
        send_job(spans, job)
    send_job(spans, 3)
    wait_until(lambda: collector.requests.qsize() == 1, timeout_s=30, what="the third span to be taken")
    assert len(said) == 1
    assert not spans.close()
    assert said == ["spans are not sent: Failed to export spans batch code: 400, reason: Bad Request"]


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_refusals_on_the_way_do_not_end_the_sending(collector: Sink) -> None:
    collector.refusals = [503, 503]
    spans = Spans(print)
    for job in range(3):
        send_job(spans, job)
    wait_until(lambda: collector.requests.qsize() == 1, timeout_s=30, what="the third span to be taken")
    assert not spans.close()


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_trouble_that_comes_again_is_told_again(collector: Sink) -> None:
    said: list[str] = []
    spans = Spans(said.append)
    for number in (1, 2):
        collector.refusals = [400]
        send_job(spans)
        wait_until(lambda told=number: len(said) == told, timeout_s=30, what="to be told")
        send_job(spans)
        wait_until(lambda taken=number: collector.requests.qsize() == taken, timeout_s=30, what="a span to be taken")
    assert not spans.close()
    assert len(said) == 2


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_refusals_here_and_there_at_the_end_lose_nothing(collector: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GRACE_S", 60)
    collector.answering.clear()
    collector.refusals = [503, 200, 200, 429, 200, 200, 503]
    said: list[str] = []
    spans = Spans(said.append)
    for job in range(20):
        send_job(spans, job)
    answer_from_the_end_on(collector)
    assert close_within(spans, 20, timeout_s=60)
    assert len(arrived(collector)) == 20
    assert said == []


def test_trouble_with_metrics_is_none_with_spans(collector: Sink) -> None:
    said: list[str] = []
    spans = Spans(said.append)
    send_job(spans)
    logging.getLogger(OTLPMetricExporter.__module__).error("Failed to export metrics batch")
    assert spans.close()
    assert said == []
    assert len(arrived(collector)) == 1


@pytest.mark.usefixtures("one_span_in_a_batch")
def test_a_slow_collector_is_waited_for(collector: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GRACE_S", 0.01)
    collector.answering.clear()
    spans = Spans(print)
    send_job(spans)
    threading.Timer(0.3, collector.answering.set).start()
    assert close_within(spans, 20, timeout_s=60)
    assert len(arrived(collector)) == 1


@pytest.mark.usefixtures("patient_sdk", "one_span_in_a_batch")
def test_a_collector_that_refused_and_then_says_nothing_gets_the_grace(collector: Sink) -> None:
    collector.refusals = [503]
    said: list[str] = []
    spans = Spans(said.append)
    send_job(spans)
    wait_until(lambda: len(collector.refused) == 1, timeout_s=30, what="the span to be refused")
    collector.answering.clear()
    assert not close_within(spans, 20, timeout_s=60)
    assert said == ["spans are not sent: the collector answers: Service Unavailable"]


@pytest.mark.usefixtures("collector_that_never_answers")
def test_a_collector_that_never_answers_costs_three_seconds() -> None:
    said: list[str] = []
    spans = Spans(said.append)
    send_job(spans)
    begun = time.monotonic()
    assert not close_within(spans, 9)
    assert time.monotonic() - begun >= CLOSE_S, "a slow one gets so long"
    assert said == ["spans are not sent: the collector does not answer"]


@pytest.mark.usefixtures("collector_that_is_down")
def test_without_anybody_to_complain_to_the_sdk_logs_as_usual(caplog: pytest.LogCaptureFixture) -> None:
    spans = Spans()
    send_job(spans)
    with caplog.at_level(logging.WARNING):
        spans.close()
    assert caplog.records


def test_closing_twice_and_sending_after_closing_does_nothing(collector: Sink) -> None:
    spans = Spans()
    send_job(spans)
    assert spans.close()
    assert spans.close()
    send_job(spans)
    assert len(arrived(collector)) == 1


def test_spans_made_before_a_fork_are_sent_after_it(collector: Sink) -> None:
    program = (
        "import os; from snakeway.telemetry import *; spans = Spans()\n"
        "if os.fork() == 0:\n"
        f"    spans.run('{RUN}', 'w', 1, 2, Result.SUCCESS); os._exit(not spans.close())\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [span.name for span in arrived(collector)] == ["run w"]


def test_metrics_are_a_page_for_prometheus() -> None:
    metrics = Metrics()
    metrics.active_runs(3)
    metrics.run_ended("failed", queue_s=1.5, run_s=100)
    metrics.run_ended("failed", queue_s=-0.5)
    metrics.job_ended("succeeded", "align", run_s=2)
    page = metrics.prometheus().decode()
    metrics.close()
    lines = page.splitlines()
    assert "snakeway_runs_active 3.0" in lines
    assert 'snakeway_runs_ended_total{state="failed"} 2.0' in lines
    assert 'snakeway_run_queue_time_seconds_sum{state="failed"} 1.5' in lines
    assert 'snakeway_run_duration_seconds_count{state="failed"} 1.0' in lines
    assert 'snakeway_jobs_ended_total{rule="align",state="succeeded"} 1.0' in lines
    assert 'snakeway_job_duration_seconds_bucket{le="15.0",rule="align",state="succeeded"} 1.0' in lines
    assert 'snakeway_job_duration_seconds_bucket{le="1.0",rule="align",state="succeeded"} 0.0' in lines
    assert "snakeway_job_queue_time" not in page


def test_metrics_are_sent_where_configured(collector: Sink) -> None:
    metrics = Metrics()
    metrics.run_ended("succeeded", run_s=5)
    metrics.close()
    path, body = collector.requests.get(timeout=5)
    assert path == "/v1/metrics"
    assert {point.name for point in decode_metrics(body)} >= {names.RUNS_ENDED, names.RUN_DURATION}
