"""What DescribeJobs says of a job, read. Pure.

Two ends of which the plugin knows nothing: a job that AWS Batch does not know (any more), for which it waits without
end; and a job that can never start because nothing in the compute environment is large enough, or is set up so that
nothing starts: AWS says so in the ``statusReason`` of a job that goes on waiting.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LOG_GROUP = "/aws/batch/job"
_MISCONFIGURED = "MISCONFIGURATION"
_GIVEN_AS_MS = 1000.0


@dataclass(frozen=True)
class Seen:
    """One look at a job. ``error`` says why it failed, ``stuck`` why it cannot start."""

    over: bool = False
    error: str | None = None
    started: float | None = None  # seconds since the epoch
    log: str | None = None
    stuck: str | None = None


def read(detail: Mapping[str, Any], log_group: str | None = None) -> Seen:
    """Read the details of one job."""
    status, container = detail.get("status"), detail.get("container") or {}
    stream = container.get("logStreamName") or _last_attempt(detail).get("logStreamName")
    log = f"cloudwatch:{log_group or LOG_GROUP}:{stream}" if stream else None
    begun = detail.get("startedAt")
    started = begun / _GIVEN_AS_MS if begun and status in ("RUNNING", "SUCCEEDED", "FAILED") else None
    if status == "SUCCEEDED":
        return Seen(over=True, started=started, log=log)
    if status == "FAILED":
        return Seen(over=True, error=_why(detail, log), started=started, log=log)
    reason = str(detail.get("statusReason") or "")
    stuck = reason if status == "RUNNABLE" and reason.startswith(_MISCONFIGURED) else None
    return Seen(started=started, log=log, stuck=stuck)


def _last_attempt(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = detail.get("attempts") or [{}]
    return attempts[-1].get("container") or {}


def _why(detail: Mapping[str, Any], log: str | None) -> str:
    """Everything that AWS tells of a failure: why the job failed, why its container ended, and how."""
    container, last = detail.get("container") or {}, _last_attempt(detail)
    code = container.get("exitCode", last.get("exitCode"))
    reason = container.get("reason") or last.get("reason")
    attempts = len(detail.get("attempts") or ())
    said = [
        str(detail.get("statusReason") or "AWS Batch gives no reason"),
        *([f"its container: {reason}"] if reason else []),
        *([f"exit code {code}"] if code is not None else []),
        *([f"after {attempts} attempts"] if attempts > 1 else []),
        *([f"log: {log}"] if log else []),
    ]
    return f"AWS Batch job {detail.get('jobId')} failed: {'; '.join(said)}."


class Unknown:
    """Remembers since when AWS Batch has not known a job."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since: dict[str, float] = {}

    def look(self, asked: Iterable[str], found: Iterable[str], at: float | None = None) -> set[str]:
        """Return those of the ``asked`` jobs that have not been found for longer than is bearable."""
        now, known = time.monotonic() if at is None else at, set(found)
        lost: set[str] = set()
        for id_ in asked:
            if id_ in known:
                self._since.pop(id_, None)
            elif now - self._since.setdefault(id_, now) >= self._grace_s:
                lost.add(id_)
        return lost
