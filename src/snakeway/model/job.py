"""A job is one Snakemake job as seen in one attempt; this is how its record grows from events."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from snakeway.model.failure import Failure, FailureKind
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.wire import Event, EventType


class JobState(StrEnum):
    """Where a job stands.

    SUBMITTED  handed to the executor: waits for, or runs on, a cluster.
    RUNNING    known to have started.
    SUCCEEDED, FAILED   as Snakemake said. A failed try that Snakemake repeats brings the job back to SUBMITTED.
    WAITING    it is a gate, and waits for a person's decision; Snakemake counts it as failed.
    CANCELLED  its attempt was stopped before the job ended.
    LOST       its attempt ended without a word about the job; whether its outputs are complete, Snakemake knows.
    """

    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    WAITING = "waiting"
    CANCELLED = "cancelled"
    LOST = "lost"


class LogSource(StrEnum):
    """Which log of a job.

    RULE       the file that its rule names under ``log:``.
    SCHEDULER  what the scheduler keeps of everything that the job, and the snakemake around it, wrote.
    """

    RULE = "rule"
    SCHEDULER = "scheduler"


_NAME_CHARACTERS = 255  # of a rule or external id that is kept
SHELL_SIGNAL_BASE = 128  # a shell's exit code for a program that a signal ended is this plus the signal's number
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.WAITING, JobState.CANCELLED, JobState.LOST})
UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.WAITING})  # to Snakemake both have failed


@dataclass(slots=True)
class Job:
    """One job; times are seconds since the epoch. Members that no event has told yet are empty."""

    number: int
    state: JobState = JobState.SUBMITTED
    try_number: int = 0
    rule: str = ""
    wildcards: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    benchmark: str | None = None
    reason: str = ""
    threads: int = 1
    resources: dict[str, Any] = field(default_factory=dict)
    shell: str | None = None
    checkpoint: bool = False
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    external_id: str | None = None
    held: str | None = None  # why the scheduler does not accept it for now
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None
    log_tail: str | None = None  # of its log, or else of what it wrote to standard error
    failure_kind: str | None = None
    failure: dict[str, Any] | None = None  # see failure.Failure; None until somebody has judged it
    scheduler_log: str | None = None  # where the scheduler keeps what the job writes to standard output and error
    scheduled: dict[str, Any] | None = None  # see scheduled.Scheduled; None until the scheduler was asked
    accounted: bool = False  # the scheduler's books about it are closed, and were read
    local: bool = False  # snakemake runs it by itself, and hands it to no scheduler
    tries: list[dict[str, Any]] = field(default_factory=list)  # ended tries that Snakemake repeated, oldest first


def last_words(log_tail: str | None, message: str | None) -> str:
    """Return the line that says most about a failure: the last of the log, else the last of Snakemake's message."""
    for text in (log_tail, message):
        lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return ""


def merge(job: Job, event: Event) -> None:
    """Take ``event`` into ``job``. Idempotent and monotone: the same events again, or old ones late, change nothing.

    The try number orders events of one job; within a try an end is never taken back.
    """
    match event["type"]:
        case EventType.JOB:
            _merge_start(job, event)
        case EventType.JOB_SUBMITTED if _is_open(job, event):
            job.external_id = str(event.get("external_id") or job.external_id or "")[:_NAME_CHARACTERS] or None
            job.scheduler_log = event["log"] if isinstance(event.get("log"), str) else job.scheduler_log
            job.held = None
        case EventType.JOB_HELD if _is_open(job, event):
            job.held = str(event.get("reason") or "")[:_NAME_CHARACTERS]
        case EventType.JOB_STARTED if _is_open(job, event):
            job.state, job.held = JobState.RUNNING, None
            job.started_at = event.get("started_at") or event["t"]
        case EventType.JOB_FINISHED:
            _merge_finish(job, event)
        case EventType.JOB_FAILED:
            _merge_failure(job, event)


def _texts(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _is_open(job: Job, event: Event) -> bool:
    return int(event.get("try", 1)) == job.try_number and job.state not in ENDED


def _merge_start(job: Job, event: Event) -> None:
    number = int(event.get("try", 1))
    if number <= job.try_number:
        return
    if job.try_number and job.state in UNSUCCESSFUL:
        job.tries.append(_ended_try(job))
    job.try_number = number
    job.local = bool(event.get("local"))
    job.state = JobState.RUNNING if job.local else JobState.SUBMITTED
    job.rule = str(event.get("rule") or "")[:_NAME_CHARACTERS]
    job.wildcards = event.get("wildcards") or {}
    job.inputs, job.outputs, job.logs = (
        _texts(event.get("input")),
        _texts(event.get("output")),
        _texts(event.get("log")),
    )
    job.benchmark = event.get("benchmark")
    job.reason = str(event.get("reason") or "")
    job.threads = int(event.get("threads") or 1)
    job.resources = event.get("resources") or {}
    job.shell = event.get("shell")
    job.checkpoint = bool(event.get("checkpoint"))
    job.submitted_at = float(event["t"])
    job.started_at = job.submitted_at if job.state is JobState.RUNNING else None
    job.ended_at = job.exit_code = job.signal = job.message = job.log_tail = job.external_id = None
    job.scheduler_log = job.held = job.scheduled = None
    job.accounted = False
    job.failure_kind = job.failure = None


def _merge_finish(job: Job, event: Event) -> None:
    if int(event.get("try", 1)) < job.try_number or job.state is JobState.SUCCEEDED:
        return
    job.state = JobState.SUCCEEDED
    job.started_at = event.get("started_at") or job.started_at
    job.ended_at = event.get("ended_at") or event["t"]
    job.exit_code = 0
    job.failure_kind = job.failure = None


def _merge_failure(job: Job, event: Event) -> None:
    if int(event.get("try", 1)) < job.try_number or job.state is JobState.SUCCEEDED:
        return
    if job.state in UNSUCCESSFUL and job.message is not None:
        return
    gate = event.get("gate")
    job.state = JobState.WAITING if gate and not gate.get("rejected") else JobState.FAILED
    job.rule = job.rule or str(event.get("rule") or "")[:_NAME_CHARACTERS]
    job.ended_at = float(event["t"])
    job.exit_code, job.signal = event.get("exit_code"), event.get("signal")
    job.message = str(event.get("message") or "")
    job.log_tail = event.get("log_tail") or event.get("stderr_tail") or ""
    log = str(
        event.get("log") or ""
    )  # the one that log_tail is the end of; a cluster's own log is not among the rule's
    job.logs = [log, *(other for other in job.logs if other != log)] if log else job.logs
    job.external_id = str(event.get("external_id") or job.external_id or "")[:_NAME_CHARACTERS] or None


def _ended_try(job: Job) -> dict[str, Any]:
    return {
        "try": job.try_number,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "threads": job.threads,
        "resources": job.resources,
        "external_id": job.external_id,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "message": job.message,
        "failure": job.failure,
        "scheduled": job.scheduled,
    }


def schedule(job: Job, seen: Scheduled) -> bool:
    """Take what the scheduler says into ``job``; returns whether that is news. Idempotent.

    The scheduler knows best when a job started and ended: Snakemake hears of it later. Its times are whole seconds, so
    none is taken that would put a start before the submission or an end before the start.
    """
    known = seen.after(Scheduled.from_json(job.scheduled))
    told = known.to_json()
    if told == job.scheduled:
        return False
    job.scheduled = told
    job.accounted = known.final
    if known.phase is Phase.RUNNING and job.state is JobState.SUBMITTED:
        job.state, job.held = JobState.RUNNING, None
    if known.phase is Phase.QUEUED and job.state is JobState.RUNNING:  # its node failed; it will begin anew
        job.state, job.started_at = JobState.SUBMITTED, None
    if known.started_at is not None and (job.started_at is None or known.final):
        job.started_at = max(known.started_at, job.submitted_at or 0.0)
    if known.final and known.ended_at is not None and job.ended_at is not None:
        job.ended_at = max(known.ended_at, job.started_at or 0.0)
    return True


def blame(job: Job, failure: Failure) -> None:
    """Keep why a job failed."""
    job.failure_kind, job.failure = failure.kind.value, failure.to_json()
    if job.exit_code is None:  # nobody could tell before where it ran
        job.exit_code, job.signal = failure.exit_code, failure.signal


def sentence(failed: Iterable[tuple[str, str | None, Any]], total: int) -> str:
    """Say how many jobs of which rules failed why; ``failed`` begins with rule and kind of failure."""
    kinds: dict[str, Counter[str]] = {}
    for rule, kind, _ in failed:
        kinds.setdefault(rule, Counter())[FailureKind(kind).words if kind else "reason unknown"] += 1
    told = []
    for rule, counts in sorted(kinds.items()):
        number = counts.total()
        why = ", ".join(kind if count == number else f"{count} {kind}" for kind, count in counts.most_common())
        told.append(f"{rule} ({number}: {why})")
    number = sum(counts.total() for counts in kinds.values())
    return f"{number} of {total} jobs failed: {', '.join(told)}."


def close(jobs: Iterable[Job], *, at: float, stopped_at: float | None) -> list[Job]:
    """End the jobs that their ended attempt left open; returns those that changed.

    ``stopped_at`` is when the attempt's stop was asked for, None unless it was cancelled. Jobs that a signal ended
    after that, or that were cancelled in their scheduler, are reported as failed by Snakemake, but it was the stop
    that ended them. A job that went on after its
    snakemake was gone, and succeeded as its scheduler says, has succeeded.
    """
    changed = []
    for job in jobs:
        by_signal = job.signal is not None or (job.exit_code or 0) > SHELL_SIGNAL_BASE
        from_outside = by_signal or job.failure_kind == FailureKind.CANCELLED
        interrupted = job.state is JobState.FAILED and from_outside and (job.ended_at or 0) >= (stopped_at or at)
        if stopped_at is not None and interrupted:
            job.state = JobState.CANCELLED
            blame(job, Failure(FailureKind.CANCELLED, "Stopped on request", job.exit_code, job.signal))
        elif job.state not in ENDED and _succeeded_unseen(job):
            job.state, job.exit_code = JobState.SUCCEEDED, 0
            job.ended_at = (job.scheduled or {}).get("ended_at") or at
        elif job.state not in ENDED:
            job.state = JobState.LOST if stopped_at is None else JobState.CANCELLED
            job.ended_at, job.held = at, None
        else:
            continue
        changed.append(job)
    return changed


def _succeeded_unseen(job: Job) -> bool:
    known = Scheduled.from_json(job.scheduled)
    return known is not None and known.succeeded is True
