"""Following a run: what recorded events make of it, and how it is shown."""

import io
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from snakeway.cli import live
from snakeway.cli.watch import Line, Watch
from snakeway.client import StreamEvent
from snakeway.model.job import JobState
from tests.unit.test_client_nouns import RUN_ID, run

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine

T = 1_767_323_045.0  # 2026-01-02T03:04:05Z


def event(type_: str, t: float = 0, attempt: int = 1, **data: Any) -> StreamEvent:
    return StreamEvent(type_, {"type": type_, "seq": 0, "t": T + t, "attempt": attempt, **data}, f"{attempt}:1")


def of_run(type_: str = "run", **changes: Any) -> StreamEvent:
    return StreamEvent(type_, run(**changes))


def started(job: int, t: float, rule: str = "fit", **data: Any) -> StreamEvent:
    return event("job", t, job=job, rule=rule, **{"try": 1, "local": True, "wildcards": {"n": str(job)}, **data})


# A run of which one job fails, is repeated by Snakemake, and fails again.
RECORDED = [
    of_run(state="queued", started_at=None),
    of_run(),
    event("attempt_started", 1, run_id=RUN_ID, snakemake="9.27.1", host="node1"),
    event("stats", 2, jobs={"fit": 2, "all": 1}, total=3),
    started(1, 3),
    started(2, 3, local=False),
    event("job_finished", 4, job=1, **{"try": 1}),
    event("progress", 4, done=1, total=3),
    event("job_failed", 5, job=2, rule="fit", exit_code=1, message="it broke", log_tail="last words", **{"try": 1}),
    started(2, 6, **{"try": 2, "local": False}),
    event("job_failed", 7, job=2, rule="fit", exit_code=137, signal=9, message="", **{"try": 2}),
    event("error", 8, exception="WorkflowError", message="At least one job did not complete."),
    event("attempt_ended", 8, lost=0),
    of_run(state="failed", ended_at="2026-01-02T03:05:00Z", error="1 of 3 jobs failed: fit (1)."),
    of_run("end", state="failed", ended_at="2026-01-02T03:05:00Z", error="1 of 3 jobs failed: fit (1)."),
]


def watch() -> Watch:
    return Watch(run(state="queued"), clock=lambda: T)  # type: ignore[arg-type]


def told(events: list[StreamEvent], on: Watch) -> list[Line]:
    return [line for event in events for line in on.take(event)]


def test_what_is_told_of_a_recorded_run() -> None:
    lines = [(line.at[14:19], line.subject, line.state, line.text) for line in told(RECORDED, watch())]
    assert lines == [
        ("04:05", f"run {RUN_ID}", "queued", ""),
        ("04:05", f"run {RUN_ID}", "running", ""),
        ("04:06", "attempt 1", "started", "snakemake 9.27.1 on node1"),
        ("04:07", "attempt 1", "planned", "3 jobs"),
        ("04:08", "job 1/1", "running", "fit n=1"),
        ("04:08", "job 1/2", "submitted", "fit n=2"),
        ("04:09", "job 1/1", "succeeded", "fit n=1"),
        ("04:10", "job 1/2", "failed", "fit n=2: exit code 1: last words"),
        ("04:11", "job 1/2", "submitted", "fit n=2 (try 2)"),
        ("04:12", "job 1/2", "failed", "fit n=2 (try 2): signal 9"),
        ("04:13", "attempt 1", "error", "At least one job did not complete."),
        ("05:00", f"run {RUN_ID}", "failed", "1 of 3 jobs failed: fit (1)."),
    ]


def test_what_is_known_in_the_end() -> None:
    on = watch()
    told(RECORDED, on)
    assert (on.attempt, on.done, on.total, on.failed) == (1, 1, 3, 1)
    assert on.active() == []
    assert on.exit_code() == 1


@pytest.mark.parametrize(
    ("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3), ("paused", 8), ("of tomorrow", 1)]
)
def test_the_exit_code_is_the_run_s(state: str, code: int) -> None:
    on = watch()
    on.take(of_run("end", state=state))
    assert on.exit_code() == code


def test_events_that_come_twice_are_told_once() -> None:
    on = watch()
    first = told(RECORDED[2:8], on)
    again = [line for line in told(RECORDED[4:7], on) if line.subject.startswith("job")]
    assert len(first) == 5
    assert again == []


def test_an_attempt_starts_with_no_jobs() -> None:
    on = watch()
    told(RECORDED[:9], on)
    on.take(event("attempt_started", 20, attempt=2, snakemake="9.27.1", host="node2"))
    assert (on.attempt, on.jobs, on.done, on.total, on.failed) == (2, {}, 0, 0, 0)
    assert [line.subject for line in on.take(started(1, 21, attempt=2))] == ["job 2/1"]


def test_running_jobs_come_before_waiting_ones() -> None:
    on = watch()
    told([started(1, 5, local=False), started(2, 4), started(3, 2), started(4, 1, local=False)], on)
    assert [job.number for job in on.active()] == [3, 2, 4, 1]
    assert [job.state for job in on.active()][:2] == [JobState.RUNNING] * 2


MEMBERS = [
    "try",
    "attempt",
    "total",
    "done",
    "wildcards",
    "started_at",
    "ended_at",
    "rule",
    "external_id",
    "signal",
    "exit_code",
    "message",
    "log",
    "local",
]
numbers = st.floats() | st.integers()
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)


@unhurried
@given(
    st.lists(
        st.builds(
            StreamEvent,
            st.sampled_from(["job", "job_failed", "job_finished", "stats", "progress", "error", "new_thing"]),
            st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, junk) | {"t": numbers, "job": numbers}),
        ),
        max_size=8,
    )
)
def test_events_that_make_no_sense_do_no_harm(events: list[StreamEvent]) -> None:
    on = watch()
    told(events, on)
    picture(on, 80, 24)
    on.take(of_run("end", state="succeeded"))
    assert on.exit_code() == 0


@unhurried
@given(st.randoms(use_true_random=False))
def test_any_order_of_jobs_counts_the_same(shuffle: random.Random) -> None:
    events = [started(n, n) for n in range(10)] + [
        event("job_finished", 20 + n, job=n, **{"try": 1}) for n in range(10)
    ]
    late = events[10:]
    shuffle.shuffle(late)
    on = watch()
    told(events[:10] + late, on)
    assert on.done == 10


def picture(on: Watch, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, color_system=None)
    console.print(live.render(on, width, height, T + 70))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_live_picture() -> None:
    on = watch()
    told([*RECORDED[1:8], started(3, 10, "a_rule_[red]", external_id="4711")], on)
    on.run["ended_at"] = "2026-01-02T03:05:16Z"
    bar, heading, *jobs = picture(on, 100, 24)
    assert bar.split()[-6:] == ["running", "1/3", "jobs", "1", "min", "10", "s"][-6:]
    assert heading.split() == ["JOB", "STATE", "RULE", "WILDCARDS", "FOR", "EXTERNAL", "ID"]
    assert [line.split() for line in jobs] == [
        ["3", "running", "a_rule_[red]", "n=3", "1", "min", "00", "s"],
        ["2", "submitted", "fit", "n=2", "1", "min", "07", "s"],
    ]


def test_the_live_picture_fits_the_window() -> None:
    on = watch()
    told([*RECORDED[1:4], *(started(n, n, "rule_with_a_long_name" * 3) for n in range(50))], on)
    lines = picture(on, 40, 12)
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 40
    assert lines[-1] == "and 43 more"


def test_lines_above_the_picture_steer_no_terminal() -> None:
    text = live.render_line(Line("2026-01-02T03:04:05Z", "job\x1b[2J", "failed", "a\x9b31m\nb\u202ec"))
    assert text.plain.endswith("job [2J failed  a 31m b c")


def test_recorded_events_are_json() -> None:
    assert json.dumps([event.data for event in RECORDED])
