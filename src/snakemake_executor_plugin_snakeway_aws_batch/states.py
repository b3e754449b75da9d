"""What DescribeJobs says of a job, read. Pure.

Two ends of which the plugin knows nothing: a job that AWS Batch does not know (any more), for which it waits without
end; and a job that can never start because nothing in the compute environment is large enough, or is set up so that
nothing starts: AWS says so in the ``statusReason`` of a job that goes on waiting.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snakeway.cloudwatch import place_of

_MISCONFIGURED = "MISCONFIGURATION"
_GIVEN_AS_MS = 1000.0


@dataclass(frozen=True)
class Seen:
    """One look at a job. ``error`` says why it failed, ``stuck`` why it cannot start."""

    over: bool = False
    error: str | None = None
    started: float | None = None  # seconds since the epoch
    stopped: float | None = None
    group: str = ""  # of logs, in CloudWatch
    streams: tuple[str, ...] = ()
    stuck: str | None = None


def read(detail: Mapping[str, Any]) -> Seen:
    """Read the details of one job."""
    status = detail.get("status")
    group, streams = place_of(detail)
    begun, ended = detail.get("startedAt"), detail.get("stoppedAt")
    over = status in ("SUCCEEDED", "FAILED")
    reason = str(detail.get("statusReason") or "")
    return Seen(
        over=over,
        error=_why(detail, group, streams) if status == "FAILED" else None,
        started=begun / _GIVEN_AS_MS if begun and (over or status == "RUNNING") else None,
        stopped=ended / _GIVEN_AS_MS if ended and over else None,
        group=group if streams else "",
        streams=tuple(streams),
        stuck=reason if status == "RUNNABLE" and reason.startswith(_MISCONFIGURED) else None,
    )


def _last_attempt(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = detail.get("attempts") or [{}]
    return attempts[-1].get("container") or {}


def _why(detail: Mapping[str, Any], group: str, streams: list[str]) -> str:
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
        *([f"log: {group}:{streams[-1]} in CloudWatch"] if streams else []),
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
