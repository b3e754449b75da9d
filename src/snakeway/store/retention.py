"""Runs that a rule names, in the database."""

from datetime import datetime

from sqlmodel import col, select

from snakeway import ids
from snakeway.model.retention import Rule
from snakeway.model.run import ENDED
from snakeway.rows import RunLabelRow, RunRow
from snakeway.store.database import Transaction
from snakeway.store.page import Page, cut, decode_id


def list_(
    tx: Transaction, rule: Rule, at: datetime, keep_label: str, owner: str | None, cursor: str | None, limit: int
) -> Page[RunRow]:
    """Return runs that ``rule`` names, oldest record first; of one owner, if ``owner`` is given.

    A run that was recorded after its end, such as one that was imported, counts from its record: so the ids bound what
    is looked at. Cost: the index range of the runs that are old enough.
    """
    ended_by = rule.ended_by(at)
    query = select(RunRow).where(
        col(RunRow.id) < ids.first_id_at(ended_by),
        col(RunRow.state).in_(rule.states or ENDED),
        col(RunRow.ended_at) <= ended_by,
        col(RunRow.id).not_in(select(RunLabelRow.run_id).where(col(RunLabelRow.key) == keep_label)),
    )
    if owner is not None:
        query = query.where(col(RunRow.owner) == owner)
    if rule.workflow is not None:
        query = query.where(col(RunRow.workflow) == rule.workflow)
    for key, value in rule.labels.items():
        label = select(RunLabelRow.run_id).where(col(RunLabelRow.key) == key, col(RunLabelRow.value) == value)
        query = query.where(col(RunRow.id).in_(label))
    if cursor is not None:
        query = query.where(col(RunRow.id) > decode_id(cursor))
    rows = tx.exec(query.order_by(col(RunRow.id)).limit(limit + 1)).all()
    return cut(rows, limit, lambda run: run.id)
