"""One trace per run, whole, in a real collector."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

RETRIES = """
rule all:
    input: expand("steps/{i}.txt", i=range(5)), "flaky.txt"

rule step:
    output: "steps/{i}.txt"
    shell: "touch {output}"

rule flaky:
    output: "flaky.txt"
    log: "flaky.log"
    retries: 1
    shell: "if [ ! -e second ]; then touch second; echo not yet > {log}; exit 3; fi; touch {output}"
"""

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Receiver]:
    """A collector that can be asked which spans it received."""
    with otlp_receiver(tmp_path / "collector") as receiver:
        yield receiver


@pytest.fixture
def traced(start_server: StartServer, workflows: Callable[..., Path], collector: Receiver) -> Server:
    """A server that sends its spans to the collector."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    return start_server(workflows_dir=workflows(retries=RETRIES), settings=settings)


def test_the_trace_of_a_run_hangs_together(traced: Server, collector: Receiver) -> None:
    headers = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
    run_id = traced.request("POST", "/runs", json={"workflow": "retries"}, headers=headers).json()["id"]
    run = traced.end_of(run_id)
    assert (run["state"], run["trace_id"]) == ("succeeded", CALLER_TRACE)
    # request, run, attempt, 5 steps, 2 tries of flaky, all
    collector.wait_for(11, trace_id=CALLER_TRACE, timeout_s=30)
    spans = {span.span_id: span for span in collector.spans(CALLER_TRACE)}
    by_name: dict[str, list[str]] = {}
    for span in spans.values():
        by_name.setdefault(span.name, []).append(span.span_id)
    assert {name: len(found) for name, found in by_name.items() if name.startswith(("run", "attempt", "job"))} == {
        "run retries": 1,
        "attempt": 1,
        "job step": 5,
        "job flaky": 2,
        "job all": 1,
    }
    run_span = spans[by_name["run retries"][0]]
    attempt = spans[by_name["attempt"][0]]
    assert attempt.parent_id == run_span.span_id
    jobs = [span for span in spans.values() if span.name.startswith("job ")]
    assert {span.parent_id for span in jobs} == {attempt.span_id}
    request = spans[run_span.parent_id or ""]
    assert request.parent_id == CALLER_SPAN
    failed = next(span for span in jobs if span.attributes.get("snakemake.exit_code") == 3)
    assert [event.attributes["log.text"] for event in failed.events] == ["not yet"]
    assert failed.attributes["snakemake.try"] == 1
    assert all(run_span.start_ns <= span.start_ns <= span.end_ns <= run_span.end_ns for span in jobs)


def test_a_rerun_is_in_the_trace_of_its_run(traced: Server, collector: Receiver) -> None:
    run_id = traced.submit("retries")
    trace = traced.end_of(run_id)["trace_id"]
    traced.rerun(run_id, forcerun=["flaky"])
    traced.end_of(run_id)

    def two_attempts() -> bool:
        return len([span for span in collector.spans(trace) if span.name == "attempt"]) == 2

    wait_until(lambda: two_attempts() or None, timeout_s=30, what="both attempts")


def test_a_dead_collector_holds_nothing_up(traced: Server, collector: Receiver) -> None:
    collector.kill()
    run_id = traced.submit("retries")
    assert traced.end_of(run_id)["state"] == "succeeded"
    assert traced.request("GET", f"/runs/{run_id}/log").text.count("snakeway:") <= 1


def test_metrics_count_runs_and_jobs(traced: Server) -> None:
    import httpx

    traced.end_of(traced.submit("retries"))
    page = httpx.get(f"{traced.url}/metrics").text
    assert 'snakeway_runs_ended_total{state="succeeded"} 1.0' in page
    assert 'snakeway_jobs_ended_total{rule="step",state="succeeded"} 5.0' in page
