"""Deliveries in the database: written with the change of a run that they tell of, then claimed, tried and ended."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select

from snakeway import ids
from snakeway.model.delivery import DeliveryState
from snakeway.model.webhook import Subscription
from snakeway.rows import DeliveryRow, RunRow, now
from snakeway.store.database import SUBSCRIPTIONS, Transaction
from snakeway.store.page import Page, cut, decode_id

_CANDIDATES = 100  # due deliveries that one claim looks at


def announce(tx: Transaction, run: RunRow) -> None:
    """Store a message about the run's state, as it is in ``tx``, for every webhook that wants it.

    In the transaction that changes the state: either both are stored or neither.
    """
    subscriptions: Sequence[Subscription] = tx.info.get(SUBSCRIPTIONS, ())
    of_run: dict[str, bool] = dict.fromkeys(run.webhooks, True)
    of_run.update((each.url, False) for each in subscriptions if each.wants(run.state))
    at = now()
    for url, own in of_run.items():
        id_ = ids.new_id()
        tx.add(
            DeliveryRow(
                id=id_,
                run_id=run.id,
                url=url,
                of_run=own,
                type=f"run.{run.state}",
                body=json.dumps(message(id_, run, at), ensure_ascii=False, separators=(",", ":")),
                created_at=at,
                next_try_at=at,
            )
        )


def message(delivery_id: str, run: RunRow, at: datetime) -> dict[str, Any]:
    """Return what is sent. ``data`` has members of the API's run, under the same names and with the same values.

    The configuration is left out: it may be large, and it is nobody's business who only wants to know of the end.
    """
    return {
        "id": delivery_id,
        "type": f"run.{run.state}",
        "timestamp": _text(at),
        "data": {
            "id": run.id,
            "state": str(run.state),
            "workflow": run.workflow,
            "digest": run.digest,
            "target": run.target,
            "owner": run.owner,
            "labels": run.labels,
            "note": run.note,
            "dry_run": run.dry_run,
            "created_at": _text(run.created_at),
            "started_at": _text(run.started_at),
            "ended_at": _text(run.ended_at),
            "error": run.error,
            "jobs": {"total": run.jobs_total, "done": run.jobs_done, "failed": run.jobs_failed},
        },
    }


def any_due(tx: Transaction, at: datetime, busy: Collection[str] = ()) -> bool:
    """Whether anything is to be sent to an address that is not in ``busy``."""
    return tx.exec(_due(at, busy).limit(1)).first() is not None


def claim(tx: Transaction, at: datetime, until: datetime, busy: Collection[str], limit: int) -> Sequence[DeliveryRow]:
    """Take deliveries that are due, at most one for each address, and none for those in ``busy``; oldest first.

    Others leave them alone up to ``until``. Crash after the commit: they are due again then.
    """
    query = _due(at, busy).order_by(col(DeliveryRow.next_try_at), col(DeliveryRow.id)).limit(_CANDIDATES)
    first: dict[str, DeliveryRow] = {}
    for row in tx.exec(query.with_for_update(skip_locked=True)).all():
        first.setdefault(row.url, row)
    taken = list(first.values())[:limit]
    for row in taken:
        row.next_try_at = until
        row.try_count += 1
        tx.add(row)
    tx.flush()
    return taken


def note_try(
    tx: Transaction, row: DeliveryRow, tried: dict[str, Any], state: DeliveryState, next_try_at: datetime | None
) -> bool:
    """Record a try of a claimed delivery; False when the claim ran out and somebody else has it now."""
    result = tx.exec(
        update(DeliveryRow)
        .where(
            col(DeliveryRow.id) == row.id,
            col(DeliveryRow.state) == DeliveryState.PENDING,
            col(DeliveryRow.next_try_at) == row.next_try_at,
        )
        .values(
            state=state,
            tries=[*row.tries, tried],
            next_try_at=next_try_at,
            ended_at=None if state is DeliveryState.PENDING else now(),
        )
    )
    return bool(result.rowcount)


def list_(tx: Transaction, run_id: str, cursor: str | None, limit: int) -> Page[DeliveryRow]:
    """Return the deliveries about a run, oldest first."""
    query = select(DeliveryRow).where(col(DeliveryRow.run_id) == run_id)
    if cursor is not None:
        query = query.where(col(DeliveryRow.id) > decode_id(cursor))
    rows = tx.exec(query.order_by(col(DeliveryRow.id)).limit(limit + 1)).all()
    return cut(rows, limit, lambda row: row.id)


def _due(at: datetime, busy: Collection[str]) -> Any:
    query = select(DeliveryRow).where(
        col(DeliveryRow.state) == DeliveryState.PENDING, col(DeliveryRow.next_try_at) <= at
    )
    return query.where(col(DeliveryRow.url).not_in(busy)) if busy else query


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
