"""What a scheduler says of a job, and how well the job used what it was given."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """What a scheduler's state comes to.

    QUEUED   it waits: for its turn, for resources, for a limit to allow it.
    RUNNING  it is on a node, from the start to the end of cleaning up.
    ENDED    it is over, whichever way.
    """

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


# What was known before and does not hold any more: a job that the scheduler has queued again has neither end nor place.
_OF_AN_END = frozenset({"ended_at", "succeeded", "exit_code", "signal"})
_NOT_KEPT = {
    Phase.QUEUED: _OF_AN_END | {"reason", "started_at", "host"},
    Phase.RUNNING: _OF_AN_END | {"reason"},
    Phase.ENDED: frozenset({"reason"}),
}


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One job as its scheduler sees it. Times are seconds since the epoch; None is what the scheduler did not say."""

    state: str  # in the scheduler's own words, such as PENDING or OUT_OF_MEMORY
    phase: Phase = Phase.ENDED
    ending: bool = False  # it runs no more, and is being cleaned up
    reason: str = ""  # why it waits, or who ended it
    host: str | None = None
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    succeeded: bool | None = None  # None as long as it has not ended
    exit_code: int | None = None  # of what the scheduler started, which is snakemake and not the job's command
    signal: int | None = None
    cpus: int | None = None  # given to it
    mem_mb: float | None = None  # given to it
    cpu_s: float | None = None  # used
    max_rss_mb: float | None = None  # the most that was resident at any look of the scheduler's
    final: bool = False  # from the books that are closed when a job has ended; nothing more will be known

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {**asdict(self), "phase": self.phase.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> "Scheduled | None":
        """Read what `to_json` gave; members of other versions are passed over."""
        if not data or not data.get("state"):
            return None
        known = {member.name for member in fields(cls)} & data.keys()
        return cls(**{name: data[name] for name in known} | {"phase": Phase(data.get("phase", Phase.ENDED))})

    def after(self, before: "Scheduled | None") -> "Scheduled":
        """Return this, with what only ``before`` knew; what a closed book said is not taken back."""
        if before is None:
            return self
        if before.final and not self.final:
            return before
        unknown = {member.name for member in fields(self) if getattr(self, member.name) in (None, "")}
        return replace(self, **{name: getattr(before, name) for name in unknown - _NOT_KEPT[self.phase]})

    @property
    def elapsed_s(self) -> float | None:
        """How long it was on its node."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How well the jobs of a rule used what they were given. Ratios are of 1, None where nothing is known."""

    rule: str
    jobs: int
    cpu_ratio: float | None  # processor time used / processors given times seconds on the node, over all jobs
    mem_ratio: float | None  # the largest of: most memory resident / memory given
    cpus: int | None  # most that a job was given
    mem_mb: float | None
    max_rss_mb: float | None
    queue_s: float | None  # median
    run_s: float | None  # median
    suggestion: dict[str, Any] | None  # members of `Overrides`


_WASTE = 2.0  # a request is called too large when half of it would have been enough
_ROOM = 1.2  # what is suggested leaves a fifth more than the most that was used
_MEM_STEP_MB = 50
_SHORTEST_S = 10.0  # of jobs shorter than that, processor time says more about the start than about the work


def efficiency(rule: str, jobs: Iterable[Scheduled]) -> Efficiency:
    """Sum up the ended jobs of a rule; pure."""
    known = [job for job in jobs if job.phase is Phase.ENDED]
    used = sum(job.cpu_s or 0.0 for job in known if _counts_cpu(job))
    given = sum((job.cpus or 0) * (job.elapsed_s or 0.0) for job in known if _counts_cpu(job))
    cpu_ratio = used / given if given > 0 else None
    shares = [job.max_rss_mb / job.mem_mb for job in known if job.max_rss_mb and job.mem_mb]
    peak = max((job.max_rss_mb for job in known if job.max_rss_mb), default=None)
    cpus = max((job.cpus for job in known if job.cpus), default=None)
    mem_mb = max((job.mem_mb for job in known if job.mem_mb), default=None)
    elapsed = sum(job.elapsed_s or 0.0 for job in known) / len(known) if known else 0.0
    return Efficiency(
        rule=rule,
        jobs=len(known),
        cpu_ratio=cpu_ratio,
        mem_ratio=max(shares, default=None),
        cpus=cpus,
        mem_mb=mem_mb,
        max_rss_mb=peak,
        queue_s=_median(job.started_at - job.queued_at for job in known if job.started_at and job.queued_at),
        run_s=_median(job.elapsed_s for job in known if job.elapsed_s is not None),
        suggestion=_suggestion(rule, cpu_ratio if elapsed >= _SHORTEST_S else None, cpus, peak, mem_mb),
    )


def overall(jobs: Iterable[Scheduled]) -> tuple[float | None, float | None]:
    """Return the share of processors and of memory that ended jobs used of what they were given, taken together."""
    known = [job for job in jobs if job.phase is Phase.ENDED]
    given = sum((job.cpus or 0) * (job.elapsed_s or 0.0) for job in known if _counts_cpu(job))
    used = sum(job.cpu_s or 0.0 for job in known if _counts_cpu(job))
    sized = [(job.max_rss_mb, job.mem_mb) for job in known if job.max_rss_mb and job.mem_mb]
    asked = sum(mem_mb for _, mem_mb in sized)
    return used / given if given > 0 else None, sum(rss for rss, _ in sized) / asked if asked else None


def _counts_cpu(job: Scheduled) -> bool:
    return job.cpu_s is not None and bool(job.cpus) and job.elapsed_s is not None


def _suggestion(
    rule: str, cpu_ratio: float | None, cpus: int | None, peak: float | None, mem_mb: float | None
) -> dict[str, Any] | None:
    told: dict[str, Any] = {}
    if cpu_ratio is not None and cpus is not None and cpus > 1 and cpu_ratio * _WASTE < 1:
        told["set_threads"] = {rule: max(1, math.ceil(cpu_ratio * cpus))}
    if peak is not None and mem_mb is not None:
        enough = -int(-peak * _ROOM // _MEM_STEP_MB) * _MEM_STEP_MB
        if enough * _WASTE < mem_mb:
            told["set_resources"] = {rule: {"mem_mb": enough}}
    return told or None


def _median(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
