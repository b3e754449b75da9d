"""The spans that the logger plugin sends, and what happens to the run when nobody takes them."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakeway import ids
from snakeway.telemetry import SpanRef, attempt_ref, names, run_ref
from tests.e2e.plugin_runs import (
    ATTEMPT,
    FAILING,
    PLAIN_ENVIRONMENT,
    RUN,
    command,
    events_in,
    snakemake,
    started_by_snakeway,
)
from tests.support.otlp import Receiver, otlp_receiver

MANY = """
rule all:
    input: expand("out/{n}", n=range(300))
rule touch:
    output: "out/{n}"
    shell: "touch {output}"
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with otlp_receiver(tmp_path / "receiver") as running:
        yield running


def test_a_run_by_hand_is_one_trace(tmp_path: Path, receiver: Receiver) -> None:
    caller = SpanRef(ids.trace_id(ids.new_id()), 77)
    folder = tmp_path / "demo" / "workflow"
    sent_to = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "TRACEPARENT": caller.traceparent()}
    options = ["--scheduler-subsample", "50", "--quiet", "all", "--directory", str(tmp_path / "run")]
    run = snakemake(folder, MANY, *options, **sent_to)
    assert run.code == 0
    spans = {span.span_id: span for span in receiver.wait_for(303)}
    assert len(spans) == 303
    (file,) = tmp_path.glob("run/.snakeway/attempts/*/events.ndjson")
    first = events_in(file)[0]
    run_span = spans.pop(f"{run_ref(first['run_id'], caller).span_id:016x}")
    attempt = spans.pop(f"{attempt_ref(first['run_id'], first['attempt_id'], caller).span_id:016x}")
    assert {span.trace_id for span in (run_span, attempt, *spans.values())} == {f"{caller.trace_id:032x}"}
    assert (run_span.name, run_span.parent_id) == ("run demo", f"{caller.span_id:016x}")
    assert (attempt.name, attempt.parent_id) == ("attempt", run_span.span_id)
    assert {span.parent_id for span in spans.values()} == {attempt.span_id}
    assert Counter(span.name for span in spans.values()) == {"job touch": 300, "job all": 1}
    assert {span.attributes.get(names.WILDCARD + "n") for span in spans.values()} == {None, *map(str, range(300))}
    assert run_span.start_ns <= attempt.start_ns <= min(span.start_ns for span in spans.values())


def test_under_snakeway_only_jobs_are_told_below_its_span(tmp_path: Path, receiver: Receiver) -> None:
    ours = attempt_ref(RUN, ATTEMPT)
    environment = started_by_snakeway(tmp_path / "events", ours.traceparent())
    options = ["--keep-going", "--latency-wait", "0"]
    run = snakemake(tmp_path / "run", FAILING, *options, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **environment)
    assert run.code == 1
    spans = receiver.wait_for(8)
    assert len(spans) == 8, "one for each try"
    assert {span.parent_id for span in spans} == {f"{ours.span_id:016x}"}
    second = next(span for span in spans if span.name == "job exit" and span.attributes[names.TRY] == 2)
    assert second.status == "ERROR"
    assert "exit status 7" in second.status_message
    assert second.attributes[names.ERROR_TYPE] == "7"
    assert [(event.name, event.attributes[names.LOG_TEXT]) for event in second.events] == [("log", "boom")]
    assert {span.attributes[names.ERROR_TYPE] for span in spans} == {"7", "1", "unknown", "SIGKILL", "SIGTERM"}


def test_a_collector_that_dies_halfway_does_not_touch_the_run(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "gate")
    workflow = MANY.replace("shell:", "input: branch(lambda w: int(w.n) > 99, 'opened')\n    shell:")
    workflow += 'rule wait:\n    output: "opened"\n    input: expand("out/{n}", n=range(100))\n'
    workflow += '    shell: "cat gate; touch {output}"\n'
    (tmp_path / "run" / "Snakefile").write_text(workflow)
    file, log = tmp_path / "events", tmp_path / "log"
    environment = PLAIN_ENVIRONMENT | started_by_snakeway(file) | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("--cores", "2", "--scheduler", "greedy", "--quiet", "rules"),
            cwd=tmp_path / "run",
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            receiver.wait_for(100, timeout_s=90)
            receiver.kill()
            (tmp_path / "run" / "gate").write_text("")
            assert process.wait(90) == 0
        finally:
            process.kill()
            process.wait()
    assert len(list((tmp_path / "run" / "out").iterdir())) == 300
    assert Counter(event["type"] for event in events_in(file))["job_finished"] == 302
    assert log.read_text().count("snakeway: spans are not sent") == 1
    assert "Traceback" not in log.read_text()
