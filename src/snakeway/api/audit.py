"""The audit over HTTP: what was removed, when, by whom."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, Cursor, Limit
from snakeway.api.shared import EXAMPLE_DIGEST, EXAMPLE_RUN_ID, EXAMPLE_TIME, TheReads
from snakeway.model.audit import AuditAction
from snakeway.rows import AuditRow


class AuditLine(Struct, frozen=True):
    """A run that was removed."""

    id: str
    at: datetime
    actor: Annotated[str, Meta(description="The user, or `supervisor` if it was a rule of the settings.")]
    action: Annotated[
        AuditAction,
        Meta(description="`delete`: this one run by hand; `prune`: by hand with others; `expire`: by a rule."),
    ]
    run_id: str
    workflow: str
    owner: Annotated[str, Meta(description="Whose run it was.")]
    details: Annotated[
        dict[str, Any],
        Meta(description="`state`, `digest`, `target`, `labels`, `created_at`, `ended_at`, `size_bytes`, and `rule`."),
    ]

    @classmethod
    def of(cls, row: AuditRow) -> "AuditLine":
        """Make the one shape of a line."""
        return cls(row.id, row.at, row.actor, row.action, row.run_id, row.workflow, row.owner, row.details)


class AuditPage(Struct, frozen=True):
    """Lines, newest first."""

    items: list[AuditLine]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = AuditLine(
    id="0198c5b2-7d32-7b22-9d2e-6c7b8f1f5e33",
    at=EXAMPLE_TIME,
    actor="local",
    action=AuditAction.DELETE,
    run_id=EXAMPLE_RUN_ID,
    workflow="quickstart",
    owner="local",
    details={
        "state": "failed",
        "digest": EXAMPLE_DIGEST,
        "target": "local",
        "labels": {"project": "penguins"},
        "created_at": "2026-03-02T09:00:00+00:00",
        "ended_at": "2026-03-02T09:20:00+00:00",
        "size_bytes": 1048576,
    },
)


class AuditController(Controller):
    """What was removed."""

    path = "/audit"
    tags = ("audit",)

    @get(
        sync_to_thread=True,
        operation_id="list_audit",
        summary="List what was removed",
        responses={200: answer(AuditPage, AuditPage([EXAMPLE], next=None)), **documented(errors.InvalidCursor)},
    )
    def list_(
        self,
        request: ApiRequest,
        reads: TheReads,
        run: Annotated[str | None, QueryParameter(description="Of the run with this id.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> AuditPage:
        """Removed runs, the last one first. For administrators."""
        page = reads.audit(request.user, run, cursor, limit)
        return AuditPage([AuditLine.of(row) for row in page.items], page.next)
