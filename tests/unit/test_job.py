import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.job import Job, JobState, close, merge


def started(try_: int = 1, t: float = 1.0, *, local: bool = True, **more: Any) -> dict[str, Any]:
    return {"type": "job", "t": t, "job": 7, "try": try_, "rule": "align", "local": local, "log": ["a.log"], **more}


def failed(try_: int = 1, t: float = 3.0, **more: Any) -> dict[str, Any]:
    return {"type": "job_failed", "t": t, "job": 7, "try": try_, "exit_code": 1, "message": "no", **more}


def finished(try_: int = 1, t: float = 4.0, **more: Any) -> dict[str, Any]:
    return {"type": "job_finished", "t": t, "job": 7, "try": try_, **more}


def merged(*events: dict[str, Any]) -> Job:
    job = Job(7)
    for event in events:
        merge(job, event)
    return job


def test_a_local_job_runs_and_a_cluster_job_waits() -> None:
    assert merged(started()).state is JobState.RUNNING
    waiting = merged(started(local=False))
    assert (waiting.state, waiting.submitted_at, waiting.started_at) == (JobState.SUBMITTED, 1.0, None)


def test_a_cluster_job_is_submitted_and_starts() -> None:
    submitted = {"type": "job_submitted", "t": 2.0, "job": 7, "try": 1, "external_id": "4711"}
    running = {"type": "job_started", "t": 9.0, "job": 7, "try": 1, "started_at": 8.0}
    job = merged(started(local=False), submitted, running)
    assert (job.state, job.external_id, job.started_at) == (JobState.RUNNING, "4711", 8.0)
    assert merged(started(local=False), submitted, finished(), running).state is JobState.SUCCEEDED
    assert merged(started(local=False), failed(), started(2, 5.0, local=False), running).state is JobState.SUBMITTED


def test_times_of_snakemake_replace_our_own() -> None:
    job = merged(started(), finished(started_at=1.5, ended_at=3.5))
    assert (job.state, job.submitted_at, job.started_at, job.ended_at) == (JobState.SUCCEEDED, 1.0, 1.5, 3.5)


def test_a_failure_keeps_what_it_said() -> None:
    end = failed(exit_code=137, signal=9, log="slurm.log", log_tail="out of memory", external_id="42")
    job = merged(started(), end)
    assert job.logs == ["slurm.log", "a.log"]
    assert merged(started(), end, end).logs == job.logs
    assert (job.state, job.exit_code, job.signal, job.log_tail, job.external_id) == (
        JobState.FAILED,
        137,
        9,
        "out of memory",
        "42",
    )


def test_a_repeated_try_is_kept_aside() -> None:
    job = merged(started(resources={"mem_mb": 1}), failed(), started(2, 5.0, resources={"mem_mb": 2}), finished(2, 6.0))
    assert (job.state, job.try_number, job.message) == (JobState.SUCCEEDED, 2, None)
    assert [(ended["try"], ended["exit_code"], ended["resources"]) for ended in job.tries] == [(1, 1, {"mem_mb": 1})]


def test_an_old_try_cannot_speak_for_a_new_one() -> None:
    job = merged(started(), failed(), started(2, 5.0), failed(1, 9.0))
    assert job.state is JobState.RUNNING


def test_a_success_is_not_taken_back() -> None:
    assert merged(started(), finished(), failed(t=9.0)).state is JobState.SUCCEEDED


story = [started(), failed(), started(2, 5.0), finished(2, 6.0)]


@given(st.lists(st.integers(0, len(story) - 1), max_size=8))
def test_hearing_the_story_again_changes_nothing(again: list[int]) -> None:
    job = merged(*story)
    before = copy.deepcopy(job)
    for number in again:
        merge(job, story[number])
    assert job == before


@given(st.integers(0, len(story)), st.integers(0, len(story)))
def test_a_crash_between_two_intakes_changes_nothing(first: int, again_from: int) -> None:
    again_from = min(again_from, first)
    assert merged(*story[:first], *story[again_from:]) == merged(*story)


def test_open_jobs_end_with_their_attempt() -> None:
    running, done = merged(started()), merged(started(), finished())
    assert close([running, done], at=9.0, stopped_at=None) == [running]
    assert (running.state, running.ended_at) == (JobState.LOST, 9.0)
    stopped = merged(started())
    close([stopped], at=9.0, stopped_at=8.0)
    assert stopped.state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("end", "stopped_at", "expected"),
    [
        ({"exit_code": None, "signal": 2}, 2.0, JobState.CANCELLED),
        ({"exit_code": 130, "signal": None}, 2.0, JobState.CANCELLED),
        ({"exit_code": 7, "signal": None}, 2.0, JobState.FAILED),  # its own doing
        ({"exit_code": None, "signal": 2}, 3.5, JobState.FAILED),  # before the stop was asked for
        ({"exit_code": None, "signal": 9}, None, JobState.FAILED),
    ],
)
def test_a_job_that_the_stop_ended_was_cancelled(end: dict[str, Any], stopped_at: float, expected: JobState) -> None:
    job = merged(started(), failed(t=3.0, **end))
    close([job], at=9.0, stopped_at=stopped_at)
    assert job.state is expected
