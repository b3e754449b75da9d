"""What is known of a run that is being followed: grown from the events of its stream, without any output."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snakeway.cli import times
from snakeway.model import complaint
from snakeway.model.job import Job, JobState, last_words, merge
from snakeway.wire import EventType

if TYPE_CHECKING:
    from snakeway.client import Run, StreamEvent

_SUCCEEDED, _FAILED, _CANCELLED, _PAUSED = 0, 1, 3, 8
# Exit codes. Any other state, also one that this client does not know, counts as failed.
BY_STATE = {"succeeded": _SUCCEEDED, "cancelled": _CANCELLED, "paused": _PAUSED}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened, to be told: when, to what, its new state, and more about it."""

    at: str
    subject: str
    state: str
    text: str = ""
    important: bool = False  # also told above a live table, which shows the rest anyway


@dataclass(slots=True)
class Watch:
    """A run as far as its events were read; the jobs are those of the newest attempt."""

    run: "Run"
    attempt: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    succeeded: int = 0  # by the events of jobs; done is what Snakemake says, which comes later
    failed: int = 0
    clock: Callable[[], float] = time.time
    told: str = ""  # the run's state that was told last

    def take(self, event: "StreamEvent") -> list[Line]:
        """Take an event in and return what is to be told of it. What a newer server may send is passed over."""
        if event.type in {"run", "end"}:
            return self._take_run(event)
        data = event.data
        number = data.get("attempt")
        if isinstance(number, int) and number > self.attempt:
            self.attempt, self.jobs = number, {}
            self.done = self.total = self.succeeded = self.failed = 0
        with suppress(KeyError, TypeError, ValueError, OverflowError, OSError):
            return list(self._lines(event.type, _tame(data)))
        return []

    def exit_code(self) -> int:
        """Return the exit code that the run's state means."""
        return BY_STATE.get(self.run["state"], _FAILED)

    def active(self) -> list[Job]:
        """Return the jobs that run or wait on a cluster: running ones first, the longest running before the others."""
        # A copy at once: a live view asks from a thread of its own while events come in.
        found = [job for job in list(self.jobs.values()) if job.state in {JobState.RUNNING, JobState.SUBMITTED}]
        return sorted(found, key=lambda job: (job.state != JobState.RUNNING, job.started_at or job.submitted_at or 0))

    def _take_run(self, event: "StreamEvent") -> list[Line]:
        self.run = event.data  # type: ignore[assignment]
        if self.run["state"] == self.told:
            return []
        self.told = self.run["state"]
        at = self.run["ended_at"] or times.rfc3339(self.clock())
        return [Line(at, f"run {self.run['id']}", self.run["state"], self.run["error"] or "", important=True)]

    def _lines(self, type_: str, data: dict[str, Any]) -> Iterable[Line]:
        at = times.rfc3339(data["t"])
        subject = f"attempt {self.attempt}"
        match type_:
            case EventType.ATTEMPT_STARTED:
                yield Line(
                    at, subject, "started", f"snakemake {data.get('snakemake')} on {data.get('host')}", important=True
                )
            case EventType.STATS:
                self.total = int(data["total"])
                yield Line(at, subject, "planned", f"{self.total} jobs")
            case EventType.PROGRESS:
                self.done, self.total = int(data["done"]), int(data["total"])
            case EventType.ERROR:
                yield Line(at, subject, "error", complaint.words(data), important=True)
            case EventType.JOB | EventType.JOB_FINISHED | EventType.JOB_FAILED:
                yield from self._take_job(at, data)

    def _take_job(self, at: str, data: dict[str, Any]) -> Iterable[Line]:
        number = int(data["job"])
        job = self.jobs.setdefault(number, Job(number))
        before = (job.state, job.try_number)
        merge(job, data)
        if (job.state, job.try_number) == before and before[1]:
            return
        self.succeeded += (job.state is JobState.SUCCEEDED) - (before[0] is JobState.SUCCEEDED)
        self.failed += (job.state is JobState.FAILED) - (before[0] is JobState.FAILED)
        self.done = max(self.done, self.succeeded)
        failed = job.state is JobState.FAILED
        text = f"{describe(job)}: {_how_failed(job)}" if failed else describe(job)
        yield Line(at, f"job {self.attempt}/{number}", job.state.value, text, important=failed)


def _tame(data: dict[str, Any]) -> dict[str, Any]:
    """Return an event whose members are of the kinds that a view counts on: events come from where workflows write."""
    tame = dict(data)
    for name in ("started_at", "ended_at"):
        if not isinstance(tame.get(name), int | float):
            tame[name] = None
    if not isinstance(tame.get("wildcards"), dict):
        tame["wildcards"] = {}
    return tame


def describe(job: Job) -> str:
    """Return what a job is, in a few words."""
    words = [job.rule, *(f"{name}={value}" for name, value in job.wildcards.items())]
    if job.try_number > 1:
        words.append(f"(try {job.try_number})")
    if job.external_id:
        words.append(f"[{job.external_id}]")
    return " ".join(words)


def _how_failed(job: Job) -> str:
    how = f"signal {job.signal}" if job.signal else f"exit code {job.exit_code}" if job.exit_code else "failed"
    said = last_words(job.log_tail, job.message)
    return f"{how}: {said}" if said else how
