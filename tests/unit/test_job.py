import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.failure import Failure, FailureKind
from snakeway.model.job import Job, JobState, blame, close, merge, schedule
from snakeway.model.scheduled import Phase, Scheduled


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


@pytest.mark.parametrize(("stopped_at", "expected"), [(2.0, JobState.CANCELLED), (3.5, JobState.FAILED)])
def test_a_job_that_was_cancelled_in_its_scheduler_is_the_stops_doing_if_it_came_first(
    stopped_at: float, expected: JobState
) -> None:
    job = merged(started(local=False), failed(t=3.0, exit_code=None, signal=None))
    blame(job, Failure(FailureKind.CANCELLED, "Cancelled in Slurm by root"))
    close([job], at=9.0, stopped_at=stopped_at)
    assert job.state is expected


def held(try_: int = 1, reason: str = "AssocMaxSubmitJobLimit") -> dict[str, Any]:
    return {"type": "job_held", "t": 1.5, "job": 7, "try": try_, "reason": reason}


def submitted(try_: int = 1, t: float = 2.0) -> dict[str, Any]:
    return {"type": "job_submitted", "t": t, "job": 7, "try": try_, "external_id": "4711", "log": "slurm/4711.log"}


def test_a_job_that_the_scheduler_does_not_accept_for_now_waits_until_it_is_submitted() -> None:
    waiting = merged(started(local=False), held(), held())
    assert (waiting.state, waiting.held) == (JobState.SUBMITTED, "AssocMaxSubmitJobLimit")
    job = merged(started(local=False), held(), submitted())
    assert (job.held, job.external_id, job.scheduler_log) == (None, "4711", "slurm/4711.log")
    assert merged(started(local=False), failed(), held()).held is None
    assert merged(started(local=False), held(), failed(), started(2, 5.0, local=False), held(1)).held is None


WAITS = Scheduled("PENDING", Phase.QUEUED, reason="Resources", queued_at=2.0)
RUNS = Scheduled("RUNNING", Phase.RUNNING, host="node1", queued_at=2.0, started_at=5.0)
DONE = Scheduled("COMPLETED", host="node1", queued_at=2.0, started_at=5.0, ended_at=9.0, succeeded=True)
BOOKED = Scheduled("COMPLETED", started_at=5.0, ended_at=9.0, succeeded=True, cpu_s=3.0, final=True)
LIFE = [WAITS, RUNS, DONE, BOOKED]


class TestSchedule:
    def test_the_scheduler_says_first_that_a_job_runs(self) -> None:
        job = merged(started(local=False), submitted())
        assert schedule(job, WAITS)
        assert (job.state, job.started_at) == (JobState.SUBMITTED, None)
        assert schedule(job, RUNS)
        assert (job.state, job.started_at, job.accounted) == (JobState.RUNNING, 5.0, False)

    def test_the_end_is_snakemakes_to_say(self) -> None:
        job = merged(started(local=False), submitted())
        schedule(job, DONE)
        assert (job.state, job.ended_at) == (JobState.SUBMITTED, None)

    def test_the_books_correct_the_times(self) -> None:
        job = merged(started(local=False), submitted(), finished(t=20.0))
        schedule(job, RUNS)
        schedule(job, BOOKED)
        assert (job.state, job.started_at, job.ended_at, job.accounted) == (JobState.SUCCEEDED, 5.0, 9.0, True)

    def test_times_of_whole_seconds_put_no_start_before_the_submission_and_no_end_before_the_start(self) -> None:
        job = merged(started(t=5.7, local=False), finished(t=20.0))
        schedule(job, Scheduled("COMPLETED", started_at=5.0, ended_at=5.0, succeeded=True, final=True))
        assert (job.submitted_at, job.started_at, job.ended_at) == (5.7, 5.7, 5.7)

    @pytest.mark.parametrize("end", [finished(), failed()])
    def test_an_end_is_not_taken_back(self, end: dict[str, Any]) -> None:
        job = merged(started(local=False), submitted(), end)
        state = job.state
        for seen in (WAITS, RUNS, BOOKED):
            schedule(job, seen)
        assert job.state is state

    def test_a_new_try_has_nothing_of_the_old_one(self) -> None:
        job = merged(started(local=False), submitted(), failed())
        schedule(job, BOOKED)
        merge(job, started(2, 30.0, local=False))
        assert (job.scheduled, job.accounted, job.held, job.scheduler_log) == (None, False, None, None)
        assert job.tries[0]["scheduled"]["state"] == "COMPLETED"

    @given(st.lists(st.sampled_from(LIFE), max_size=6))
    def test_hearing_it_again_is_no_news(self, seen: list[Scheduled]) -> None:
        job = merged(started(local=False), submitted())
        for each in seen:
            schedule(job, each)
            before = copy.deepcopy(job)
            assert not schedule(job, each)
            assert job == before

    @given(st.lists(st.sampled_from(LIFE), max_size=6))
    def test_after_the_books_are_closed_nothing_is_news(self, late: list[Scheduled]) -> None:
        job = merged(started(local=False), submitted())
        schedule(job, BOOKED)
        before = copy.deepcopy(job)
        assert not any(schedule(job, each) for each in late)
        assert job == before


@pytest.mark.parametrize("stopped_at", [None, 8.0])
def test_a_job_that_ended_well_after_its_snakemake_was_gone_has_succeeded(stopped_at: float | None) -> None:
    job = merged(started(local=False), submitted())
    schedule(job, RUNS)
    schedule(job, DONE)
    assert close([job], at=30.0, stopped_at=stopped_at) == [job]
    assert (job.state, job.exit_code, job.started_at, job.ended_at) == (JobState.SUCCEEDED, 0, 5.0, 9.0)
    assert close([job], at=40.0, stopped_at=stopped_at) == []


@pytest.mark.parametrize(
    ("seen", "stopped_at", "expected"),
    [
        (RUNS, None, JobState.LOST),
        (Scheduled("TIMEOUT", ended_at=9.0, succeeded=False), None, JobState.LOST),
        (Scheduled("CANCELLED", ended_at=9.0, succeeded=False), 8.0, JobState.CANCELLED),
    ],
)
def test_a_job_that_did_not_is_lost_or_cancelled(seen: Scheduled, stopped_at: float | None, expected: JobState) -> None:
    job = merged(started(local=False), submitted())
    schedule(job, seen)
    close([job], at=30.0, stopped_at=stopped_at)
    assert (job.state, job.ended_at) == (expected, 30.0)
