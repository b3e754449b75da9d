"""Why an attempt ended when its record could not be written whole, beside whatever else it may have ended for."""

import errno
import os
from datetime import timedelta
from typing import Any

import pytest

from snakeway.gatefile import WAITING, Request
from snakeway.model.attempt import AttemptState, Exit
from snakeway.model.failure import Failure, FailureKind
from snakeway.model.job import Job, JobState
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.store import Store, attempts, gates, jobs, runs
from snakeway.supervisor import end
from tests.integration.conftest import AddRun

WORDS = os.strerror(errno.ENOSPC)
UNWRITTEN = f"Nothing more could be written in the run's directory ({WORDS}); correct that, and re-run."
FULL = Failure(FailureKind.NO_SPACE, f"snakeway: cannot write events to e.ndjson: {WORDS}")


@pytest.fixture
def attempt(store: Store, add_run: AddRun) -> AttemptRow:
    """The attempt of a run that a supervisor holds."""
    add_run()
    with store.write() as tx:
        claimed = attempts.claim(tx, "s1", now() + timedelta(seconds=30), now())
        assert claimed is not None
        runs.settle(tx, claimed.run_id)
    return claimed


def fail(store: Store, attempt: AttemptRow, kind: FailureKind, summary: str) -> None:
    """Commit a failed job of the attempt."""
    failure = Failure(kind, summary)
    job = Job(0, JobState.FAILED, 1, "one", exit_code=1, failure_kind=kind.value, failure=failure.to_json())
    with store.write() as tx:
        jobs.save(tx, attempt.run_id, attempt.id, [job])


def wait_at_gate(store: Store, attempt: AttemptRow) -> None:
    """Commit a gate of the attempt that waits for a decision."""
    job = Job(0, JobState.WAITING, 1, "check", exit_code=WAITING)
    request = Request(
        gate="check", title="Check it", evidence=[], digest="sha256:0", schema=None, asked_at=1.0, deadline_at=None
    )
    with store.write() as tx:
        jobs.save(tx, attempt.run_id, attempt.id, [job])
        gates.ask(tx, attempt.run_id, attempt.id, job, request, None)


def ended(
    store: Store,
    attempt: AttemptRow,
    *,
    exit_code: int | None = 1,
    signal: int | None = None,
    write_error: str | None = WORDS,
    crash: Failure | None = None,
) -> tuple[RunRow, AttemptRow]:
    """End the attempt; returns its run and itself."""
    exit_ = Exit("run", exit_code, signal, now().timestamp(), write_error)
    with store.write() as tx:
        run = end.end(tx, attempt, exit_, 0, crash=crash)
        found = attempts.get(tx, attempt.id)
    assert run is not None
    assert found is not None
    return run, found


@pytest.mark.parametrize(
    ("write_error", "crash", "events_lost", "state", "error"),
    [
        (None, None, 0, "paused", "Waits for a decision: check."),
        (WORDS, None, 0, "failed", UNWRITTEN),
        (None, FULL, 0, "failed", FULL.summary),
        (None, None, 3, "failed", "snakemake ended with exit code 1. 3 of its events were lost; see its log."),
    ],
)
def test_a_gate_alone_is_to_blame_only_if_the_record_is_whole(
    write_error: str | None,
    crash: Failure | None,
    events_lost: int,
    state: str,
    error: str,
    store: Store,
    attempt: AttemptRow,
) -> None:
    wait_at_gate(store, attempt)
    with store.write() as tx:
        assert attempts.note(tx, attempt.id, "s1", events_lost=events_lost)
    run, found = ended(store, attempt, write_error=write_error, crash=crash)
    assert (run.state, found.gates_only) == (state, state == "paused")
    assert found.error == error


def test_lost_events_are_told_beside_what_is_known(store: Store, attempt: AttemptRow) -> None:
    wait_at_gate(store, attempt)
    known = Failure(FailureKind.UNKNOWN, "At least one job did not complete successfully.")
    with store.write() as tx:
        assert attempts.note(tx, attempt.id, "s1", events_lost=3, failure=known.to_json())
    run, found = ended(store, attempt, write_error=None)
    assert run.state == "failed"
    assert found.error == f"{known.summary} 3 of its events were lost; see its log."


def test_failed_jobs_are_told_before_it(store: Store, attempt: AttemptRow) -> None:
    fail(store, attempt, FailureKind.OUT_OF_MEMORY, "killed for want of memory")
    _, found = ended(store, attempt)
    assert found.state is AttemptState.FAILED
    assert found.error is not None
    first, last = found.error.removesuffix(UNWRITTEN), found.error[-len(UNWRITTEN) :]
    assert "one" in first
    assert first.endswith(". ")
    assert last == UNWRITTEN
    assert found.failure is not None
    assert found.failure["kind"] == FailureKind.NO_SPACE


def test_a_signal_is_told_before_it_and_the_attempt_is_lost(store: Store, attempt: AttemptRow) -> None:
    _, found = ended(store, attempt, exit_code=None, signal=9)
    assert found.state is AttemptState.LOST
    assert found.error == f"The snakemake process was killed by signal 9. {UNWRITTEN}"
    assert found.failure is not None
    assert (found.failure["kind"], found.failure["signal"]) == (FailureKind.SIGNAL, 9)


@pytest.mark.parametrize(
    ("crash", "error", "kind"),
    [
        (None, UNWRITTEN, FailureKind.NO_SPACE),
        (FULL, UNWRITTEN, FailureKind.NO_SPACE),
        (
            Failure(FailureKind.INVALID_WORKFLOW, "KeyError in line 1"),
            f"KeyError in line 1. {UNWRITTEN}",
            FailureKind.INVALID_WORKFLOW,
        ),
    ],
)
def test_what_the_log_tells_is_told_unless_it_is_the_same(
    crash: Failure | None, error: str, kind: FailureKind, store: Store, attempt: AttemptRow
) -> None:
    _, found = ended(store, attempt, crash=crash)
    assert found.error == error
    assert found.failure is not None
    assert found.failure["kind"] == kind


@pytest.mark.parametrize(("exit_code", "state"), [(0, "succeeded"), (1, "cancelled")])
def test_neither_success_nor_a_requested_stop_is_blamed_on_it(
    exit_code: int, state: str, store: Store, attempt: AttemptRow
) -> None:
    with store.write() as tx:
        run = runs.lock(tx, attempt.run_id)
        assert run is not None
        run.stop_requested_at = now() if state == "cancelled" else None
        tx.add(run)
    run, found = ended(store, attempt, exit_code=exit_code)
    assert (run.state, found.state) == (state, state)
    assert found.error == ("Cancelled on request." if state == "cancelled" else None)


def test_a_full_disk_is_told_beside_another_reason_that_nothing_could_be_written(
    store: Store, attempt: AttemptRow
) -> None:
    _, found = ended(store, attempt, write_error=os.strerror(errno.EIO), crash=FULL)
    assert (found.error or "").startswith(f"{FULL.summary}. Nothing more could be written")
    assert found.failure is not None
    assert found.failure["kind"] == FailureKind.NO_SPACE


END = {"step": "run", "exit_code": 1, "signal": None, "ended_at": 9.0}


@pytest.mark.parametrize(
    "members",
    [
        {"step": 1},
        {"ended_at": 9},
        {"ended_at": float("nan")},
        {"ended_at": 1e300},
        {"ended_at": -1.0},
        {"exit_code": 2**70},
        {"exit_code": True},
        {"signal": "9"},
        {"signal": 2**31},
    ],
)
def test_an_end_that_no_shim_wrote_is_none(members: dict[str, Any]) -> None:
    assert end.exit_from_json(END) == Exit("run", 1, None, 9.0)
    assert end.exit_from_json(END | members) is None


def test_words_that_no_database_takes_do_not_keep_an_attempt_from_ending(store: Store, attempt: AttemptRow) -> None:
    exit_ = end.exit_from_json(END | {"write_error": "\ud800 \0" * 1000})
    assert exit_ is not None
    assert exit_.write_error is not None
    _, found = ended(store, attempt, write_error=exit_.write_error)
    assert "(? \ufffd" in (found.error or "")
