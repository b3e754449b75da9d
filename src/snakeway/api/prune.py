"""Removing many runs over HTTP, by a rule."""

from datetime import datetime
from typing import Annotated

from litestar import Controller, post
from litestar.params import BodyKwarg
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, example
from snakeway.api.problems import documented
from snakeway.api.shared import EXAMPLE_RUN_ID, EXAMPLE_TIME, TheCommands
from snakeway.model.duration import parse_duration
from snakeway.model.retention import Rule, check_states
from snakeway.model.run import RunState
from snakeway.removal import Removable

_MOST_RUNS = 500
_MOST_LABELS = 32


class PruneRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which ended runs are to be removed; members are combined with "and"."""

    older_than: Annotated[
        str,
        Meta(max_length=32, description="Time since the run's end: a number and s, m, h, d or w.", examples=["30d"]),
    ]
    states: Annotated[
        list[RunState], Meta(max_length=_MOST_LABELS, description="How they ended; none named means in any way.")
    ] = []
    labels: Annotated[dict[str, str], Meta(max_length=_MOST_LABELS, description="All of these labels.")] = {}
    workflow: Annotated[str, Meta(max_length=1024)] | None = None
    dry_run: Annotated[bool, Meta(description="Whether only to say what would be removed.")] = True
    cursor: Annotated[str, Meta(max_length=8192, description="Where to go on: `next` of the answer before.")] | None = (
        None
    )
    limit: Annotated[int, Meta(ge=1, le=_MOST_RUNS, description="Most runs in one answer.")] = 100

    def rule(self) -> Rule:
        """Return the rule; raises Invalid."""
        try:
            older_than = parse_duration(self.older_than)
        except errors.Invalid as error:
            raise errors.Invalid(f"older_than: {error.detail}", field="older_than") from error
        return Rule(older_than, check_states(self.states), self.labels, self.workflow)


class PrunedRun(Struct, frozen=True):
    """A run that the rule names."""

    id: str
    workflow: str
    state: RunState
    owner: str
    labels: dict[str, str]
    created_at: datetime
    ended_at: datetime | None
    size_bytes: Annotated[int, Meta(description="Of all files in its directory.")]
    removed: Annotated[
        bool,
        Meta(description="false in a dry run, and for a run that was re-run or removed by somebody else meanwhile."),
    ]

    @classmethod
    def of(cls, found: Removable) -> "PrunedRun":
        """Make the shape of a run in this answer."""
        run = found.run
        return cls(
            run.id,
            run.workflow,
            run.state,
            run.owner,
            run.labels,
            run.created_at,
            run.ended_at,
            found.size_bytes,
            found.removed,
        )


class PruneAnswer(Struct, frozen=True):
    """Some of the runs that the rule names, those recorded first at the beginning."""

    items: list[PrunedRun]
    size_bytes: Annotated[int, Meta(description="Of the items together.")]
    next: Annotated[str | None, Meta(description="Cursor of what is left; null at the end.")]


_EXAMPLE_BODY = PruneRequest("30d", states=[RunState.FAILED], labels={"project": "penguins"}, dry_run=False)
_EXAMPLE = PruneAnswer(
    [
        PrunedRun(
            EXAMPLE_RUN_ID,
            "quickstart",
            RunState.FAILED,
            "local",
            {"project": "penguins"},
            EXAMPLE_TIME,
            EXAMPLE_TIME,
            1048576,
            removed=True,
        )
    ],
    1048576,
    None,
)


class PruneController(Controller):
    """Removes runs by a rule."""

    path = "/prune"
    tags = ("runs",)

    @post(
        status_code=200,
        operation_id="prune_runs",
        summary="Remove ended runs by a rule",
        responses={200: answer(PruneAnswer, _EXAMPLE), **documented(errors.InvalidCursor, body=True)},
    )
    async def prune(
        self,
        request: ApiRequest,
        commands: TheCommands,
        data: Annotated[PruneRequest, BodyKwarg(examples=[example(_EXAMPLE_BODY)])],
    ) -> PruneAnswer:
        """Says which of the ended runs that you may remove the rule names, and removes them if `dry_run` is false.

        A call takes a bounded number of runs, and no longer than some seconds; `next` is where to go on. Runs with the
        label of the setting `keep_label` are left alone.
        """
        pruned = await request.slow_lane.run(
            lambda: commands.prune(
                request.user, data.rule(), dry_run=data.dry_run, cursor=data.cursor, limit=data.limit
            )
        )
        return PruneAnswer(
            [PrunedRun.of(each) for each in pruned.items], sum(each.size_bytes for each in pruned.items), pruned.next
        )
