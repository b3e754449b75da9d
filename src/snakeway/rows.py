"""The tables. Ids are UUIDv7 text, so the order of ids is the order of creation and listings need no other index.

Times are stored in UTC and read back as aware datetimes on every database. JSON columns hold what is shown but never
searched. A row's class is the noun with ``Row`` behind it; rules about nouns live in model/.
"""

from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Self

from sqlalchemy import JSON, BigInteger, Column, Dialect, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.orm import configure_mappers
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from snakeway.model.artifact import Kind
from snakeway.model.attempt import AttemptReason, AttemptState
from snakeway.model.audit import AuditAction
from snakeway.model.delivery import DeliveryState
from snakeway.model.gate import GateState
from snakeway.model.input import InputState
from snakeway.model.job import JobState
from snakeway.model.run import RunState


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: aware in Python, UTC in the database (SQLite keeps no zone)."""

    impl = SqlDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def now() -> datetime:
    """Return the current time as it is stored."""
    return datetime.now(UTC)


def _time(*, nullable: bool = True) -> Any:
    return Field(default=None if nullable else ..., sa_column=Column(UtcDateTime, nullable=nullable))


def _json(kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    # Not the type itself as factory: pydantic reads its signature anew for every row, most of the time of a run's row.
    return Field(default_factory=lambda: kind(), sa_column=Column(JSON, nullable=False))


def _enum(default: StrEnum) -> Any:
    """A column that holds the values of an enum as plain text, so that a new state needs no migration."""
    values = SqlEnum(type(default), native_enum=False, length=16, values_callable=lambda cls: [m.value for m in cls])
    return Field(default=default, sa_column=Column(values, nullable=False))


def _run_key(*, primary_key: bool = False, index: bool = False) -> Any:
    key = ForeignKey("run.id", ondelete="CASCADE")
    return Field(sa_column=Column(String(36), key, primary_key=primary_key, index=index, nullable=False))


class Table(SQLModel):
    """Base of the tables. They have a catalogue of their own: Snakemake keeps tables with SQLModel as well."""

    metadata = MetaData()

    @classmethod
    def record(cls, **given: Any) -> Self:
        """Return a row for :func:`snakeway.store.database.insert_all` and for reading, defaults filled in.

        It takes a ninth of the time of a row that a session keeps track of. No session takes it, its attributes cannot
        be set, and lists and objects among its defaults are shared, so they are not to be changed.
        """
        row: Self = cls.__new__(cls)
        row.__dict__.update(_defaults(cls) | given)
        return row


@cache
def _defaults(table: type[Table]) -> dict[str, Any]:
    fields = table.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}


class RunRow(Table, table=True):
    """What a user asked for."""

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_owner", "owner", "id"),
        Index("ix_run_state", "state", "id"),
        Index("ix_run_workflow", "workflow", "id"),
        Index("ix_run_target", "target", "id"),
    )

    id: str = Field(primary_key=True, max_length=36)
    owner: str = Field(max_length=255)
    workflow: str = Field(max_length=255)
    digest: str = Field(max_length=71, description="sha256:… of the workflow's files; empty when started by hand")
    source: dict[str, Any] = _json(dict)
    target: str = Field(max_length=255)
    state: RunState = _enum(RunState.QUEUED)
    config: dict[str, Any] = _json(dict)
    labels: dict[str, str] = _json(dict)
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    dry_run: bool = False
    outside: bool = Field(default=False, description="started by hand, without the service")
    traceparent: str | None = Field(default=None, max_length=64)
    created_at: datetime = _time(nullable=False)
    started_at: datetime | None = _time()
    ended_at: datetime | None = _time()
    stop_requested_at: datetime | None = _time()
    error: str | None = Field(default=None, sa_column=Column(Text))
    jobs_total: int = 0
    jobs_done: int = 0
    jobs_failed: int = 0
    webhooks: list[str] = _json(list)
    # Uploaded files that it uses: id, path, name, sha256 and size_bytes of each. RunInputRow has them for looking up.
    inputs: list[dict[str, Any]] = _json(list)


class RunLabelRow(Table, table=True):
    """A label of a run, once more, for filtering."""

    __tablename__ = "run_label"
    __table_args__ = (Index("ix_run_label", "key", "value", "run_id"),)

    run_id: str = _run_key(primary_key=True)
    key: str = Field(primary_key=True, max_length=63)
    value: str = Field(max_length=255)


class InputRow(Table, table=True):
    """A file that somebody has uploaded, or is uploading. Several may have the same content."""

    __tablename__ = "input"
    __table_args__ = (
        Index("ix_input_owner", "owner", "id"),
        Index("ix_input_content", "owner", "sha256"),
        Index("ix_input_state", "state", "updated_at"),
    )

    id: str = Field(primary_key=True, max_length=36)
    owner: str = Field(max_length=255)
    name: str = Field(max_length=255)
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: str = Field(max_length=64)
    state: InputState = _enum(InputState.UPLOADING)
    created_at: datetime = _time(nullable=False)
    updated_at: datetime = _time(nullable=False)  # when bytes last came, or the state changed
    completed_at: datetime | None = _time()


class RunInputRow(Table, table=True):
    """An input of a run: as long as the run is there, so is the input."""

    __tablename__ = "run_input"

    run_id: str = _run_key(primary_key=True)
    input_id: str = Field(
        sa_column=Column(String(36), ForeignKey("input.id"), primary_key=True, index=True, nullable=False)
    )


class IdempotencyRow(Table, table=True):
    """An Idempotency-Key that was used, and for what."""

    __tablename__ = "idempotency"

    owner: str = Field(primary_key=True, max_length=255)
    key: str = Field(primary_key=True, max_length=255)
    request_digest: str = Field(max_length=64)
    run_id: str = _run_key(index=True)
    created_at: datetime = _time(nullable=False)


class AttemptRow(Table, table=True):
    """One time that snakemake works on a run."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("run_id", "number"),
        Index("ix_attempt_queue", "state", "owner", "id"),
        Index("ix_attempt_lease", "state", "lease_expires_at"),
        Index("ix_attempt_collect", "collect_owner", "id"),
        Index("ix_attempt_books", "books_until"),
    )

    id: str = Field(primary_key=True, max_length=36)
    run_id: str = _run_key()
    number: int
    owner: str = Field(max_length=255)
    state: AttemptState = _enum(AttemptState.QUEUED)
    reason: AttemptReason = _enum(AttemptReason.SUBMIT)
    dry_run: bool = False
    wants_plan: bool = False
    target: str = Field(max_length=255)
    # Of the target when the attempt was launched: its jobs are found there even if the target is changed or removed.
    executor: str | None = Field(default=None, max_length=255)
    # Likewise where the target keeps the run's files, see catalog/storage.py; null: in the run's directory.
    storage_url: str | None = Field(default=None, sa_column=Column(Text))
    image: str | None = Field(default=None, sa_column=Column(Text))  # that jobs run in, where they run in containers
    digest: str = Field(max_length=71)
    config: dict[str, Any] = _json(dict)
    overrides: dict[str, Any] = _json(dict)
    plan: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    lease_owner: str | None = Field(default=None, max_length=36)
    lease_expires_at: datetime | None = _time()
    # By hand: when its events or a sign of life last came; null once its process is known to be gone.
    heard_at: datetime | None = _time()
    process: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_at: datetime = _time(nullable=False)
    started_at: datetime | None = _time()
    ended_at: datetime | None = _time()
    exit_code: int | None = None
    exit_signal: int | None = None
    error: str | None = Field(default=None, sa_column=Column(Text))
    failure: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    suggestion: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    gates_only: bool = Field(default=False, description="it failed, but only gates kept it from succeeding")
    gates_cancelled: bool = Field(default=False, description="somebody cancelled the run instead of deciding")
    events_offset: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    events_lost: int = 0
    snakemake_version: str | None = Field(default=None, max_length=32)
    host: str | None = Field(default=None, max_length=255)
    rulegraph: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    jobs_total: int = 0
    jobs_done: int = 0
    jobs_failed: int = 0
    # Whose turn it is to collect the outputs of the ended attempt; null when done or nothing to do.
    collect_owner: str | None = Field(default=None, max_length=36)
    # How long the scheduler's books are asked about the jobs of the ended attempt; null when that is over.
    books_until: datetime | None = _time()

    @property
    def had_jobs(self) -> bool:
        """Whether any job of it is known; the total alone may be missing, as when its event was lost."""
        return bool(self.jobs_total or self.jobs_done or self.jobs_failed)


class JobRow(Table, table=True):
    """One Snakemake job as seen in one attempt; the columns are those of :class:`snakeway.model.job.Job`."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_run", "run_id", "attempt_id", "number"),
        Index("ix_job_state", "attempt_id", "state", "number"),
        Index("ix_job_rule", "attempt_id", "rule", "number"),
    )

    attempt_id: str = Field(
        sa_column=Column(String(36), ForeignKey("attempt.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    run_id: str = _run_key()
    state: JobState = _enum(JobState.SUBMITTED)
    try_number: int = 0
    rule: str = Field(default="", max_length=255)
    wildcards: dict[str, Any] = _json(dict)
    inputs: list[str] = _json(list)
    outputs: list[str] = _json(list)
    directories: list[str] = _json(list)
    logs: list[str] = _json(list)
    benchmark: str | None = Field(default=None, sa_column=Column(Text))
    reason: str = Field(default="", sa_column=Column(Text, nullable=False))
    threads: int = 1
    resources: dict[str, Any] = _json(dict)
    shell: str | None = Field(default=None, sa_column=Column(Text))
    checkpoint: bool = False
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    external_id: str | None = Field(default=None, max_length=255)
    held: str | None = Field(default=None, max_length=255)
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = Field(default=None, sa_column=Column(Text))
    log_tail: str | None = Field(default=None, sa_column=Column(Text))
    failure_kind: str | None = Field(default=None, max_length=32)
    failure: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    scheduler_log: str | None = Field(default=None, sa_column=Column(Text))
    scheduled: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    accounted: bool = False
    local: bool = Field(default=False, description="run by snakemake itself, handed to no scheduler")
    tries: list[dict[str, Any]] = _json(list)


class GateRow(Table, table=True):
    """A gate that a run has reached, and how it stands."""

    __tablename__ = "gate"
    __table_args__ = (
        Index("ix_gate_state", "state", "run_id"),
        Index("ix_gate_deadline", "state", "deadline_at"),
    )

    run_id: str = _run_key(primary_key=True)
    name: str = Field(primary_key=True, max_length=1024, description="path of its output")
    state: GateState = _enum(GateState.OPEN)
    attempt_id: str = Field(max_length=36, description="the attempt that asked last")
    job_number: int
    rule: str = Field(default="", max_length=255)
    wildcards: dict[str, Any] = _json(dict)
    title: str = Field(default="", sa_column=Column(Text, nullable=False))
    evidence: list[dict[str, Any]] = _json(list)
    digest: str = Field(max_length=64, description="of the evidence")
    answer_schema: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    asked_at: datetime = _time(nullable=False)
    deadline_at: datetime | None = _time()
    # The last decision; decisions before it are in the table of decisions.
    answer: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    comment: str = Field(default="", sa_column=Column(Text, nullable=False))
    decided_by: str | None = Field(default=None, max_length=255)
    decided_at: datetime | None = _time()
    pending: bool = Field(default=False, description="the decision has not reached the run's directory yet")


class DecisionRow(Table, table=True):
    """Who decided what about a gate, and when; never changed."""

    __tablename__ = "decision"
    __table_args__ = (Index("ix_decision_gate", "run_id", "gate", "id"), Index("ix_decision_told", "told", "id"))

    id: str = Field(primary_key=True, max_length=36)
    run_id: str = _run_key()
    gate: str = Field(max_length=1024)
    verdict: str = Field(max_length=16)
    answer: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    comment: str = Field(default="", sa_column=Column(Text, nullable=False))
    digest: str = Field(max_length=64, description="of the evidence that it is about")
    decided_by: str = Field(max_length=255)
    decided_at: datetime = _time(nullable=False)
    asked_at: datetime = _time(nullable=False)
    told: bool = Field(default=False, description="its span was sent")


class ArtifactRow(Table, table=True):
    """An output file of a run. ``sha256`` is null until it has been computed."""

    __tablename__ = "artifact"
    __table_args__ = (Index("ix_artifact_kind", "run_id", "kind", "path"),)

    run_id: str = _run_key(primary_key=True)
    path: str = Field(primary_key=True, max_length=1024, description="relative to storage_url or the run's directory")
    kind: Kind = _enum(Kind.INTERMEDIATE)
    # Of its attempt, if it lies there; null: in the run's directory.
    storage_url: str | None = Field(default=None, sa_column=Column(Text))
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    mtime: float
    etag: str | None = Field(default=None, max_length=255, description="of an object in a storage")
    sha256: str | None = Field(default=None, max_length=64)
    rule: str = Field(default="", max_length=255)
    attempt_id: str = Field(max_length=36)
    job_number: int
    created_at: datetime = _time(nullable=False)


class RequestedRow(Table, table=True):
    """A file or folder that an attempt of a run was asked for, named as its events name it."""

    __tablename__ = "requested"

    run_id: str = _run_key(primary_key=True)
    name: str = Field(primary_key=True, max_length=1024)


class SupervisorRow(Table, table=True):
    """A supervisor process that is, or was, alive."""

    __tablename__ = "supervisor"

    id: str = Field(primary_key=True, max_length=36)
    host: str = Field(max_length=255)
    pid: int
    started_at: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)
    active: int = 0


class DeliveryRow(Table, table=True):
    """A message to a webhook: stored with the change that it tells of, kept as the record of its delivery."""

    __tablename__ = "delivery"
    __table_args__ = (Index("ix_delivery_run", "run_id", "id"), Index("ix_delivery_due", "state", "next_try_at"))

    id: str = Field(primary_key=True, max_length=36)
    run_id: str = _run_key()
    url: str = Field(sa_column=Column(Text, nullable=False))
    of_run: bool = Field(default=False, description="the address came with the run, not from the settings")
    type: str = Field(max_length=32)
    body: str = Field(sa_column=Column(Text, nullable=False), description="JSON text, the same at every try")
    state: DeliveryState = _enum(DeliveryState.PENDING)
    try_count: int = 0
    tries: list[dict[str, Any]] = _json(list)
    created_at: datetime = _time(nullable=False)
    # When it may be sent. Whoever sends it moves this to the end of a lease, so that nobody else does meanwhile.
    next_try_at: datetime | None = _time()
    ended_at: datetime | None = _time()


class UsageRow(Table, table=True):
    """What the jobs of an ended attempt had, by rule, month, target and queue; the columns are those of model.usage.

    It outlives the run, as the cost of a removed run does, so nothing points from here to there.
    """

    __tablename__ = "usage"
    __table_args__ = (
        Index("ix_usage_run", "run_id"),
        Index("ix_usage_owner", "owner", "month"),
        Index("ix_usage_month", "month"),
    )

    attempt_id: str = Field(primary_key=True, max_length=36)
    rule: str = Field(primary_key=True, max_length=255)
    month: str = Field(primary_key=True, max_length=7, description="of the end, in UTC: 2026-11")
    target: str = Field(primary_key=True, max_length=255)
    queue: str = Field(primary_key=True, max_length=255)
    run_id: str = Field(max_length=36)
    owner: str = Field(max_length=255)
    workflow: str = Field(max_length=255)
    cpu_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    mem_mib_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    jobs: int = 0
    jobs_unknown: int = 0
    jobs_without_memory: int = 0


class AuditRow(Table, table=True):
    """A line about a removed run; it outlives the run, so nothing points from here to there."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_run", "run_id", "id"),)

    id: str = Field(primary_key=True, max_length=36)
    at: datetime = _time(nullable=False)
    actor: str = Field(max_length=255)
    action: AuditAction = _enum(AuditAction.DELETE)
    run_id: str = Field(max_length=36)
    workflow: str = Field(max_length=255)
    owner: str = Field(max_length=255)
    details: dict[str, Any] = _json(dict)


configure_mappers()  # otherwise the first row that a session makes does it, and records cannot be read before
