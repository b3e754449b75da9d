"""Jobs over HTTP: Snakemake's jobs as seen in an attempt."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, get
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta, Struct, field

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.failure import EXAMPLE as EXAMPLE_FAILURE
from snakeway.api.failure import Failure
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, LARGEST_NUMBER, MOST_VALUES, AttemptNumber, Cursor, Limit
from snakeway.api.scheduled import EXAMPLE as EXAMPLE_SCHEDULED
from snakeway.api.scheduled import Scheduled
from snakeway.api.shared import EXAMPLE_TIME, RunId, TheReads
from snakeway.api.times import moment
from snakeway.model.job import JobState
from snakeway.rows import JobRow


class Try(Struct, frozen=True):
    """One try of a job that failed and that Snakemake repeated."""

    number: Annotated[int, Meta(description="1, 2, 3 …")] = field(name="try")
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    resources: dict[str, Any]
    external_id: str | None
    exit_code: int | None
    signal: int | None
    message: str | None
    failure: Annotated[Failure | None, Meta(description="Why the try failed.")]
    scheduled: Annotated[Scheduled | None, Meta(description="What the scheduler said of it last.")]

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Try":
        """Make the one shape of an ended try."""
        return cls(
            number=data.get("try", 1),
            submitted_at=moment(data.get("submitted_at")),
            started_at=moment(data.get("started_at")),
            ended_at=moment(data.get("ended_at")),
            resources=data.get("resources") or {},
            external_id=data.get("external_id"),
            exit_code=data.get("exit_code"),
            signal=data.get("signal"),
            message=data.get("message"),
            failure=Failure.of(data.get("failure")),
            scheduled=Scheduled.of(data.get("scheduled")),
        )


class Job(Struct, frozen=True):
    """One Snakemake job."""

    attempt: Annotated[int | None, Meta(description="Number of the attempt.")]
    number: Annotated[
        int, Meta(description="Snakemake's number of the job; the same job may have another in another attempt.")
    ] = field(name="job")
    state: JobState
    try_number: Annotated[
        int, Meta(description="Which try this is: more than 1 when Snakemake repeats a failed job.")
    ] = field(name="try")
    rule: str
    wildcards: dict[str, Any]
    inputs: Annotated[list[str], Meta(description="At most 1,000.")]
    outputs: list[str]
    logs: list[str]
    benchmark: str | None
    reason: Annotated[str, Meta(description="Why Snakemake runs it, in its own words.")]
    threads: int
    resources: dict[str, Any]
    shell: str | None
    checkpoint: bool
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    external_id: Annotated[str | None, Meta(description="The scheduler's id of the job.")]
    held: Annotated[
        str | None,
        Meta(description="Why the scheduler does not accept it for now.", examples=["AssocMaxSubmitJobLimit"]),
    ]
    scheduled: Annotated[Scheduled | None, Meta(description="What the scheduler says of it; null on this machine.")]
    scheduler_log: Annotated[str | None, Meta(description="Where the scheduler keeps what it writes.")]
    exit_code: Annotated[int | None, Meta(description="128 + signal when a signal ended it.")]
    signal: int | None
    message: Annotated[str | None, Meta(description="What Snakemake says of its failure.")]
    log_tail: Annotated[
        str | None,
        Meta(description="When it failed: the end of its log, or else of what it wrote to standard error."),
    ]
    failure: Annotated[Failure | None, Meta(description="Why it failed.")]
    tries: Annotated[list[Try], Meta(description="Failed tries that Snakemake repeated, oldest first.")]

    @classmethod
    def of(cls, row: JobRow, attempt: int | None) -> "Job":
        """Make the one shape of a job."""
        return cls(
            attempt=attempt,
            number=row.number,
            state=row.state,
            try_number=row.try_number,
            rule=row.rule,
            wildcards=row.wildcards,
            inputs=row.inputs,
            outputs=row.outputs,
            logs=row.logs,
            benchmark=row.benchmark,
            reason=row.reason,
            threads=row.threads,
            resources=row.resources,
            shell=row.shell,
            checkpoint=row.checkpoint,
            submitted_at=moment(row.submitted_at),
            started_at=moment(row.started_at),
            ended_at=moment(row.ended_at),
            external_id=row.external_id,
            held=row.held,
            scheduled=Scheduled.of(row.scheduled),
            scheduler_log=row.scheduler_log,
            exit_code=row.exit_code,
            signal=row.signal,
            message=row.message,
            log_tail=row.log_tail,
            failure=Failure.of(row.failure),
            tries=[Try.of(data) for data in row.tries],
        )


class JobPage(Struct, frozen=True):
    """Jobs in the order of attempts and numbers."""

    items: list[Job]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = Job(
    attempt=1,
    number=42,
    state=JobState.FAILED,
    try_number=1,
    rule="fit",
    wildcards={"species": "Gentoo"},
    inputs=["resources/penguins.csv"],
    outputs=["results/fit/Gentoo.json"],
    logs=["logs/fit/Gentoo.log"],
    benchmark=None,
    reason="Missing output files: results/fit/Gentoo.json",
    threads=1,
    resources={"mem_mb": 2000},
    shell=None,
    checkpoint=False,
    submitted_at=EXAMPLE_TIME,
    started_at=EXAMPLE_TIME,
    ended_at=EXAMPLE_TIME,
    external_id="4711",
    held=None,
    scheduled=EXAMPLE_SCHEDULED,
    scheduler_log=".snakemake/slurm_logs/rule_fit/Gentoo/4711.log",
    exit_code=137,
    signal=9,
    message="killed by signal 9",
    log_tail="reading resources/penguins.csv\n",
    failure=EXAMPLE_FAILURE,
    tries=[],
)


class JobController(Controller):
    """The jobs of a run."""

    path = "/runs/{run_id:str}/jobs"
    tags = ("jobs",)

    @get(
        sync_to_thread=True,
        operation_id="list_jobs",
        summary="List a run's jobs",
        responses={
            200: answer(JobPage, JobPage([EXAMPLE], next=None)),
            **documented(errors.RunNotFound, errors.AttemptNotFound, errors.InvalidCursor),
        },
    )
    def list_(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        attempt: Annotated[
            int | None,
            QueryParameter(ge=1, le=LARGEST_NUMBER, description="Of the attempt of this number; by default of all."),
        ] = None,
        states: Annotated[
            list[JobState] | None,
            QueryParameter(name="state", max_items=MOST_VALUES, description="In one of these."),
        ] = None,
        rule: Annotated[str | None, QueryParameter(description="Of this rule.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> JobPage:
        """Jobs in the order of attempts and numbers."""
        page, numbers = reads.jobs(request.user, run_id, attempt, states or [], rule, cursor, limit)
        return JobPage([Job.of(row, numbers.get(row.attempt_id)) for row in page.items], page.next)

    @get(
        "/{job:int}",
        sync_to_thread=True,
        operation_id="get_job",
        summary="Get a job",
        responses={
            200: answer(Job, EXAMPLE),
            **documented(errors.RunNotFound, errors.AttemptNotFound, errors.JobNotFound),
        },
    )
    def one(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        job: Annotated[int, PathParameter(ge=0, le=LARGEST_NUMBER, description="Snakemake's number of the job.")],
        attempt: AttemptNumber = None,
    ) -> Job:
        """One job of an attempt."""
        row, of = reads.job(request.user, run_id, attempt, job)
        return Job.of(row, of.number)
