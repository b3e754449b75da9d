"""Runs in the database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from snakeway import ids
from snakeway.model import gate as gate_rules
from snakeway.model import run as rules
from snakeway.model.attempt import AttemptState
from snakeway.model.run import RunState
from snakeway.rows import AttemptRow, IdempotencyRow, RunLabelRow, RunRow, now
from snakeway.store import deliveries, gates
from snakeway.store.database import Transaction, insert_all
from snakeway.store.page import Page, cut, decode_id


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a listing shows; empty members do not restrict. Members are combined with "and"."""

    owner: str | None = None
    states: list[RunState] = field(default_factory=list)
    workflow: str | None = None
    target: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None


def add(tx: Transaction, run: RunRow) -> None:
    """Insert a run and its labels, and tell the webhooks of it."""
    tx.add(run)
    tx.flush()
    _accompany(tx, [run])


def add_all(tx: Transaction, added: Sequence[RunRow]) -> None:
    """Insert runs that are records, as :func:`add` does one."""
    insert_all(tx, added)
    _accompany(tx, added)


def _accompany(tx: Transaction, added: Sequence[RunRow]) -> None:
    for run in added:
        deliveries.announce(tx, run)
    labels = [(run.id, key, value) for run in added for key, value in run.labels.items()]
    insert_all(tx, [RunLabelRow.record(run_id=run_id, key=key, value=value) for run_id, key, value in labels])


def get(tx: Transaction, run_id: str) -> RunRow | None:
    """Return a run."""
    return tx.get(RunRow, run_id)


def lock(tx: Transaction, run_id: str) -> RunRow | None:
    """Return a run that nobody else can change before the transaction ends (SQLite: the transaction has the lock)."""
    return tx.exec(select(RunRow).where(col(RunRow.id) == run_id).with_for_update()).one_or_none()


def list_(tx: Transaction, where: RunFilter, cursor: str | None, limit: int) -> Page[RunRow]:
    """Return runs, newest first. Cost: one index range per page; labels one index probe per row and label."""
    query = select(RunRow)
    if where.owner is not None:
        query = query.where(col(RunRow.owner) == where.owner)
    if where.states:
        query = query.where(col(RunRow.state).in_(where.states))
    if where.workflow is not None:
        query = query.where(col(RunRow.workflow) == where.workflow)
    if where.target is not None:
        query = query.where(col(RunRow.target) == where.target)
    if where.created_after is not None:
        query = query.where(col(RunRow.id) >= ids.first_id_at(where.created_after))
    if where.created_before is not None:
        query = query.where(col(RunRow.id) < ids.first_id_at(where.created_before))
    for key, value in where.labels.items():
        label = select(RunLabelRow.run_id).where(col(RunLabelRow.key) == key, col(RunLabelRow.value) == value)
        query = query.where(col(RunRow.id).in_(label))
    if cursor is not None:
        query = query.where(col(RunRow.id) < decode_id(cursor))
    rows = tx.exec(query.order_by(col(RunRow.id).desc()).limit(limit + 1)).all()
    return cut(rows, limit, lambda run: run.id)


def count_by_state(tx: Transaction) -> dict[str, int]:
    """Return how many runs are in each state that has not ended: two short index ranges, whatever the total."""
    query = select(RunRow.state, func.count()).where(col(RunRow.state).in_(rules.ACTIVE)).group_by(col(RunRow.state))
    return {str(state): number for state, number in tx.exec(query).all()}


def count_active(tx: Transaction, owner: str | None) -> int:
    """Return how many runs (of an owner) have not ended: short index ranges, whatever the total."""
    query = select(func.count()).select_from(RunRow).where(col(RunRow.state).in_(rules.ACTIVE))
    return tx.exec(query if owner is None else query.where(col(RunRow.owner) == owner)).one()


def note_progress(tx: Transaction, run_id: str, counts: Mapping[str, int]) -> None:
    """Copy job counts of the attempt under way to the run, for listings; see :func:`show_counts`."""
    if any(counts.values()):
        tx.exec(update(RunRow).where(col(RunRow.id) == run_id).values(**counts))


def show_counts(run: RunRow, attempt: AttemptRow) -> None:
    """Have the run show an attempt's job counts in listings, if the attempt had jobs.

    One without any, because it had nothing to do or failed before its jobs were known, leaves what was done before.
    """
    if attempt.had_jobs:
        run.jobs_total, run.jobs_done, run.jobs_failed = attempt.jobs_total, attempt.jobs_done, attempt.jobs_failed


def request_stop(tx: Transaction, run: RunRow, at: datetime) -> None:
    """Record that somebody wants the run to stop; the first request counts."""
    if run.stop_requested_at is None:
        run.stop_requested_at = at
        tx.add(run)


def stop_requests(tx: Transaction, run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that somebody wants to stop."""
    wanted = select(RunRow.id).where(col(RunRow.id).in_(run_ids), col(RunRow.stop_requested_at).is_not(None))
    return set(tx.exec(wanted).all()) if run_ids else set()


def settle(tx: Transaction, run_id: str) -> RunRow:
    """Compute the run's state from its attempts and store it; the only place a run's state changes.

    The caller's transaction has just moved, added or removed an attempt. Raises LookupError when there is no such run.
    """
    run = lock(tx, run_id)
    if run is None:
        raise LookupError(run_id)
    tx.flush()
    query = (
        select(AttemptRow.state, AttemptRow.dry_run)
        .where(col(AttemptRow.run_id) == run_id)
        .order_by(col(AttemptRow.id if run.outside else AttemptRow.number))  # by hand: may be recorded in any order
    )
    new = rules.settle([(AttemptState(state), dry_run) for state, dry_run in tx.exec(query).all()], _gates(tx, run))
    if new is run.state:
        return run
    if new not in rules.MOVES[run.state]:
        raise AssertionError(f"run {run_id}: no move from {run.state} to {new}")
    moved = tx.exec(update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.state) == run.state).values(state=new))
    assert moved.rowcount == 1, f"run {run_id} moved under its lock"
    tx.refresh(run)
    if new in rules.ENDED:
        run.ended_at = now()
    else:
        run.ended_at = None
        run.started_at = run.started_at or (now() if new is RunState.RUNNING else None)
    tx.add(run)
    deliveries.announce(tx, run)
    return run


def _gates(tx: Transaction, run: RunRow) -> rules.Gates | None:
    """Return how the gates stand, if the newest attempt failed for nothing else; the run's error tells it."""
    order = col(AttemptRow.id if run.outside else AttemptRow.number)
    query = select(AttemptRow.id, AttemptRow.gates_only, AttemptRow.gates_cancelled)
    real = query.where(col(AttemptRow.run_id) == run.id, col(AttemptRow.dry_run).is_(False))
    newest = tx.exec(real.order_by(order.desc()).limit(1)).first()
    if newest is None or not newest[1]:
        return None
    asked = [(gate.name, gate.state, gate.decided_by, gate.comment) for gate in gates.asked_by(tx, run.id, newest[0])]
    run.error = "Cancelled on request." if newest[2] else gate_rules.sentence(asked)
    tx.add(run)
    tx.flush()
    return rules.Gates(any(state in gate_rules.REFUSED for _, state, _, _ in asked), cancelled=newest[2])


def remove(tx: Transaction, run_id: str) -> None:
    """Delete a run and, by cascade, everything that belongs to it."""
    tx.exec(delete(RunRow).where(col(RunRow.id) == run_id))


def of_key(tx: Transaction, owner: str, key: str) -> tuple[IdempotencyRow, RunRow] | None:
    """Return what an Idempotency-Key was used for."""
    query = select(IdempotencyRow, RunRow).join(RunRow, col(RunRow.id) == col(IdempotencyRow.run_id))
    return tx.exec(query.where(col(IdempotencyRow.owner) == owner, col(IdempotencyRow.key) == key)).one_or_none()
