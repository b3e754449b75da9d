"""Artifacts in the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from snakeway.rows import ArtifactRow, AttemptRow
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode


def save(tx: Transaction, values: Sequence[dict[str, Any]]) -> None:
    """Insert artifacts or replace those of the same run and path."""
    if not values:
        return
    dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(ArtifactRow)
    update_ = {name: insert.excluded[name] for name in values[0] if name not in ("run_id", "path")}
    tx.execute(insert.on_conflict_do_update(index_elements=["run_id", "path"], set_=update_), values)


def known(tx: Transaction, run_id: str) -> dict[str, tuple[int, float, str | None]]:
    """Return path -> (size, mtime, sha256) of the run's artifacts."""
    query = select(ArtifactRow.path, ArtifactRow.size_bytes, ArtifactRow.mtime, ArtifactRow.sha256)
    rows = tx.exec(query.where(col(ArtifactRow.run_id) == run_id)).all()
    return {path: (size, mtime, sha256) for path, size, mtime, sha256 in rows}


def get(tx: Transaction, run_id: str, path: str) -> ArtifactRow | None:
    """Return an artifact."""
    return tx.get(ArtifactRow, (run_id, path))


def list_(tx: Transaction, run_id: str, cursor: str | None, limit: int) -> Page[ArtifactRow]:
    """Return the run's artifacts by path."""
    query = select(ArtifactRow).where(col(ArtifactRow.run_id) == run_id)
    if cursor is not None:
        query = query.where(col(ArtifactRow.path) > decode(cursor))
    rows = tx.exec(query.order_by(col(ArtifactRow.path)).limit(limit + 1)).all()
    return cut(rows, limit, lambda artifact: artifact.path)


def to_collect(tx: Transaction, collect_owner: str, limit: int) -> Sequence[AttemptRow]:
    """Return ended attempts whose outputs are still to be collected by ``collect_owner``."""
    query = select(AttemptRow).where(col(AttemptRow.collect_owner) == collect_owner)
    return tx.exec(query.order_by(col(AttemptRow.id)).limit(limit)).all()


def take_over(tx: Transaction, collect_owner: str, alive: Sequence[str]) -> None:
    """Take the collecting of supervisors that are not alive."""
    owner = col(AttemptRow.collect_owner)
    tx.exec(
        update(AttemptRow)
        .where(owner.is_not(None), owner.not_in([*alive, collect_owner]))
        .values(collect_owner=collect_owner)
    )


def collected(tx: Transaction, attempt_id: str) -> None:
    """Remember that the attempt's outputs have been collected."""
    tx.exec(update(AttemptRow).where(col(AttemptRow.id) == attempt_id).values(collect_owner=None))
