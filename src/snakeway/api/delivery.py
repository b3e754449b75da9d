"""Deliveries over HTTP: what webhooks were told about a run, and what they answered."""

from datetime import datetime
from typing import Annotated

from litestar import Controller, get
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, Cursor, Limit
from snakeway.api.shared import EXAMPLE_TIME, RunId, TheReads
from snakeway.model.delivery import DeliveryState
from snakeway.model.webhook import shown
from snakeway.rows import DeliveryRow


class DeliveryTry(Struct, frozen=True):
    """One request to the webhook."""

    at: datetime
    status: Annotated[int | None, Meta(description="Of the answer; null if there was none.")]
    error: Annotated[str | None, Meta(description="Why it did not count as delivered.")]
    took_s: float


class Delivery(Struct, frozen=True):
    """A message about a change of the run to one webhook."""

    id: Annotated[str, Meta(description="The header `webhook-id` of the message.")]
    type: Annotated[str, Meta(description="`run.` and the state that the run was in.")]
    url: Annotated[
        str, Meta(description="Without its query; of the server's own webhooks the host only, the rest may be secret.")
    ]
    state: DeliveryState
    try_count: Annotated[int, Meta(description="Tries that were begun.")]
    tries: Annotated[list[DeliveryTry], Meta(description="Tries whose end is known.")]
    created_at: datetime
    next_try_at: Annotated[datetime | None, Meta(description="null when it is delivered or given up.")]
    ended_at: datetime | None

    @classmethod
    def of(cls, row: DeliveryRow) -> "Delivery":
        """Make the one shape of a delivery."""
        return cls(
            id=row.id,
            type=row.type,
            url=shown(row.url, whole=row.of_run),
            state=row.state,
            try_count=row.try_count,
            tries=[
                DeliveryTry(datetime.fromisoformat(each["at"]), each["status"], each["error"], each["took_s"])
                for each in row.tries
            ],
            created_at=row.created_at,
            next_try_at=row.next_try_at,
            ended_at=row.ended_at,
        )


class DeliveryPage(Struct, frozen=True):
    """Deliveries, oldest first."""

    items: list[Delivery]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = Delivery(
    id="0198c5b2-7d31-7a11-8c1d-5b6a7f0e4d22",
    type="run.failed",
    url="https://hooks.example.org",
    state=DeliveryState.DELIVERED,
    try_count=2,
    tries=[
        DeliveryTry(EXAMPLE_TIME, 503, "The receiver answered 503.", 0.12),
        DeliveryTry(EXAMPLE_TIME, 204, None, 0.08),
    ],
    created_at=EXAMPLE_TIME,
    next_try_at=None,
    ended_at=EXAMPLE_TIME,
)


class DeliveryController(Controller):
    """What webhooks were told about a run."""

    path = "/runs/{run_id:str}/deliveries"
    tags = ("deliveries",)

    @get(
        sync_to_thread=True,
        operation_id="list_deliveries",
        summary="List a run's notifications",
        responses={
            200: answer(DeliveryPage, DeliveryPage([EXAMPLE], next=None)),
            **documented(errors.RunNotFound, errors.InvalidCursor),
        },
    )
    def list_(
        self, request: ApiRequest, reads: TheReads, run_id: RunId, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> DeliveryPage:
        """The messages to webhooks about this run, oldest first, each with its tries."""
        page = reads.deliveries(request.user, run_id, cursor, limit)
        return DeliveryPage([Delivery.of(row) for row in page.items], page.next)
