"""What was removed, in the database."""

from collections.abc import Collection
from typing import Any

from sqlmodel import col, select

from snakeway import ids
from snakeway.model.audit import AuditAction
from snakeway.rows import AuditRow, RunRow, now
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode_id


def note(tx: Transaction, run: RunRow, actor: str, action: AuditAction, details: dict[str, Any]) -> None:
    """Write a line about a run, in the transaction that removes it."""
    tx.add(
        AuditRow(
            id=ids.new_id(),
            at=now(),
            actor=actor,
            action=action,
            run_id=run.id,
            workflow=run.workflow,
            owner=run.owner,
            details=details,
        )
    )


def list_(tx: Transaction, run_id: str | None, cursor: str | None, limit: int) -> Page[AuditRow]:
    """Return lines, newest first; of one run, if ``run_id`` is given."""
    query = select(AuditRow)
    if run_id is not None:
        query = query.where(col(AuditRow.run_id) == run_id)
    if cursor is not None:
        query = query.where(col(AuditRow.id) < decode_id(cursor))
    rows = tx.exec(query.order_by(col(AuditRow.id).desc()).limit(limit + 1)).all()
    return cut(rows, limit, lambda row: row.id)


def removed(tx: Transaction, run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that were removed: there is a line about them, and they are not there."""
    query = select(AuditRow.run_id).where(
        col(AuditRow.run_id).in_(run_ids), col(AuditRow.run_id).not_in(select(RunRow.id))
    )
    return set(tx.exec(query).all())
