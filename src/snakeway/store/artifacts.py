"""Artifacts in the database."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, func, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from snakeway.model.artifact import Kind
from snakeway.rows import ArtifactRow, AttemptRow, RequestedRow
from snakeway.store.database import Transaction
from snakeway.store.page import MAX_LIMIT, Page, cut, decode

MOST_REQUESTED = 100_000  # names of one run; a job can write as many as it likes into its events
_NAME_BYTES = 1024
_IN_CHUNK = 500  # bound variables of one statement


class Known(NamedTuple):
    """What is on record of an artifact, as far as it tells whether the file is still the same."""

    size_bytes: int
    mtime: float
    etag: str | None
    storage_url: str | None
    sha256: str | None
    kind: Kind


def save(tx: Transaction, values: Sequence[dict[str, Any]]) -> None:
    """Insert artifacts or replace those of the same run and path."""
    if not values:
        return
    dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(ArtifactRow)
    update_ = {name: insert.excluded[name] for name in values[0] if name not in ("run_id", "path")}
    tx.execute(insert.on_conflict_do_update(index_elements=["run_id", "path"], set_=update_), values)


def known(tx: Transaction, run_id: str) -> dict[str, Known]:
    """Return what is known of each of the run's artifacts, by path."""
    query = select(ArtifactRow).where(col(ArtifactRow.run_id) == run_id)
    return {
        found.path: Known(found.size_bytes, found.mtime, found.etag, found.storage_url, found.sha256, found.kind)
        for found in tx.exec(query).all()
    }


def request(tx: Transaction, run_id: str, names: Iterable[object]) -> None:
    """Remember names that an attempt was asked for; those that are no names, or too many, are passed over."""
    good = {name for name in names if isinstance(name, str) and 0 < len(name.encode()) <= _NAME_BYTES}
    counted = select(func.count()).select_from(RequestedRow).where(col(RequestedRow.run_id) == run_id)
    room = MOST_REQUESTED - tx.exec(counted).one()
    values = [{"run_id": run_id, "name": name} for name in sorted(good)][: max(0, room)]
    if values:
        dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
        tx.execute(dialect.insert(RequestedRow).on_conflict_do_nothing(), values)


def requested(tx: Transaction, run_id: str) -> Sequence[str]:
    """Return the names that the run's attempts were asked for."""
    return tx.exec(select(RequestedRow.name).where(col(RequestedRow.run_id) == run_id)).all()


def mark(tx: Transaction, run_id: str, paths: Sequence[str], kind: Kind) -> None:
    """Change the kind of artifacts."""
    for start in range(0, len(paths), _IN_CHUNK):
        chunk = col(ArtifactRow.path).in_(paths[start : start + _IN_CHUNK])
        tx.exec(update(ArtifactRow).where(col(ArtifactRow.run_id) == run_id, chunk).values(kind=kind))


def get(tx: Transaction, run_id: str, path: str) -> ArtifactRow | None:
    """Return an artifact."""
    return tx.get(ArtifactRow, (run_id, path))


def forget(tx: Transaction, run_id: str, paths: Sequence[str]) -> None:
    """Remove artifacts from the record."""
    for start in range(0, len(paths), _IN_CHUNK):
        chunk = col(ArtifactRow.path).in_(paths[start : start + _IN_CHUNK])
        tx.exec(delete(ArtifactRow).where(col(ArtifactRow.run_id) == run_id, chunk))


def list_(tx: Transaction, run_id: str, kind: Kind | None, cursor: str | None, limit: int) -> Page[ArtifactRow]:
    """Return the run's artifacts by path, those of one kind or all."""
    after = None if cursor is None else decode(cursor)
    return cut(after_path(tx, run_id, kind, after, limit + 1), limit, lambda artifact: artifact.path)


def after_path(
    tx: Transaction, run_id: str, kind: Kind | None, path: str | None, limit: int = MAX_LIMIT
) -> Sequence[ArtifactRow]:
    """Return the first of the run's artifacts behind ``path``, by path. Cost: one index range of that length."""
    query = select(ArtifactRow).where(col(ArtifactRow.run_id) == run_id)
    if kind is not None:
        query = query.where(col(ArtifactRow.kind) == kind)
    if path is not None:
        query = query.where(col(ArtifactRow.path) > path)
    return tx.exec(query.order_by(col(ArtifactRow.path)).limit(limit)).all()


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
