"""Runs over HTTP: submit, list, look at, cancel, re-run, delete."""

from asyncio import to_thread
from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Response, delete, get, post
from litestar.params import BodyKwarg, HeaderParameter, QueryParameter
from msgspec import Meta, Struct

from snakeway import errors, ids
from snakeway.api.attempt import EXAMPLE as EXAMPLE_ATTEMPT
from snakeway.api.attempt import Attempt
from snakeway.api.body import ApiRequest
from snakeway.api.document import OptionalBody, answer, example
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, MOST_VALUES, Cursor, Limit, Time, moment, parse_labels
from snakeway.api.shared import (
    EXAMPLE_DIGEST,
    EXAMPLE_RUN_ID,
    EXAMPLE_TIME,
    JobCounts,
    RunId,
    RunInput,
    TheCommands,
    TheReads,
)
from snakeway.api.submission import RerunRequest, RunRequest
from snakeway.api.tracing import traceparent_of
from snakeway.model.run import RunState
from snakeway.rows import RunRow
from snakeway.service.submissions import Asked, NotTogether
from snakeway.store.runs import RunFilter
from snakeway.telemetry import SpanRef

BASE = "/api/v1"


class Run(Struct, frozen=True):
    """What a user asked for, and how far it is."""

    id: str
    state: RunState
    workflow: Annotated[str, Meta(description="Name of the workflow.")]
    digest: Annotated[str, Meta(description="Version of the workflow: `sha256:…` of its files; empty if by hand.")]
    source: Annotated[dict[str, Any], Meta(description="Where the workflow came from.")]
    target: Annotated[str, Meta(description="Where the jobs run.")]
    config: dict[str, Any]
    labels: dict[str, str]
    note: str
    dry_run: bool
    outside: Annotated[bool, Meta(description="Whether snakemake was started by hand and the run only recorded.")]
    owner: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stop_requested_at: Annotated[datetime | None, Meta(description="When somebody first asked for its end.")]
    error: str | None
    jobs: Annotated[JobCounts, Meta(description="Of the newest attempt that had any.")]
    inputs: Annotated[list[RunInput], Meta(description="The inputs that its configuration refers to.")]
    trace_id: Annotated[str, Meta(description="32 hexadecimal digits: the run's trace in OpenTelemetry.")]

    @classmethod
    def of(cls, row: RunRow) -> "Run":
        """Make the one shape of a run."""
        caller = SpanRef.parse(row.traceparent)
        return cls(
            id=row.id,
            state=row.state,
            workflow=row.workflow,
            digest=row.digest,
            source=row.source,
            target=row.target,
            config=row.config,
            labels=row.labels,
            note=row.note,
            dry_run=row.dry_run,
            outside=row.outside,
            owner=row.owner,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            stop_requested_at=row.stop_requested_at,
            error=row.error,
            jobs=JobCounts(row.jobs_total, row.jobs_done, row.jobs_failed),
            inputs=[RunInput(**each) for each in row.inputs],
            trace_id=f"{caller.trace_id if caller else ids.trace_id(row.id):032x}",
        )


class RunPage(Struct, frozen=True):
    """Runs, newest first."""

    items: list[Run]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


class RerunAnswer(Struct, frozen=True):
    """The run and its new attempt."""

    run: Run
    attempt: Annotated[Attempt, Meta(description="Its `plan` is null when the dry run did not end in time.")]


EXAMPLE = Run(
    id=EXAMPLE_RUN_ID,
    state=RunState.RUNNING,
    workflow="quickstart",
    digest=EXAMPLE_DIGEST,
    source={"kind": "catalog", "name": "quickstart"},
    target="local",
    config={"species": ["Adelie", "Gentoo"]},
    labels={"project": "penguins"},
    note="first try",
    dry_run=False,
    outside=False,
    owner="local",
    created_at=EXAMPLE_TIME,
    started_at=EXAMPLE_TIME,
    ended_at=None,
    stop_requested_at=None,
    error=None,
    jobs=JobCounts(103, 57, 0),
    inputs=[],
    trace_id=EXAMPLE_RUN_ID.replace("-", ""),
)

_NO_CHANGES = RerunRequest()
_CANNOT_START = (
    errors.WorkflowNotFound,
    errors.TargetNotFound,
    errors.InvalidWorkflow,
    errors.InvalidTarget,
    errors.InvalidConfig,
    errors.SourceUnreachable,
    errors.Unavailable,
)


class RunController(Controller):
    """Runs."""

    path = "/runs"
    tags = ("runs",)

    @post(
        operation_id="submit_run",
        summary="Submit a run",
        responses={
            201: answer(Run, EXAMPLE, "Queued; the header Location has its address."),
            200: answer(Run, EXAMPLE, "The Idempotency-Key was used before for the same body: the run it made."),
            **documented(*_CANNOT_START, errors.IdempotencyConflict, body=True),
        },
    )
    async def submit(
        self,
        request: ApiRequest,
        commands: TheCommands,
        data: Annotated[RunRequest, BodyKwarg(examples=[example(RunRequest.example())])],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                min_length=1,
                max_length=255,
                description="Repeating a request with the same key makes no second run.",
            ),
        ] = None,
        traceparent: Annotated[
            str | None,
            HeaderParameter(name="traceparent", description="W3C Trace Context: the run becomes a part of this trace."),
        ] = None,
    ) -> Response[Run]:
        """Queues a run of a workflow of the catalog or of a git repository.

        The workflow's version is pinned and the configuration checked against its schema before anything is stored.
        """
        del traceparent  # named for the document; what counts is the request's own span, if it has one
        asked = Asked(request.user, data.submission(), idempotency_key, traceparent_of(request.scope))
        if asked.submission.elsewhere:
            made = await request.slow_lane.run(commands.submissions.make_one, asked)
        else:
            try:
                made = await request.submissions.run(asked)
            except NotTogether:
                made = await to_thread(commands.submissions.make_one, asked)
        headers = {"Location": f"{BASE}/runs/{made.run.id}"}
        return Response(Run.of(made.run), status_code=201 if made.new else 200, headers=headers)

    @get(
        sync_to_thread=True,
        operation_id="list_runs",
        summary="List runs",
        responses={200: answer(RunPage, RunPage([EXAMPLE], next="MDE5OGM1YjI")), **documented(errors.InvalidCursor)},
    )
    def list_(
        self,
        request: ApiRequest,
        reads: TheReads,
        states: Annotated[
            list[RunState] | None,
            QueryParameter(name="state", max_items=MOST_VALUES, description="In one of these."),
        ] = None,
        workflow: Annotated[str | None, QueryParameter(description="Of this workflow.")] = None,
        target: Annotated[str | None, QueryParameter(description="On this target.")] = None,
        label: Annotated[
            list[str] | None,
            QueryParameter(
                max_items=MOST_VALUES, description="With this label, as `key=value`; several must all be there."
            ),
        ] = None,
        owner: Annotated[str | None, QueryParameter(description="Of this owner, as far as you may see them.")] = None,
        created_after: Annotated[Time | None, QueryParameter(description="Submitted at or after this time.")] = None,
        created_before: Annotated[Time | None, QueryParameter(description="Submitted before this time.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> RunPage:
        """Runs that you may see, newest first. Filters are combined with "and"."""
        where = RunFilter(
            owner=owner,
            states=states or [],
            workflow=workflow,
            target=target,
            labels=parse_labels(label or []),
            created_after=moment(created_after, "created_after"),
            created_before=moment(created_before, "created_before"),
        )
        page = reads.runs(request.user, where, cursor, limit)
        return RunPage([Run.of(row) for row in page.items], page.next)

    @get(
        "/{run_id:str}",
        sync_to_thread=True,
        operation_id="get_run",
        summary="Get a run",
        responses={200: answer(Run, EXAMPLE), **documented(errors.RunNotFound)},
    )
    def one(self, request: ApiRequest, reads: TheReads, run_id: RunId) -> Run:
        """One run."""
        return Run.of(reads.run(request.user, run_id))

    @delete(
        "/{run_id:str}",
        sync_to_thread=True,
        operation_id="delete_run",
        summary="Delete a run",
        responses={204: answer(None, None, "Gone."), **documented(errors.RunNotFound, errors.RunActive)},
    )
    def remove(self, request: ApiRequest, commands: TheCommands, run_id: RunId) -> None:
        """Removes an ended run: its record and all its files. Of a run by hand the record only."""
        commands.delete(request.user, run_id)

    @post(
        "/{run_id:str}/cancel",
        status_code=202,
        sync_to_thread=True,
        operation_id="cancel_run",
        summary="Cancel a run",
        responses={
            202: answer(Run, EXAMPLE, "The stop is recorded."),
            **documented(errors.RunNotFound, errors.RunEnded, errors.OutsideRun),
        },
    )
    def cancel(self, request: ApiRequest, commands: TheCommands, run_id: RunId) -> Run:
        """Asks for the run's end. A queued run ends at once, a running one when its jobs have been stopped."""
        return Run.of(commands.cancel(request.user, run_id))

    @post(
        "/{run_id:str}/rerun",
        status_code=202,
        operation_id="rerun_run",
        operation_class=OptionalBody,
        summary="Re-run what is missing of a run",
        responses={
            202: answer(RerunAnswer, RerunAnswer(EXAMPLE, EXAMPLE_ATTEMPT), "The new attempt is queued."),
            **documented(
                errors.RunNotFound, errors.RunActive, errors.OutsideRun, errors.NoSuggestion, *_CANNOT_START, body=True
            ),
        },
    )
    async def rerun(
        self,
        request: ApiRequest,
        commands: TheCommands,
        run_id: RunId,
        data: Annotated[RerunRequest, BodyKwarg(examples=[example(RerunRequest.example())])] = _NO_CHANGES,
    ) -> RerunAnswer:
        """Queues another attempt in the run's directory; Snakemake decides which jobs are missing.

        Waits a while for the plan, so that the answer says which jobs will run.
        """
        run, attempt = await request.slow_lane.run(commands.rerun, request.user, run_id, data.rerun())
        return RerunAnswer(Run.of(run), Attempt.of(attempt))
