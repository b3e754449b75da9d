"""Cost over HTTP: processor- and GiB-hours of runs, and what they come to at the prices of the settings."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from litestar import Controller, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, LARGEST_NUMBER, Cursor, Limit
from snakeway.api.shared import EXAMPLE_RUN_ID, RunId, TheReads
from snakeway.model.price import BASIS, PriceKind, gib_hours, shown, vcpu_hours
from snakeway.model.price import Cost as Known
from snakeway.model.usage import GroupBy
from snakeway.service.costs import MOST_MONTHS
from snakeway.store.usage import UsageFilter

_MONTH = r"^[1-9]\d{3}-(0[1-9]|1[0-2])$"

Basis = Annotated[str, Meta(description="What the amounts are, in one sentence.")]


class Cost(Struct, frozen=True):
    """What some jobs had, and what that comes to."""

    vcpu_hours: Annotated[float, Meta(description="Processors times hours from start to end, of every try.")]
    gib_hours: Annotated[float, Meta(description="GiB of memory times hours.")]
    jobs: Annotated[int, Meta(description="Jobs that ran.")]
    jobs_running: Annotated[int, Meta(description="Of these: they run still, and are counted up to now.")]
    jobs_unknown: Annotated[int, Meta(description="Of these: nobody said when they started, so they are not counted.")]
    jobs_without_memory: Annotated[int, Meta(description="Of these: how much memory they had is not known.")]
    amount: Annotated[
        str | None, Meta(description="A decimal number as text; null if there is no price: `missing` says why.")
    ]
    currency: Annotated[str | None, Meta(description="ISO 4217, of the settings; null without prices.")]
    estimate: Annotated[Literal[True], Meta(description="Amounts are never those of a bill.")]
    kinds: Annotated[list[PriceKind], Meta(description="The kinds of the prices that were used.")]
    missing: Annotated[list[str], Meta(description="What the amount leaves out, and why; at most 21.")]

    @classmethod
    def of(cls, known: Known, currency: str | None) -> "Cost":
        """Make the one shape of a cost."""
        usage = known.usage
        return cls(
            vcpu_hours=vcpu_hours(usage),
            gib_hours=gib_hours(usage),
            jobs=usage.jobs,
            jobs_running=usage.jobs_running,
            jobs_unknown=usage.jobs_unknown,
            jobs_without_memory=usage.jobs_without_memory,
            amount=None if known.amount is None else shown(known.amount),
            currency=currency,
            estimate=True,
            kinds=list(known.kinds),
            missing=list(known.missing),
        )


class RuleCost(Struct, frozen=True):
    """What the jobs of one rule cost."""

    rule: str
    cost: Cost


class AttemptCost(Struct, frozen=True):
    """What one attempt cost."""

    attempt: Annotated[int, Meta(description="Number of the attempt.")]
    cost: Cost


class RunCost(Struct, frozen=True):
    """What a run cost: in all, by rule, and by attempt."""

    run_id: str
    provisional: Annotated[
        bool, Meta(description="It will change: something runs still, or a scheduler is still asked about times.")
    ]
    basis: Basis
    total: Cost
    rules: list[RuleCost]
    attempts: list[AttemptCost]


class GroupCost(Struct, frozen=True):
    """What belongs together cost."""

    key: Annotated[str, Meta(description="The owner, month, workflow, target, rule or run, as asked for.")]
    cost: Cost


class CostPage(Struct, frozen=True):
    """Costs of ended attempts: months and runs the newest first, the rest by name."""

    items: list[GroupCost]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]
    by: GroupBy
    since: Annotated[str, Meta(description="The first month.")]
    until: Annotated[str, Meta(description="The last month.")]
    basis: Basis
    total: Annotated[Cost, Meta(description="Of all pages.")]
    active_runs: Annotated[
        int,
        Meta(description="Runs that have not ended, whatever is filtered by: their last attempts do not count yet."),
    ]


_COST = Cost(
    vcpu_hours=2.08,
    gib_hours=8.32,
    jobs=12,
    jobs_running=0,
    jobs_unknown=0,
    jobs_without_memory=0,
    amount="0.0624",
    currency="EUR",
    estimate=True,
    kinds=[PriceKind.CLUSTER],
    missing=[],
)
RUN_EXAMPLE = RunCost(
    EXAMPLE_RUN_ID,
    False,
    BASIS,
    _COST,
    [RuleCost("fit", _COST)],
    [AttemptCost(1, _COST)],
)
PAGE_EXAMPLE = CostPage(
    [GroupCost("ada", _COST)], None, GroupBy.OWNER, "2026-03", "2026-03", BASIS, _COST, active_runs=1
)


class RunCostController(Controller):
    """The cost of one run."""

    path = "/runs/{run_id:str}/cost"
    tags = ("cost",)

    @get(
        sync_to_thread=True,
        operation_id="get_run_cost",
        summary="Get the cost of a run",
        responses={200: answer(RunCost, RUN_EXAMPLE), **documented(errors.RunNotFound, errors.AttemptNotFound)},
    )
    def one(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        attempt: Annotated[
            int | None,
            QueryParameter(ge=1, le=LARGEST_NUMBER, description="Of the attempt of this number; by default of all."),
        ] = None,
    ) -> RunCost:
        """Processor- and GiB-hours of a run's jobs, and an estimate of their cost. Jobs that run count up to now."""
        found = reads.costs.run(request.user, run_id, attempt)
        return RunCost(
            run_id=run_id,
            provisional=found.provisional,
            basis=BASIS,
            total=Cost.of(found.total, found.currency),
            rules=[RuleCost(rule, Cost.of(cost, found.currency)) for rule, cost in found.rules],
            attempts=[AttemptCost(number, Cost.of(cost, found.currency)) for number, cost in found.attempts],
        )


class CostController(Controller):
    """The cost of many runs."""

    path = "/cost"
    tags = ("cost",)

    @get(
        sync_to_thread=True,
        operation_id="list_cost",
        summary="Sum up the cost of runs",
        responses={
            200: answer(CostPage, PAGE_EXAMPLE),
            **documented(errors.Invalid, errors.InvalidCursor),
        },
    )
    def list_(
        self,
        request: ApiRequest,
        reads: TheReads,
        by: Annotated[GroupBy, QueryParameter(description="What to sum by.")] = GroupBy.OWNER,
        since: Annotated[
            str | None,
            QueryParameter(pattern=_MONTH, description=f"First month, such as 2026-03; at most {MOST_MONTHS} months."),
        ] = None,
        until: Annotated[
            str | None, QueryParameter(pattern=_MONTH, description="Last month; by default this one.")
        ] = None,
        owner: Annotated[str | None, QueryParameter(description="Of this user. For administrators.")] = None,
        workflow: Annotated[str | None, QueryParameter(description="Of runs of this workflow.")] = None,
        target: Annotated[str | None, QueryParameter(description="Of jobs on this target.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> CostPage:
        """What ended attempts used and cost in some months (UTC, of the end of each try), also those of removed runs.

        Administrators see everybody's, others their own. Without months: this one.
        """
        last = until or max(datetime.now(UTC).strftime("%Y-%m"), since or "")
        where = UsageFilter(since or last, last, owner, workflow, target)
        found = reads.costs.summed(request.user, where, by, cursor, limit)
        return CostPage(
            items=[GroupCost(key, Cost.of(cost, found.currency)) for key, cost in found.items],
            next=found.next,
            by=by,
            since=where.since,
            until=where.until,
            basis=BASIS,
            total=Cost.of(found.total, found.currency),
            active_runs=found.active_runs,
        )
