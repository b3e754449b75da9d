"""Attempts by hand in the database: finding those that no supervisor holds, and keeping their runs in order.

They may be recorded in any order, so the newest attempt of such a run is that of the latest id, not of the highest
number.
"""

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.orm import defer
from sqlmodel import col, select

from snakeway.model import outside as rules
from snakeway.model import run as run_rules
from snakeway.model.attempt import AttemptReason, AttemptState
from snakeway.rows import AttemptRow, RunRow
from snakeway.store import attempts, jobs, runs, usage
from snakeway.store.database import Transaction


def waiting(tx: Transaction, limit: int) -> Sequence[AttemptRow]:
    """Return attempts whose events came and that no supervisor has taken on yet: one short index range."""
    query = select(AttemptRow).where(
        col(AttemptRow.state) == AttemptState.RUNNING,
        col(AttemptRow.lease_expires_at).is_(None),
        col(AttemptRow.lease_owner).is_(None),
        col(AttemptRow.reason) == AttemptReason.OUTSIDE,
    )
    return tx.exec(query.options(defer(AttemptRow.plan), defer(AttemptRow.rulegraph)).limit(limit)).all()  # type: ignore[arg-type]


def release(tx: Transaction, attempt_id: str, lease_owner: str) -> None:
    """Give back the lease on an attempt that goes on, for the next supervisor to take on at once."""
    tx.exec(
        update(AttemptRow)
        .where(col(AttemptRow.id) == attempt_id, col(AttemptRow.lease_owner) == lease_owner)
        .values(lease_owner=None, lease_expires_at=None)
    )


def revive(tx: Transaction, attempt: AttemptRow) -> None:
    """Let a lost attempt that was heard of again go on: the next supervisor that looks takes it on.

    Its events are taken in from the first one again, because the loss has replaced what they had said of an error.
    """
    nothing = ("lease_owner", "lease_expires_at", "ended_at", "error", "failure", "suggestion", "collect_owner")
    values = {**dict.fromkeys(nothing), "events_offset": 0}
    if attempts.move(tx, attempt.id, AttemptState.LOST, AttemptState.RUNNING, **values):
        usage.forget(tx, attempt.id)  # its next end counts it
        jobs.save(tx, attempt.run_id, attempt.id, rules.reopen(jobs.load_not_succeeded(tx, attempt.id)))
        runs.settle(tx, attempt.run_id)


def show_newest(tx: Transaction, run: RunRow) -> None:
    """Have the run show the counts, the error and the times of its attempts, whichever of them was recorded last."""
    newest = attempts.newest(tx, run.id)
    if newest is None:
        return
    runs.show_counts(run, attempts.newest(tx, run.id, with_jobs=True) or newest)
    run.error = newest.error
    if run.state in run_rules.ENDED:
        run.ended_at = newest.ended_at
    tx.add(run)
