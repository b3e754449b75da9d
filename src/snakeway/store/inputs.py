"""Inputs in the database."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, union_all, update
from sqlmodel import col, delete, select

from snakeway.model.input import MOVES, UNFINISHED, InputState
from snakeway.rows import InputRow, RunInputRow, now
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode_id

_IN_CHUNK = 500  # bound variables of one SELECT … IN


def lock_owner(tx: Transaction, owner: str) -> None:
    """Have the changes of one owner's inputs happen one after the other (SQLite: the transaction has the lock)."""
    if tx.get_bind().dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"input {owner}", 0))))


def add(tx: Transaction, row: InputRow) -> None:
    """Insert an input."""
    tx.add(row)
    tx.flush()


def get(tx: Transaction, input_id: str) -> InputRow | None:
    """Return an input."""
    return tx.get(InputRow, input_id)


def list_(
    tx: Transaction, owner: str | None, states: Collection[InputState], cursor: str | None, limit: int
) -> Page[InputRow]:
    """Return inputs that are not on their way out, newest first. Cost: one index range per page."""
    query = select(InputRow).where(col(InputRow.state).in_(states or set(InputState) - {InputState.REMOVING}))
    if owner is not None:
        query = query.where(col(InputRow.owner) == owner)
    if cursor is not None:
        query = query.where(col(InputRow.id) < decode_id(cursor))
    rows = tx.exec(query.order_by(col(InputRow.id).desc()).limit(limit + 1)).all()
    return cut(rows, limit, lambda row: row.id)


def of_content(tx: Transaction, owner: str, sha256: str) -> Sequence[InputRow]:
    """Return the owner's inputs with this content, in any state, oldest first."""
    query = select(InputRow).where(col(InputRow.owner) == owner, col(InputRow.sha256) == sha256)
    return tx.exec(query.order_by(col(InputRow.id))).all()


def of_ids(tx: Transaction, input_ids: Sequence[str]) -> dict[str, InputRow]:
    """Return inputs by their ids, as far as there are any."""
    found: dict[str, InputRow] = {}
    for start in range(0, len(input_ids), _IN_CHUNK):
        query = select(InputRow).where(col(InputRow.id).in_(input_ids[start : start + _IN_CHUNK]))
        found |= {row.id: row for row in tx.exec(query).all()}
    return found


def total_bytes(tx: Transaction, owner: str) -> int:
    """Return what an owner's inputs come to: each complete content once, and every other input with its whole size.

    Until it is complete each has a file of its own, and its digest is only what somebody says. Cost: one pass over
    the owner's inputs.
    """
    mine, complete = col(InputRow.owner) == owner, col(InputRow.state) == InputState.COMPLETE
    once = select(func.max(InputRow.size_bytes).label("size")).where(mine, complete).group_by(col(InputRow.sha256))
    others = select(InputRow.size_bytes).where(mine, ~complete)
    each = union_all(once, others).subquery()
    return int(tx.exec(select(func.coalesce(func.sum(each.c.size), 0))).one())


def move(
    tx: Transaction, input_id: str, old: InputState, new: InputState, *, since: datetime | None = None, **values: Any
) -> bool:
    """Move an input; False if it is not in the state ``old`` any more, or was changed after ``since``."""
    if new not in MOVES[old]:
        raise AssertionError(f"input {input_id}: no move from {old} to {new}")
    changed = update(InputRow).where(col(InputRow.id) == input_id, col(InputRow.state) == old)
    if since is not None:
        changed = changed.where(col(InputRow.updated_at) == since)
    return tx.exec(changed.values(state=new, updated_at=now(), **values)).rowcount == 1


def claim(tx: Transaction, row: InputRow) -> bool:
    """Take up the removal of an input; False if anything has happened to it since ``row`` was read.

    Of several who have read the same one gets True; to the others it is not `idle` any more.
    """
    return move(tx, row.id, row.state, InputState.REMOVING, since=row.updated_at)


def note_bytes(tx: Transaction, input_id: str) -> None:
    """Note that bytes have come, so that the upload does not expire."""
    tx.exec(
        update(InputRow)
        .where(col(InputRow.id) == input_id, col(InputRow.state).in_(UNFINISHED))
        .values(updated_at=now())
    )


def remove(tx: Transaction, input_id: str) -> None:
    """Delete the row; raises IntegrityError if a run uses the input."""
    tx.exec(delete(InputRow).where(col(InputRow.id) == input_id))


def idle(tx: Transaction, states: Collection[InputState], before: datetime, limit: int) -> Sequence[InputRow]:
    """Return inputs in one of the states in which nothing has happened since a time, the oldest first."""
    query = select(InputRow).where(col(InputRow.state).in_(states), col(InputRow.updated_at) < before)
    return tx.exec(query.order_by(col(InputRow.updated_at)).limit(limit)).all()


def pin(tx: Transaction, run_id: str, input_ids: Collection[str]) -> None:
    """Have the inputs kept as long as the run is, besides those that are already."""
    held = set(tx.exec(select(RunInputRow.input_id).where(col(RunInputRow.run_id) == run_id)).all())
    tx.add_all(RunInputRow(run_id=run_id, input_id=each) for each in input_ids if each not in held)
    tx.flush()


def runs_with(tx: Transaction, input_id: str, limit: int) -> Sequence[str]:
    """Return the ids of runs that use the input, the oldest first."""
    query = select(RunInputRow.run_id).where(col(RunInputRow.input_id) == input_id)
    return tx.exec(query.order_by(col(RunInputRow.run_id)).limit(limit)).all()
