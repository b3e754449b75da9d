"""What schedulers say of jobs, in the database."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import update
from sqlalchemy.orm import defer
from sqlmodel import col, select

from snakeway.model.job import ENDED, Job, JobState, schedule
from snakeway.model.scheduled import Scheduled
from snakeway.rows import AttemptRow, JobRow
from snakeway.store import jobs
from snakeway.store.database import Transaction

_IN_CHUNK = 500  # bound variables of one SELECT … IN


def open_books(tx: Transaction, limit: int) -> Sequence[AttemptRow]:
    """Return ended attempts about whose jobs the books are still asked."""
    query = select(AttemptRow).where(col(AttemptRow.books_until).is_not(None))
    query = query.options(defer(AttemptRow.plan), defer(AttemptRow.rulegraph))  # type: ignore[arg-type]
    return tx.exec(query.order_by(col(AttemptRow.books_until)).limit(limit)).all()


def close_books(tx: Transaction, attempt_id: str) -> None:
    """Ask the books no more about an attempt."""
    tx.exec(update(AttemptRow).where(col(AttemptRow.id) == attempt_id).values(books_until=None))


def unaccounted(
    tx: Transaction,
    attempt_ids: Collection[str],
    limit: int,
    states: Collection[JobState] = ENDED,
    *,
    since: float | None = None,
) -> Sequence[tuple[str, str]]:
    """Return (attempt id, external id) of jobs that ended (since a time, if one is given) and are not accounted for."""
    query = select(JobRow.attempt_id, JobRow.external_id).where(
        col(JobRow.attempt_id).in_(attempt_ids),
        col(JobRow.state).in_(states),
        col(JobRow.external_id).is_not(None),
        col(JobRow.accounted).is_(False),
    )
    if since is not None:
        query = query.where(col(JobRow.ended_at) >= since)
    found = tx.exec(query.order_by(col(JobRow.ended_at)).limit(limit)).all()
    return [(attempt_id, external_id) for attempt_id, external_id in found if external_id is not None]


def news(tx: Transaction, attempt_id: str, said: Mapping[str, Scheduled]) -> list[Job]:
    """Return those of the attempt's jobs for which it is news what the scheduler says, by external id, with the news.

    To be saved by whoever has locked the run: the intake reads and writes the same rows. Cost: proportional to what is
    said.
    """
    ids, changed = sorted(said), list[Job]()
    for start in range(0, len(ids), _IN_CHUNK):
        chunk = ids[start : start + _IN_CHUNK]
        query = select(JobRow).where(col(JobRow.attempt_id) == attempt_id, col(JobRow.external_id).in_(chunk))
        for row in tx.exec(query).all():
            job = jobs.to_job(row)
            if schedule(job, said[job.external_id or ""]):
                changed.append(job)
    return changed


def account_without_books(tx: Transaction, attempt_id: str) -> None:
    """Take what is known of the attempt's ended jobs for all that will be known."""
    tx.exec(
        update(JobRow)
        .where(col(JobRow.attempt_id) == attempt_id, col(JobRow.state).in_(ENDED), col(JobRow.accounted).is_(False))
        .values(accounted=True)
    )


def logs(tx: Transaction, attempt_id: str) -> Sequence[tuple[str, str]]:
    """Return (external id, where its log is to be) of the attempt's jobs that a scheduler had: one pass over them."""
    query = select(JobRow.external_id, JobRow.scheduler_log).where(col(JobRow.attempt_id) == attempt_id)
    query = query.where(col(JobRow.external_id).is_not(None), col(JobRow.scheduler_log).is_not(None)).distinct()
    return [(external_id, log) for external_id, log in tx.exec(query).all() if external_id and log]


def of_rules(tx: Transaction, attempt_id: str) -> dict[str, list[Scheduled]]:
    """Return rule -> what the scheduler says of its jobs that succeeded: one pass over the attempt's jobs."""
    query = select(JobRow.rule, JobRow.scheduled).where(
        col(JobRow.attempt_id) == attempt_id,
        col(JobRow.state) == JobState.SUCCEEDED,
        col(JobRow.scheduled).is_not(None),
    )
    found: dict[str, list[Scheduled]] = {}
    for rule, data in tx.exec(query).all():
        job = Scheduled.from_json(data)
        if job is not None:
            found.setdefault(rule, []).append(job)
    return found
