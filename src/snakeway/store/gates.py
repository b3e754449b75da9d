"""Gates and decisions in the database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import exists, func, update
from sqlmodel import col, select

from snakeway import ids
from snakeway.gatefile import Decision, Request, Verdict
from snakeway.model.attempt import ENDED, AttemptReason, AttemptState
from snakeway.model.gate import MOVES, GateState, asked_again
from snakeway.model.job import Job
from snakeway.rows import DecisionRow, GateRow, RunRow
from snakeway.store import attempts
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode

MOST_GATES = 1000  # of one run, that are shown, and decisions likewise


def ask(
    tx: Transaction, run_id: str, attempt_id: str, job: Job, request: Request, rejected: tuple[str, str] | None
) -> None:
    """Record that a gate has waited, or was found rejected, by whom and why. Idempotent."""
    known = tx.get(GateRow, (run_id, request.gate))
    if known is not None and known.attempt_id > attempt_id:
        return  # recorded late: an attempt after it has asked already
    same = known is not None and known.digest == request.digest
    state = asked_again(known.state, same_evidence=same) if known is not None else GateState.OPEN
    values: dict[str, Any] = {
        "state": state,
        "attempt_id": attempt_id,
        "job_number": job.number,
        "rule": job.rule,
        "wildcards": job.wildcards,
        "title": request.title,
        "evidence": [{"path": e.path, "size_bytes": e.size_bytes, "sha256": e.sha256} for e in request.evidence],
        "digest": request.digest,
        "answer_schema": request.schema,
        "asked_at": _moment(request.asked_at),
        "deadline_at": None if request.deadline_at is None else _moment(request.deadline_at),
    }
    if state is GateState.OPEN:
        values |= {"answer": None, "comment": "", "decided_by": None, "decided_at": None, "pending": False}
        if rejected is not None:  # by hand, in a directory that is none of ours: elsewhere we have known it before
            values |= {"state": GateState.REJECTED, "decided_by": rejected[0][:255], "comment": rejected[1]}
    if known is None:
        known = GateRow(run_id=run_id, name=request.gate, **values)
    else:
        known.sqlmodel_update(values)
    tx.add(known)
    tx.flush()


def _moment(t: float) -> datetime:
    try:
        return datetime.fromtimestamp(t, UTC)
    except (OverflowError, ValueError, OSError):  # events come from where jobs can write
        return datetime.fromtimestamp(0, UTC)


def get(tx: Transaction, run_id: str, name: str) -> GateRow | None:
    """Return a gate."""
    return tx.get(GateRow, (run_id, name))


def of_run(tx: Transaction, run_id: str) -> Sequence[GateRow]:
    """Return the gates that a run has reached, by name."""
    query = select(GateRow).where(col(GateRow.run_id) == run_id).order_by(col(GateRow.name))
    return tx.exec(query.limit(MOST_GATES)).all()


def list_(
    tx: Transaction, owner: str | None, states: Sequence[GateState], cursor: str | None, limit: int
) -> Page[GateRow]:
    """Return gates of all runs, those of the newest run first. Cost: one index range per page."""
    query = select(GateRow)
    if owner is not None:
        query = query.where(exists().where(col(RunRow.id) == col(GateRow.run_id), col(RunRow.owner) == owner))
    if states:
        query = query.where(col(GateRow.state).in_(states))
    if cursor is not None:
        run_id, _, name = decode(cursor, _is_key).partition("/")
        after = (col(GateRow.run_id) < run_id) | ((col(GateRow.run_id) == run_id) & (col(GateRow.name) > name))
        query = query.where(after)
    rows = tx.exec(query.order_by(col(GateRow.run_id).desc(), col(GateRow.name)).limit(limit + 1)).all()
    return cut(rows, limit, lambda gate: f"{gate.run_id}/{gate.name}")


def _is_key(text: str) -> bool:
    run_id, _, name = text.partition("/")
    return ids.is_id(run_id) and name != ""


def decide(tx: Transaction, gate: GateRow, verdict: Verdict, answer: Any, comment: str, by: str, at: datetime) -> None:
    """Record a decision, as the gate's last and for ever. The caller has checked that it may be made."""
    state = GateState(verdict.value)
    assert state in MOVES[gate.state], f"no move from {gate.state} to {state}"
    gate.state, gate.answer, gate.comment = state, answer, comment
    gate.decided_by, gate.decided_at, gate.pending = by, at, True
    tx.add(gate)
    tx.add(
        DecisionRow(
            id=ids.new_id(),
            run_id=gate.run_id,
            gate=gate.name,
            verdict=verdict.value,
            answer=answer,
            comment=comment,
            digest=gate.digest,
            decided_by=by,
            decided_at=at,
            asked_at=gate.asked_at,
        )
    )
    tx.flush()


def decisions(tx: Transaction, run_id: str) -> Sequence[DecisionRow]:
    """Return what was decided last about a run's gates, oldest first."""
    query = select(DecisionRow).where(col(DecisionRow.run_id) == run_id).order_by(col(DecisionRow.id).desc())
    return list(reversed(tx.exec(query.limit(MOST_GATES)).all()))


def go_on(tx: Transaction, run: RunRow) -> None:
    """Queue the next attempt of a run that rests, if a decision that came meanwhile lets it go on."""
    earlier = attempts.of_run(tx, run.id)
    newest = next((attempt for attempt in reversed(earlier) if not attempt.dry_run), None)
    if newest is None or any(attempt.state not in ENDED for attempt in earlier):
        return  # whoever ends the attempt under way asks again
    rests = newest.state is AttemptState.SUCCEEDED or (newest.gates_only and not newest.gates_cancelled)
    if rests and any_pending(tx, run.id):
        attempts.add_next(tx, newest, AttemptReason.APPROVAL)
        run.stop_requested_at, run.error = None, None
        tx.add(run)
        tx.flush()


def give_up(tx: Transaction, run_id: str) -> None:
    """Note that nobody wants to wait for the gates of a paused run any more."""
    newest = attempts.newest(tx, run_id)
    assert newest is not None
    newest.gates_cancelled = True
    tx.add(newest)


def any_pending(tx: Transaction, run_id: str) -> bool:
    """Whether somebody approved a gate and no attempt has been prepared since."""
    query = select(func.count()).where(col(GateRow.run_id) == run_id, col(GateRow.pending), _is(GateState.APPROVED))
    return tx.exec(query).one() > 0


def asked_by(tx: Transaction, run_id: str, attempt_id: str) -> Sequence[GateRow]:
    """Return the gates that the attempt waits for, by name."""
    query = select(GateRow).where(col(GateRow.run_id) == run_id, col(GateRow.attempt_id) == attempt_id)
    return tx.exec(query.order_by(col(GateRow.name))).all()


def delivered(tx: Transaction, run_id: str, until: datetime) -> None:
    """Remember that the decisions made ``until`` then are in the run's directory."""
    tx.exec(
        update(GateRow)
        .where(col(GateRow.run_id) == run_id, col(GateRow.pending), col(GateRow.decided_at) <= until)
        .values(pending=False)
    )


def due(tx: Transaction, at: datetime, limit: int) -> Sequence[str]:
    """Return runs with open gates whose deadline has passed, the longest overdue first."""
    runs = (
        select(GateRow.run_id).where(_is(GateState.OPEN), col(GateRow.deadline_at) < at).group_by(col(GateRow.run_id))
    )
    return tx.exec(runs.order_by(func.min(GateRow.deadline_at)).limit(limit)).all()


def expire(tx: Transaction, run_id: str, at: datetime) -> None:
    """Close the run's open gates whose deadline has passed; the caller holds the run's lock."""
    tx.exec(
        update(GateRow)
        .where(col(GateRow.run_id) == run_id, _is(GateState.OPEN), col(GateRow.deadline_at) < at)
        .values(state=GateState.EXPIRED)
    )


def to_deliver(tx: Transaction, run_id: str) -> list[Decision]:
    """Return the last decision about each of the run's gates, for the run's directory."""
    return [
        Decision(
            gate=gate.name,
            digest=gate.digest,
            verdict=Verdict(gate.state.value),
            answer=gate.answer,
            reason=gate.comment,
            by=gate.decided_by or "",
            at=gate.decided_at.timestamp(),
        )
        for gate in of_run(tx, run_id)
        if gate.state in (GateState.APPROVED, GateState.REJECTED) and gate.decided_at is not None
    ]


def unmade(tx: Transaction, run_id: str) -> Sequence[GateRow]:
    """Return the run's gates whose output may have to be made: open ones, and those that were approved just now."""
    pending = _is(GateState.APPROVED) & col(GateRow.pending)
    return tx.exec(select(GateRow).where(col(GateRow.run_id) == run_id, _is(GateState.OPEN) | pending)).all()


def closed(tx: Transaction, run_id: str) -> Sequence[GateRow]:
    """Return the run's gates that are not approved."""
    return tx.exec(select(GateRow).where(col(GateRow.run_id) == run_id, col(GateRow.state) != GateState.APPROVED)).all()


def restore(tx: Transaction, gate: GateRow) -> None:
    """Mark a gate as approved by the last approval there was: its rule has just found it to hold again."""
    query = select(DecisionRow).where(col(DecisionRow.run_id) == gate.run_id, col(DecisionRow.gate) == gate.name)
    approved = query.where(col(DecisionRow.verdict) == Verdict.APPROVED.value).order_by(col(DecisionRow.id).desc())
    last = tx.exec(approved.limit(1)).first()
    gate.state = GateState.APPROVED
    if last is not None:  # otherwise it was approved by hand, in a directory that is none of ours
        gate.answer, gate.comment, gate.digest = last.answer, last.comment, last.digest
        gate.decided_by, gate.decided_at = last.decided_by, last.decided_at
    tx.add(gate)
    tx.flush()


def any_untold(tx: Transaction) -> bool:
    """Whether the span of a decision has not been sent."""
    return tx.exec(select(DecisionRow.id).where(col(DecisionRow.told).is_(False)).limit(1)).first() is not None


def untold(tx: Transaction, limit: int) -> Sequence[DecisionRow]:
    """Return decisions whose spans have not been sent, and remember that they are being sent now."""
    query = select(DecisionRow).where(col(DecisionRow.told).is_(False)).order_by(col(DecisionRow.id)).limit(limit)
    found = tx.exec(query.with_for_update(skip_locked=True)).all()
    for decision in found:
        decision.told = True
        tx.add(decision)
    return found


def _is(state: GateState) -> Any:
    return col(GateRow.state) == state
