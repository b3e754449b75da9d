"""Jobs in the database: written by the intake in bulk, read in pages."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select

from snakeway.model.job import Job, JobState
from snakeway.rows import JobRow
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode, decode_number, number_in

_MEMBERS = [member.name for member in fields(Job)]
_KEY = ("attempt_id", "number")
_IN_CHUNK = 500  # bound variables of one SELECT … IN


def load(tx: Transaction, attempt_id: str, numbers: Collection[int]) -> dict[int, Job]:
    """Return those of the attempt's jobs that exist, by number."""
    wanted = sorted(numbers)
    found: dict[int, Job] = {}
    for start in range(0, len(wanted), _IN_CHUNK):
        chunk = wanted[start : start + _IN_CHUNK]
        rows = tx.exec(select(JobRow).where(col(JobRow.attempt_id) == attempt_id, col(JobRow.number).in_(chunk))).all()
        found.update((row.number, to_job(row)) for row in rows)
    return found


def load_not_succeeded(tx: Transaction, attempt_id: str) -> list[Job]:
    """Return the attempt's jobs that have not succeeded (yet)."""
    rows = tx.exec(
        select(JobRow).where(col(JobRow.attempt_id) == attempt_id, col(JobRow.state) != JobState.SUCCEEDED)
    ).all()
    return [to_job(row) for row in rows]


def count(tx: Transaction, attempt_id: str, state: JobState) -> int:
    """Return how many of the attempt's jobs are in ``state``: one index range."""
    query = select(func.count()).select_from(JobRow)
    return tx.exec(query.where(col(JobRow.attempt_id) == attempt_id, col(JobRow.state) == state)).one()


def any_sent(tx: Transaction, attempt_id: str) -> bool:
    """Whether any try of the attempt's jobs got an id of a scheduler: at most two passes over them."""
    query = select(JobRow.number).where(col(JobRow.attempt_id) == attempt_id, col(JobRow.external_id).is_not(None))
    if tx.exec(query.limit(1)).first() is not None:
        return True
    again = select(JobRow.tries).where(col(JobRow.attempt_id) == attempt_id, col(JobRow.try_number) > 1)
    return any(tried.get("external_id") for tries in tx.exec(again).all() for tried in tries)


def load_all(tx: Transaction, attempt_id: str) -> list[Job]:
    """Return all jobs of the attempt."""
    rows = tx.exec(select(JobRow).where(col(JobRow.attempt_id) == attempt_id).order_by(col(JobRow.number))).all()
    return [to_job(row) for row in rows]


def save(tx: Transaction, run_id: str, attempt_id: str, jobs: Iterable[Job]) -> None:
    """Insert or overwrite jobs: one statement for all of them."""
    values: list[dict[str, Any]] = [{"run_id": run_id, "attempt_id": attempt_id, **asdict(job)} for job in jobs]
    if not values:
        return
    dialect = sqlite if tx.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(JobRow)
    update = {name: insert.excluded[name] for name in _MEMBERS if name not in _KEY}
    tx.execute(insert.on_conflict_do_update(index_elements=list(_KEY), set_=update), values)


def to_job(row: JobRow) -> Job:
    """Return the rules' view of a row."""
    return Job(**{name: getattr(row, name) for name in _MEMBERS})


def get(tx: Transaction, attempt_id: str, number: int) -> JobRow | None:
    """Return a job."""
    return tx.get(JobRow, (attempt_id, number))


def list_(
    tx: Transaction,
    attempt_ids: Sequence[str],
    states: Sequence[JobState],
    rule: str | None,
    cursor: str | None,
    limit: int,
) -> Page[JobRow]:
    """Return jobs in order of attempt and number. ``attempt_ids`` must not be empty."""
    query = select(JobRow).where(col(JobRow.attempt_id).in_(attempt_ids))
    if states:
        query = query.where(col(JobRow.state).in_(states))
    if rule is not None:
        query = query.where(col(JobRow.rule) == rule)
    if len(attempt_ids) == 1:
        if cursor is not None:
            query = query.where(col(JobRow.number) > decode_number(cursor))
        rows = tx.exec(query.order_by(col(JobRow.number)).limit(limit + 1)).all()
        return cut(rows, limit, lambda job: job.number)
    if cursor is not None:
        key = decode(cursor, lambda key: key.partition("/")[0] in attempt_ids)
        attempt_id, _, number = key.partition("/")
        after = (col(JobRow.attempt_id) > attempt_id) | (
            (col(JobRow.attempt_id) == attempt_id) & (col(JobRow.number) > number_in(number))
        )
        query = query.where(after)
    rows = tx.exec(query.order_by(col(JobRow.attempt_id), col(JobRow.number)).limit(limit + 1)).all()
    return cut(rows, limit, lambda job: f"{job.attempt_id}/{job.number}")


class Outputs(NamedTuple):
    """What a job makes: ``outputs`` by name, ``directories`` those of them that are folders."""

    number: int
    rule: str
    outputs: list[str]
    directories: list[str]


def succeeded_outputs(tx: Transaction, attempt_id: str) -> Sequence[Outputs]:
    """Return the outputs of the attempt's jobs that succeeded."""
    query = select(JobRow.number, JobRow.rule, JobRow.outputs, JobRow.directories).where(
        col(JobRow.attempt_id) == attempt_id, col(JobRow.state) == JobState.SUCCEEDED
    )
    return [Outputs(number, rule, list(outputs), list(folders)) for number, rule, outputs, folders in tx.exec(query)]


def failures(tx: Transaction, attempt_id: str) -> Sequence[tuple[str, str | None, dict[str, Any] | None]]:
    """Return (rule, kind of failure, failure) of the attempt's failed jobs."""
    query = select(JobRow.rule, JobRow.failure_kind, JobRow.failure).where(
        col(JobRow.attempt_id) == attempt_id, col(JobRow.state) == JobState.FAILED
    )
    rows = tx.exec(query.order_by(col(JobRow.number))).all()
    return [(rule, kind, None if failure is None else dict(failure)) for rule, kind, failure in rows]


def count_by_rule(tx: Transaction, attempt_id: str) -> dict[str, dict[str, int]]:
    """Return rule -> state -> number of jobs: one pass over the attempt's jobs."""
    query = (
        select(JobRow.rule, JobRow.state, func.count())
        .where(col(JobRow.attempt_id) == attempt_id)
        .group_by(col(JobRow.rule), col(JobRow.state))
    )
    counts: dict[str, dict[str, int]] = {}
    for rule, state, number in tx.exec(query).all():
        counts.setdefault(rule, {})[str(state)] = number
    return counts
