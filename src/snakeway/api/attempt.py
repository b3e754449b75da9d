"""Attempts over HTTP: the snakemake processes of a run, and what one of them did by rule."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, get
from litestar.params import PathParameter
from msgspec import Meta, Struct

from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.failure import Failure, Suggestion
from snakeway.api.problems import documented
from snakeway.api.query import LARGEST_NUMBER, AttemptNumber
from snakeway.api.shared import EXAMPLE_DIGEST, EXAMPLE_RUN_ID, EXAMPLE_TIME, JobCounts, RunId, TheReads
from snakeway.errors import AttemptNotFound, RunNotFound
from snakeway.model.attempt import AttemptReason, AttemptState, Overrides
from snakeway.rows import AttemptRow


class PlannedJob(Struct, frozen=True):
    """A job that the attempt expects to run, and why."""

    rule: str
    wildcards: dict[str, Any]
    reason: Annotated[str, Meta(description="Snakemake's own words.")]
    output: list[str]
    threads: int
    resources: dict[str, Any]


class Plan(Struct, frozen=True):
    """What a dry run says that the attempt will do."""

    total: int
    by_rule: Annotated[dict[str, int], Meta(description="Number of jobs of each rule.")]
    jobs: list[PlannedJob]
    truncated: Annotated[bool, Meta(description="Whether `jobs` leaves some out; `total` counts all.")]


class RuleNode(Struct, frozen=True):
    """A rule in the rule graph."""

    rule: str


class RuleLink(Struct, frozen=True):
    """An edge of the rule graph, from one index of `nodes` to another."""

    source: int
    target: int


class RuleGraph(Struct, frozen=True):
    """Which rule feeds which."""

    nodes: list[RuleNode]
    links: list[RuleLink]


class AttemptOverrides(Struct, frozen=True):
    """What this attempt does differently from the workflow and its profile."""

    set_resources: dict[str, dict[str, int | str]] = {}
    set_threads: dict[str, int] = {}
    targets: list[str] = []
    until: list[str] = []
    forcerun: list[str] = []
    forceall: bool = False
    image: str | None = None


class Attempt(Struct, frozen=True):
    """One time that snakemake works on a run."""

    id: str
    run_id: str
    number: Annotated[int, Meta(description="1, 2, 3 … within the run.")]
    state: AttemptState
    reason: Annotated[AttemptReason, Meta(description="Why there is this attempt.")]
    dry_run: bool
    target: str
    image: Annotated[str | None, Meta(description="That jobs run in, where the target runs them in containers.")]
    digest: Annotated[str, Meta(description="Version of the workflow.")]
    config: dict[str, Any]
    overrides: AttemptOverrides
    plan: Annotated[Plan | None, Meta(description="null unless a dry run was asked for and has ended.")]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: Annotated[int | None, Meta(description="Of snakemake; null while it runs and when a signal ended it.")]
    exit_signal: int | None
    error: Annotated[str | None, Meta(description="Why the attempt did not succeed, in a sentence.")]
    failure: Annotated[Failure | None, Meta(description="The same in detail, unless failed jobs are the reason.")]
    suggestion: Annotated[
        Suggestion | None,
        Meta(description="What a re-run has to do differently. null: nothing can be cured so, or it was a dry run."),
    ]
    gates_only: Annotated[bool, Meta(description="Whether it failed for nothing but gates: the run waits for them.")]
    host: str | None
    snakemake_version: str | None
    jobs: JobCounts
    events_lost: Annotated[int, Meta(description="Events that could not be written, so counts may be too low.")]
    rulegraph: RuleGraph | None

    @classmethod
    def of(cls, row: AttemptRow) -> "Attempt":
        """Make the one shape of an attempt."""
        return cls(
            id=row.id,
            run_id=row.run_id,
            number=row.number,
            state=row.state,
            reason=row.reason,
            dry_run=row.dry_run,
            target=row.target,
            image=row.image,
            digest=row.digest,
            config=row.config,
            overrides=_overrides(row.overrides),
            plan=_plan(row.plan),
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            exit_code=row.exit_code,
            exit_signal=row.exit_signal,
            error=row.error,
            failure=Failure.of(row.failure),
            suggestion=Suggestion.of(row.suggestion),
            gates_only=row.gates_only,
            host=row.host,
            snakemake_version=row.snakemake_version,
            jobs=JobCounts(row.jobs_total, row.jobs_done, row.jobs_failed),
            events_lost=row.events_lost,
            rulegraph=_rulegraph(row.rulegraph),
        )


def _overrides(data: dict[str, Any]) -> AttemptOverrides:
    known = Overrides.from_json(data)
    return AttemptOverrides(
        known.set_resources, known.set_threads, known.targets, known.until, known.forcerun, known.forceall, known.image
    )


def _plan(data: dict[str, Any] | None) -> Plan | None:
    """Make a plan from what the dry run's events said, in which members may be null."""
    if data is None:
        return None
    jobs = [
        PlannedJob(
            rule=job.get("rule") or "",
            wildcards=job.get("wildcards") or {},
            reason=job.get("reason") or "",
            output=job.get("output") or [],
            threads=job.get("threads") or 1,
            resources=job.get("resources") or {},
        )
        for job in data.get("jobs", ())
    ]
    return Plan(data.get("total", len(jobs)), data.get("by_rule", {}), jobs, bool(data.get("truncated")))


def _rulegraph(data: dict[str, Any] | None) -> RuleGraph | None:
    """Make a rule graph from an event; one whose links do not fit its nodes is none."""
    if data is None:
        return None
    try:
        return RuleGraph(
            [RuleNode(str(node["rule"])) for node in data["nodes"]],
            [RuleLink(int(link["source"]), int(link["target"])) for link in data["links"]],
        )
    except (KeyError, TypeError, ValueError):
        return None


class AttemptPage(Struct, frozen=True):
    """All attempts of a run, oldest first."""

    items: list[Attempt]
    next: None = None


class RuleCount(Struct, frozen=True):
    """How far the jobs of one rule are."""

    rule: str
    states: Annotated[dict[str, int], Meta(description="Number of jobs in each state that at least one is in.")]


class RulePage(Struct, frozen=True):
    """The rules of an attempt, by name."""

    items: list[RuleCount]
    next: None = None


_PLANNED = PlannedJob(
    "fit",
    {"species": "Adelie"},
    "Missing output files: results/fit/Adelie.json",
    ["results/fit/Adelie.json"],
    1,
    {"mem_mb": 2000},
)
EXAMPLE = Attempt(
    id="0198c5b2-7d31-7b02-8f11-5a0c9f8e7d6c",
    run_id=EXAMPLE_RUN_ID,
    number=2,
    state=AttemptState.RUNNING,
    reason=AttemptReason.RERUN,
    dry_run=False,
    target="local",
    image=None,
    digest=EXAMPLE_DIGEST,
    config={"species": ["Adelie", "Gentoo"]},
    overrides=AttemptOverrides(set_resources={"fit": {"mem_mb": 4000}}),
    plan=Plan(1, {"fit": 1}, [_PLANNED], truncated=False),
    created_at=EXAMPLE_TIME,
    started_at=EXAMPLE_TIME,
    ended_at=None,
    exit_code=None,
    exit_signal=None,
    error=None,
    failure=None,
    suggestion=None,
    gates_only=False,
    host="node1",
    snakemake_version="9.27.1",
    jobs=JobCounts(1, 0, 0),
    events_lost=0,
    rulegraph=RuleGraph([RuleNode("fit"), RuleNode("gather")], [RuleLink(0, 1)]),
)


class AttemptController(Controller):
    """The attempts of a run."""

    path = "/runs/{run_id:str}"
    tags = ("attempts",)

    @get(
        "/attempts",
        sync_to_thread=True,
        operation_id="list_attempts",
        summary="List a run's attempts",
        responses={200: answer(AttemptPage, AttemptPage([EXAMPLE])), **documented(RunNotFound)},
    )
    def list_(self, request: ApiRequest, reads: TheReads, run_id: RunId) -> AttemptPage:
        """All attempts, oldest first. A re-run and a recovery after a crash add one each."""
        return AttemptPage([Attempt.of(row) for row in reads.attempts(request.user, run_id)])

    @get(
        "/attempts/{number:int}",
        sync_to_thread=True,
        operation_id="get_attempt",
        summary="Get an attempt",
        responses={200: answer(Attempt, EXAMPLE), **documented(RunNotFound, AttemptNotFound)},
    )
    def one(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        number: Annotated[int, PathParameter(ge=1, le=LARGEST_NUMBER, description="Number of the attempt.")],
    ) -> Attempt:
        """One attempt, with its plan and rule graph."""
        return Attempt.of(reads.attempt(request.user, run_id, number))

    @get(
        "/rules",
        sync_to_thread=True,
        operation_id="count_rules",
        summary="Count an attempt's jobs by rule and state",
        responses={
            200: answer(RulePage, RulePage([RuleCount("fit", {"succeeded": 99, "failed": 1})])),
            **documented(RunNotFound, AttemptNotFound),
        },
    )
    def rules(self, request: ApiRequest, reads: TheReads, run_id: RunId, attempt: AttemptNumber = None) -> RulePage:
        """The rules of one attempt, each with the number of its jobs by state."""
        counts = reads.rules(request.user, run_id, attempt)
        return RulePage([RuleCount(rule, states) for rule, states in sorted(counts.items())])
