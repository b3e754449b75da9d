"""What ListJobs and DescribeJobs answer, read into jobs. Pure.

Statuses and fields are those of AWS Batch's API reference (JobSummary, JobDetail); times come as milliseconds since the
epoch.
"""

from collections.abc import Mapping
from typing import Any

from snakeway.model.scheduled import Phase, Scheduled

_PHASES = {"RUNNING": Phase.RUNNING, "SUCCEEDED": Phase.ENDED, "FAILED": Phase.ENDED}  # the others wait
_MS = 1000.0


def summary(job: Mapping[str, Any]) -> Scheduled:
    """Read a job as ListJobs tells it: its state and times, not where it is."""
    container = job.get("container") or {}
    status = str(job.get("status") or "UNKNOWN")
    phase = _PHASES.get(status, Phase.QUEUED)
    return Scheduled(
        state=status,
        phase=phase,
        reason=_reason(job, container, phase),
        queued_at=_seconds(job.get("createdAt")),
        started_at=_seconds(job.get("startedAt")) if phase is not Phase.QUEUED else None,
        ended_at=_seconds(job.get("stoppedAt")) if phase is Phase.ENDED else None,
        exit_code=_code(container) if phase is Phase.ENDED else None,
        succeeded=status == "SUCCEEDED" if phase is Phase.ENDED else None,
    )


def detail(job: Mapping[str, Any]) -> Scheduled:
    """Read a job as DescribeJobs tells it; of one that has ended, nothing more will be known."""
    known = summary(job)
    container, last = job.get("container") or {}, _last_attempt(job)
    asked = {each.get("type"): each.get("value") for each in container.get("resourceRequirements") or ()}
    ended = known.phase is Phase.ENDED
    return Scheduled(
        state=known.state,
        phase=known.phase,
        reason=_reason(job, {**last, **container}, known.phase),
        host=_host({**last, **container}),
        queued_at=known.queued_at,
        started_at=known.started_at,
        ended_at=known.ended_at,
        exit_code=_code({**last, **container}) if ended else None,
        cpus=_whole(asked.get("VCPU")) or _whole(container.get("vcpus")),
        mem_mb=_number(asked.get("MEMORY")) or _number(container.get("memory")),
        succeeded=known.succeeded,
        final=ended,
    )


def _last_attempt(job: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = job.get("attempts") or [{}]
    return attempts[-1].get("container") or {}


def _reason(job: Mapping[str, Any], container: Mapping[str, Any], phase: Phase) -> str:
    if phase is Phase.RUNNING:
        return ""
    said = (job.get("statusReason"), container.get("reason") if phase is Phase.ENDED else None)
    return "; ".join(dict.fromkeys(str(each) for each in said if each))


def _host(container: Mapping[str, Any]) -> str | None:
    """Return the end of the name of what it ran on: an instance of the cluster, or a task on Fargate."""
    arn = container.get("containerInstanceArn") or container.get("taskArn")
    return str(arn).rpartition("/")[2] or None if arn else None


def _code(container: Mapping[str, Any]) -> int | None:
    code = container.get("exitCode")
    return code if isinstance(code, int) else None


def _seconds(ms: object) -> float | None:
    return ms / _MS if isinstance(ms, int | float) and ms > 0 else None


def _number(value: object) -> float | None:
    try:
        return float(str(value)) or None
    except ValueError:
        return None


def _whole(value: object) -> int | None:
    number = _number(value)
    return max(1, round(number)) if number is not None else None  # Fargate gives quarters of one
