"""Usage in the database: a few rows for each ended attempt, so that sums over months read no jobs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func
from sqlmodel import col, select

from snakeway.model.job import Job
from snakeway.model.usage import GroupBy, Share, Usage, of_jobs
from snakeway.rows import AttemptRow, JobRow, RunRow, UsageRow
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode

# A hundred thousand CPU-years: what one row holds at most, whatever events claim.
_MOST = 2**53
# Sums are taken in two halves: those of hostile rows would be too large for a database's integer.
_HALF = 2**26

_COUNTS = ("jobs", "jobs_unknown", "jobs_without_memory")
_JOB_MEMBERS = (
    *("number", "rule", "state", "local", "threads", "resources"),
    *("started_at", "ended_at", "external_id", "scheduled", "tries"),
)


_COLUMNS: dict[GroupBy, Any] = {
    GroupBy.OWNER: UsageRow.owner,
    GroupBy.MONTH: UsageRow.month,
    GroupBy.WORKFLOW: UsageRow.workflow,
    GroupBy.TARGET: UsageRow.target,
    GroupBy.RULE: UsageRow.rule,
    GroupBy.RUN: UsageRow.run_id,
}
_NEWEST_FIRST = frozenset({GroupBy.MONTH, GroupBy.RUN})

Shares = dict[Share, Usage]


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage to sum: of the months from ``since`` to ``until``, both included."""

    since: str
    until: str
    owner: str | None = None
    workflow: str | None = None
    target: str | None = None


def recount(tx: Transaction, attempt: AttemptRow) -> None:
    """Store what the jobs of an ended attempt had, instead of what was stored of it before: idempotent.

    To be called with the run locked, in each transaction that makes an end, or the times of an ended attempt's jobs,
    final. Cost: one pass over the attempt's jobs.
    """
    run = tx.get(RunRow, attempt.run_id)
    if run is None or attempt.dry_run or attempt.ended_at is None:
        return
    forget(tx, attempt.id)
    for share, usage in of_attempt(tx, attempt, attempt.ended_at).items():
        tx.add(
            UsageRow(
                attempt_id=attempt.id,
                rule=share.rule,
                month=share.month,
                target=share.target,
                queue=share.queue,
                run_id=attempt.run_id,
                owner=run.owner,
                workflow=run.workflow,
                cpu_ms=min(usage.cpu_ms, _MOST),
                mem_mib_ms=min(usage.mem_mib_ms, _MOST),
                **{name: getattr(usage, name) for name in _COUNTS},
            )
        )
    tx.flush()


def forget(tx: Transaction, attempt_id: str) -> None:
    """Remove what is stored of an attempt, because it goes on after all."""
    tx.exec(delete(UsageRow).where(col(UsageRow.attempt_id) == attempt_id))


def of_attempt(tx: Transaction, attempt: AttemptRow, at: datetime) -> Shares:
    """Return what the attempt's jobs had, those that run still up to ``at``: one pass over its jobs."""
    query = select(*(getattr(JobRow, name) for name in _JOB_MEMBERS))
    rows = tx.exec(query.where(col(JobRow.attempt_id) == attempt.id).order_by(col(JobRow.number))).all()
    jobs = [Job(**dict(zip(_JOB_MEMBERS, row, strict=True))) for row in rows]
    return of_jobs(jobs, target=attempt.target, executor=attempt.executor, at=at.timestamp())


def of_run(tx: Transaction, run_id: str) -> dict[str, Shares]:
    """Return what the run's ended attempts had, by the id of the attempt: one index range."""
    found: dict[str, Shares] = {}
    for row in tx.exec(select(UsageRow).where(col(UsageRow.run_id) == run_id)).all():
        counts = {name: getattr(row, name) for name in ("cpu_ms", "mem_mib_ms", *_COUNTS)}
        found.setdefault(row.attempt_id, {})[Share(row.rule, row.month, row.target, row.queue)] = Usage(**counts)
    return found


def total(tx: Transaction, where: UsageFilter) -> Shares:
    """Return the usage in all: one pass over the rows of these months (and of the owner, if one is named)."""
    return _sums(tx, where, None, ()).get("", {})


def groups(
    tx: Transaction, where: UsageFilter, by: GroupBy, cursor: str | None, limit: int
) -> Page[tuple[str, Shares]]:
    """Return a page of usage by ``by``: months and runs the newest first, the rest by name.

    Cost: one pass over the rows of these months (and of the owner, if one is named) for the names, another for the
    sums; the rows are those of ended attempts and their rules, not of jobs.
    """
    column = col(_COLUMNS[by])
    kind = f"{by}/"  # of its cursors: a name may be empty, or be an owner's and a workflow's
    order = column.desc() if by in _NEWEST_FIRST else column.asc()
    query = _chosen(select(column), where)
    if cursor is not None:
        after = decode(cursor, lambda key: key.startswith(kind)).removeprefix(kind)
        query = query.where(column < after if by in _NEWEST_FIRST else column > after)
    page = cut(tx.exec(query.distinct().order_by(order).limit(limit + 1)).all(), limit, lambda key: f"{kind}{key}")
    sums = _sums(tx, where, column, page.items) if page.items else {}
    return Page([(key, sums.get(key, {})) for key in page.items], page.next)


def _sums(tx: Transaction, where: UsageFilter, column: Any, keys: Sequence[str]) -> dict[str, Shares]:
    # What decides on the price stays apart; the rule does not.
    place = (col(UsageRow.month), col(UsageRow.target), col(UsageRow.queue))
    by = place if column is None else (*place, column)
    sums = [half for name in ("cpu_ms", "mem_mib_ms") for half in _halves(col(getattr(UsageRow, name)))]
    sums += [func.sum(col(getattr(UsageRow, name))) for name in _COUNTS]
    query = _chosen(select(*by, *sums), where).group_by(*by)
    if column is not None:
        query = query.where(column.in_(keys))
    found: dict[str, Shares] = {}
    for row in tx.exec(query).all():
        month, target, queue = row[:3]
        high, low, mem_high, mem_low, *counts = map(int, row[len(by) :])
        usage = Usage(high * _HALF + low, mem_high * _HALF + mem_low, **dict(zip(_COUNTS, counts, strict=True)))
        found.setdefault("" if column is None else row[3], {})[Share("", month, target, queue)] = usage
    return found


def _halves(column: Any) -> Iterable[Any]:
    return func.sum(column // _HALF), func.sum(column % _HALF)


def _chosen(query: Any, where: UsageFilter) -> Any:
    query = query.where(col(UsageRow.month) >= where.since, col(UsageRow.month) <= where.until)
    for name in ("owner", "workflow", "target"):
        value = getattr(where, name)
        if value is not None:
            query = query.where(col(getattr(UsageRow, name)) == value)
    return query
