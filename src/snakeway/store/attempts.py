"""Attempts in the database: the queue, the leases, the moves."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, update
from sqlalchemy.orm import defer
from sqlmodel import col, select

from snakeway import ids
from snakeway.model.attempt import HELD, MOVES, AttemptReason, AttemptState, Overrides
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.store.database import Transaction

_CANDIDATES = 10  # of one owner, looked at in one claim: those before may be locked by other supervisors


def add(tx: Transaction, attempt: AttemptRow) -> None:
    """Insert an attempt; its run must be in the transaction or the database."""
    tx.add(attempt)
    tx.flush()


def add_next(
    tx: Transaction, before: AttemptRow, reason: AttemptReason, overrides: Overrides | None = None
) -> AttemptRow:
    """Queue an attempt that does what ``before`` did, but what it forced: that has been done."""
    numbers = select(func.max(AttemptRow.number)).where(col(AttemptRow.run_id) == before.run_id)
    known = overrides or Overrides.from_json(before.overrides)
    if reason is not AttemptReason.RECOVERY:
        known = replace(known, forcerun=[], forceall=False)
    attempt = AttemptRow(
        id=ids.new_id(),
        run_id=before.run_id,
        number=(tx.exec(numbers).one() or 0) + 1,
        owner=before.owner,
        reason=reason,
        dry_run=before.dry_run,
        target=before.target,
        digest=before.digest,
        config=before.config,
        overrides=known.as_json(),
        created_at=now(),
    )
    add(tx, attempt)
    return attempt


def get(tx: Transaction, attempt_id: str) -> AttemptRow | None:
    """Return an attempt."""
    return tx.get(AttemptRow, attempt_id)


def of_run(tx: Transaction, run_id: str) -> Sequence[AttemptRow]:
    """Return the attempts of a run, oldest first."""
    return tx.exec(select(AttemptRow).where(col(AttemptRow.run_id) == run_id).order_by(col(AttemptRow.number))).all()


def newest(tx: Transaction, run_id: str, *, with_jobs: bool = False) -> AttemptRow | None:
    """Return the newest attempt of a run that is not a dry run, or the newest at all; ``with_jobs``: that had some."""
    attempts = of_run(tx, run_id)
    if attempts and attempts[-1].reason is AttemptReason.OUTSIDE:  # may have been recorded in any order
        attempts = sorted(attempts, key=lambda attempt: attempt.id)
    if with_jobs:
        attempts = [attempt for attempt in attempts if attempt.had_jobs]
    real = [attempt for attempt in attempts if not attempt.dry_run] or attempts
    return real[-1] if real else None


def move(tx: Transaction, attempt_id: str, old: AttemptState, new: AttemptState, **values: Any) -> bool:
    """Move an attempt and set ``values`` with it; False when it was not in ``old`` any more (somebody else moved it).

    Raises AssertionError for a move that is not in the table: a bug, never a race.
    """
    assert new in MOVES[old], f"no move from {old} to {new}"
    result = tx.exec(
        update(AttemptRow)
        .where(col(AttemptRow.id) == attempt_id, col(AttemptRow.state) == old)
        .values(state=new, **values)
    )
    return bool(result.rowcount)


def note(tx: Transaction, attempt_id: str, lease_owner: str, **values: Any) -> bool:
    """Set ``values`` on a held attempt; False when the lease is not ``lease_owner``'s any more."""
    result = tx.exec(
        update(AttemptRow)
        .where(col(AttemptRow.id) == attempt_id, col(AttemptRow.lease_owner) == lease_owner)
        .values(**values)
    )
    return bool(result.rowcount)


def any_queued(tx: Transaction) -> bool:
    """Whether anything waits in the queue."""
    return (
        tx.exec(select(AttemptRow.id).where(col(AttemptRow.state) == AttemptState.QUEUED).limit(1)).first() is not None
    )


def claim(tx: Transaction, lease_owner: str, lease_until: datetime, at: datetime) -> AttemptRow | None:
    """Take the attempt whose turn it is: the oldest of the owner who has the fewest held attempts.

    The run is locked before its attempt, as everywhere, so claims and cancellations cannot wait for each other in a
    circle. Crash after the commit: the attempt is starting, its lease runs out, and whoever adopts it launches it.
    """
    for owner in _turns(tx):
        oldest = select(AttemptRow).where(col(AttemptRow.state) == AttemptState.QUEUED, col(AttemptRow.owner) == owner)
        for attempt in tx.exec(oldest.order_by(col(AttemptRow.id)).limit(_CANDIDATES)).all():
            run = select(RunRow.id).where(col(RunRow.id) == attempt.run_id).with_for_update(skip_locked=True)
            if tx.exec(run).first() is None:
                continue  # another supervisor is claiming it, or somebody is cancelling it, at this moment
            values = {"lease_owner": lease_owner, "lease_expires_at": lease_until, "started_at": at}
            if move(tx, attempt.id, AttemptState.QUEUED, AttemptState.STARTING, **values):
                tx.refresh(attempt)
                return attempt
    return None


def _turns(tx: Transaction) -> Sequence[str]:
    """Return the owners who have something queued, whose turn it is first: fewest held attempts, then longest wait."""
    state, owner = col(AttemptRow.state), col(AttemptRow.owner)
    ours = (state.in_(HELD), col(AttemptRow.reason) != AttemptReason.OUTSIDE)
    held = select(AttemptRow.owner, func.count().label("held")).where(*ours).group_by(owner).subquery()
    first = func.min(AttemptRow.id).label("first")
    queued = select(AttemptRow.owner, first).where(state == AttemptState.QUEUED).group_by(owner).subquery()
    turns = select(queued.c.owner).outerjoin(held, held.c.owner == queued.c.owner)
    return tx.exec(turns.order_by(func.coalesce(held.c.held, 0), queued.c.first)).all()


def held_by(tx: Transaction, lease_owner: str) -> Sequence[AttemptRow]:
    """Return the attempts that ``lease_owner`` holds, without plans and graphs: this is asked at every tick."""
    query = select(AttemptRow).where(col(AttemptRow.lease_owner) == lease_owner, col(AttemptRow.state).in_(HELD))
    return tx.exec(query.options(defer(AttemptRow.plan), defer(AttemptRow.rulegraph))).all()  # type: ignore[arg-type]


def adoptable(tx: Transaction, at: datetime, limit: int) -> Sequence[AttemptRow]:
    """Return held attempts whose supervisor let the lease run out or gave it back."""
    expires = col(AttemptRow.lease_expires_at)
    query = select(AttemptRow).where(col(AttemptRow.state).in_(HELD), or_(expires.is_(None), expires < at))
    return tx.exec(query.order_by(expires).limit(limit)).all()


def adopt(tx: Transaction, attempt: AttemptRow, lease_owner: str, lease_until: datetime) -> bool:
    """Take over the lease that was seen in ``attempt``; False when somebody was faster."""
    result = tx.exec(
        update(AttemptRow)
        .where(
            col(AttemptRow.id) == attempt.id,
            col(AttemptRow.state).in_(HELD),
            col(AttemptRow.lease_owner).is_not_distinct_from(attempt.lease_owner),
            col(AttemptRow.lease_expires_at).is_not_distinct_from(attempt.lease_expires_at),
        )
        .values(lease_owner=lease_owner, lease_expires_at=lease_until)
    )
    return bool(result.rowcount)


def renew(tx: Transaction, lease_owner: str, attempt_ids: Collection[str], lease_until: datetime | None) -> None:
    """Prolong, or with None give back, the leases that ``lease_owner`` has on these attempts."""
    tx.exec(
        update(AttemptRow)
        .where(col(AttemptRow.lease_owner) == lease_owner, col(AttemptRow.id).in_(attempt_ids))
        .values(lease_expires_at=lease_until)
    )
