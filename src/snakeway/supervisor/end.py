"""Ends an attempt: one transaction that closes its jobs, moves it, settles its run and queues a recovery if due."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from snakeway.model import complaint
from snakeway.model import failure as failures
from snakeway.model import gate as gate_rules
from snakeway.model import job as job_rules
from snakeway.model import run as run_rules
from snakeway.model.attempt import AttemptReason, AttemptState, Exit, outcome
from snakeway.model.failure import Failure, FailureKind
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.store import Transaction, attempts, gates, jobs, runs, usage

_SENTENCE_LENGTH = 1000
_LARGEST_CODE = 255  # of a process's end; signals are smaller
_LATEST_S = 1e11  # since the epoch: some 3,000 years
_STOPS = ".", "!", "?"
_LEFT = "Jobs that it left in the scheduler, and that were cancelled there: {}."
_NOTHING_LEFT = "No job of it is left in the scheduler."


def end(
    tx: Transaction,
    attempt: AttemptRow,
    exit_: Exit | None,
    max_recoveries: int,
    *,
    refused: str | None = None,
    books_until: datetime | None = None,
    cancelled: int | None = None,
    crash: Failure | None = None,
) -> RunRow | None:
    """Move a held attempt to its end; None when the lease was lost meanwhile, and nothing was changed.

    ``exit_`` None means that its process is gone without a word; ``refused`` that none was started, and why;
    ``books_until`` how long a scheduler's books are to be asked about its jobs; ``cancelled`` how many of them its
    snakemake had left in the scheduler, where they were cancelled, None if its jobs are in no scheduler;
    ``crash`` what its snakemake died of, when no event tells that.

    Crash before the commit: the attempt is still held and its exit.json still there, so it is ended again. Crash after
    it: only the collecting of outputs is left, and ``collect_owner`` remembers that.
    """
    run = runs.lock(tx, attempt.run_id)
    current = attempts.get(tx, attempt.id)
    if run is None or current is None or (current.state, current.lease_owner) != (attempt.state, attempt.lease_owner):
        return None
    ended_at = datetime.fromtimestamp(exit_.ended_at, UTC) if exit_ else now()
    stop = run.stop_requested_at if run.stop_requested_at and run.stop_requested_at <= ended_at else None
    state = AttemptState.FAILED if refused else outcome(exit_, stop_requested=stop is not None)
    stopped_at = stop.timestamp() if stop and state is AttemptState.CANCELLED else None
    closed = job_rules.close(jobs.load_not_succeeded(tx, attempt.id), at=ended_at.timestamp(), stopped_at=stopped_at)
    jobs.save(tx, run.id, attempt.id, closed)
    failed = jobs.failures(tx, attempt.id)
    asked = gates.asked_by(tx, run.id, attempt.id)
    gates_only = (
        state is AttemptState.FAILED
        and bool(asked)
        and all(kind == FailureKind.REJECTED for _, kind, _ in failed)
        and _is_whole(current, exit_, crash)
    )
    error: str | None = refused
    failure = None
    if gates_only:
        error = gate_rules.sentence([(gate.name, gate.state, gate.decided_by, gate.comment) for gate in asked])
    elif not refused:
        error, failure = _why(current, state, exit_, failed, crash)
    # A suggestion would be carried out for real.
    failure = {**failure, "suggestion": None} if failure and current.dry_run else failure
    values: dict[str, Any] = {
        "ended_at": ended_at,
        "exit_code": exit_.exit_code if exit_ else None,
        "exit_signal": exit_.signal if exit_ else None,
        "error": _sentences(error, *_left(state, cancelled)) if error else None,
        "failure": failure,
        "gates_only": gates_only,
        "suggestion": _suggestion(state, failure, failed),
        "jobs_done": jobs.count(tx, attempt.id, job_rules.JobState.SUCCEEDED),
        "jobs_failed": jobs.count(tx, attempt.id, job_rules.JobState.FAILED),
        "lease_expires_at": None,
        "collect_owner": attempt.lease_owner,
        "books_until": books_until,
    }
    if not attempts.move(tx, attempt.id, attempt.state, state, **values):
        return None
    tx.refresh(current)
    usage.recount(tx, current)
    if not current.dry_run:
        runs.show_counts(run, current)
    if run.dry_run or not current.dry_run:  # otherwise it was only a question about the run
        run.error = current.error
    tx.add(run)
    if state is AttemptState.LOST:
        _recover(tx, run, current, max_recoveries)
    if current.dry_run and not run.dry_run:
        run.stop_requested_at = None  # it was about this question, not about the run
        tx.add(run)
    if stop is None or current.dry_run:
        gates.go_on(tx, run)  # approved while the attempt was under way, which had begun without knowing of it
    return runs.settle(tx, run.id)


def _is_whole(attempt: AttemptRow, exit_: Exit | None, crash: Failure | None) -> bool:
    """Whether why the attempt ended is surely in its record, as far as is known."""
    full = crash is not None and crash.kind is FailureKind.NO_SPACE
    return not (attempt.events_lost or full or (exit_ is not None and exit_.write_error is not None))


def _left(state: AttemptState, cancelled: int | None) -> Iterator[str]:
    if cancelled:
        yield _LEFT.format(cancelled)
    if cancelled is not None and state is AttemptState.CANCELLED:
        yield _NOTHING_LEFT


def _sentences(*parts: str) -> str:
    *before, last = parts
    return " ".join([*(part if part.endswith(_STOPS) else f"{part}." for part in before), last])


def _recover(tx: Transaction, run: RunRow, lost: AttemptRow, max_recoveries: int) -> None:
    earlier = attempts.of_run(tx, run.id)
    states = [attempt.state for attempt in earlier if attempt.dry_run == lost.dry_run]
    if not run_rules.may_recover(
        states, stop_requested=run.stop_requested_at is not None, max_recoveries=max_recoveries
    ):
        return
    attempts.add_next(tx, lost, AttemptReason.RECOVERY)


_FailedJobs = Sequence[tuple[str, str | None, dict[str, Any] | None]]


def _why(
    attempt: AttemptRow, state: AttemptState, exit_: Exit | None, failed: _FailedJobs, crash: Failure | None
) -> tuple[str | None, dict[str, Any] | None]:
    """Return in one or two sentences why the attempt did not succeed, and its failure unless jobs are to blame."""
    words = exit_.write_error if exit_ else None
    unwritten = None if words is None else complaint.of_write_error(words, attempt.host)
    # What is told before these may not be all.
    also = [f"{attempt.events_lost} of its events were lost; see its log."] if attempt.events_lost else []
    also += [] if unwritten is None else [unwritten.summary]
    match state:
        case AttemptState.SUCCEEDED:
            return None, None
        case AttemptState.CANCELLED:
            said = "Cancelled on request."
            return said, Failure(FailureKind.CANCELLED, said).to_json()
        case AttemptState.LOST:
            number = exit_.signal if exit_ else None
            how = f"was killed by signal {number}" if number else "disappeared without a word"
            said = f"The snakemake process {how}."
            kind = FailureKind.SIGNAL if number else FailureKind.UNKNOWN
            failure = Failure(kind, said, signal=number, host=attempt.host, suggestion={})
            return _sentences(said, *also), failure.to_json()
    if failed:
        of_jobs = job_rules.sentence(failed, attempt.jobs_total)
        return _sentences(of_jobs, *also), unwritten.to_json() if unwritten else None
    if attempt.failure:
        return _sentences(str(attempt.failure["summary"])[:_SENTENCE_LENGTH], *also), attempt.failure
    both_full = unwritten is not None and unwritten.kind is FailureKind.NO_SPACE
    if crash is not None and not (both_full and crash.kind is FailureKind.NO_SPACE):
        return _sentences(crash.summary, *also), crash.to_json()
    if unwritten is not None:
        return _sentences(*also), unwritten.to_json()
    code = exit_.exit_code if exit_ else None
    when = "" if attempt.events_lost else " before any job started; see the run's log."
    said = _sentences(f"snakemake ended with exit code {code}{when}", *also)
    return said, Failure(FailureKind.UNKNOWN, said, exit_code=code, host=attempt.host).to_json()


def _suggestion(state: AttemptState, failure: dict[str, Any] | None, failed: _FailedJobs) -> dict[str, Any] | None:
    """Return what a re-run has to do differently to cure what can be cured; None if there is nothing to suggest."""
    if state is AttemptState.SUCCEEDED:
        return None
    of_jobs = [found.get("suggestion") for _, _, found in failed if found is not None]
    return failures.combine([*of_jobs, failure.get("suggestion") if failure else None])


def exit_from_json(data: dict[str, Any]) -> Exit | None:
    """Read exit.json; None when it does not say when what ended. Jobs can write there: nothing is taken on trust."""
    step, ended_at = data.get("step"), data.get("ended_at")
    code, number = data.get("exit_code"), data.get("signal")
    if not (isinstance(step, str) and isinstance(ended_at, float) and 0 <= ended_at <= _LATEST_S):
        return None
    if not (_is_code(code) and _is_code(number)):
        return None
    words = data.get("write_error")
    return Exit(step, code, number, ended_at, _storable(words)[:_SENTENCE_LENGTH] if isinstance(words, str) else None)


def _is_code(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= _LARGEST_CODE)


def _storable(text: str) -> str:
    """Replace what a database refuses: half a surrogate pair, NUL."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
