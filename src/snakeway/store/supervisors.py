"""Supervisors in the database: who is alive."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from snakeway.rows import SupervisorRow
from snakeway.store.database import Transaction


def beat(tx: Transaction, supervisor: SupervisorRow) -> None:
    """Insert or refresh the row of a living supervisor."""
    dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    values = supervisor.model_dump()
    insert = dialect.insert(SupervisorRow).values(values)
    tx.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))


def alive(tx: Transaction, since: datetime) -> Sequence[SupervisorRow]:
    """Return the supervisors that were seen after ``since``."""
    return tx.exec(select(SupervisorRow).where(col(SupervisorRow.seen_at) > since)).all()


def remove(tx: Transaction, supervisor_id: str) -> None:
    """Forget a supervisor that ends."""
    tx.exec(delete(SupervisorRow).where(col(SupervisorRow.id) == supervisor_id))


def remove_silent(tx: Transaction, before: datetime) -> None:
    """Forget supervisors that have not been seen since ``before``."""
    tx.exec(delete(SupervisorRow).where(col(SupervisorRow.seen_at) < before))
