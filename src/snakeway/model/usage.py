"""What jobs had of processors and of memory, and for how long. Counted in whole numbers, so that sums are exact."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from snakeway.model.job import ENDED, Job, JobState

BESIDE_SNAKEMAKE = "local"  # the target of what a cluster's snakemake runs by itself: local rules, gates

# The resources by which a rule asks for a place within its target: partitions and queues can have prices of their own.
_QUEUES = ("slurm_partition", "aws_batch_queue")
_NAME_CHARACTERS = 255
_HERE = frozenset({"local", "dryrun", "touch"})  # executors that hand no job to anybody


class GroupBy(StrEnum):
    """What usage is summed by."""

    OWNER = "owner"
    MONTH = "month"
    WORKFLOW = "workflow"
    TARGET = "target"
    RULE = "rule"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Usage:
    """What some jobs had. One CPU-millisecond is one processor for a thousandth of a second, used or not."""

    cpu_ms: int = 0
    mem_mib_ms: int = 0
    jobs: int = 0  # that ran, or of which nobody knows whether they did
    jobs_running: int = 0  # of these: they run still, and are counted up to now
    jobs_unknown: int = 0  # of these: nobody said when they began (their last try, at least), so that is not counted
    jobs_without_memory: int = 0  # of these: their time and processors are known, but not how much memory they had

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(  # written out: a loop over the members takes five times as long, for each of many jobs
            self.cpu_ms + other.cpu_ms,
            self.mem_mib_ms + other.mem_mib_ms,
            self.jobs + other.jobs,
            self.jobs_running + other.jobs_running,
            self.jobs_unknown + other.jobs_unknown,
            self.jobs_without_memory + other.jobs_without_memory,
        )


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """What usage is summed by: the rule, the month of the end (UTC, such as 2026-11), and what decides on the price."""

    rule: str
    month: str
    target: str
    queue: str = ""  # empty where the job named none


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One try of a job, on its machine."""

    job: int
    number: int  # among those of the job
    month: str
    ms: int
    cpus: int
    mem_mib: int | None
    queue: str
    shared_id: str | None  # what the scheduler knows it by, when the figures are the scheduler's


def month_of(t: float) -> str:
    """Return the month of a time in seconds since the epoch; raises ValueError for what is no time."""
    try:
        moment = datetime.fromtimestamp(t, UTC)
    except (OverflowError, OSError, TypeError) as error:
        raise ValueError(f"{t!r} is no time") from error
    return f"{moment.year:04}-{moment.month:02}"


def of_jobs(jobs: Iterable[Job], *, target: str, executor: str | None, at: float) -> dict[Share, Usage]:
    """Return what the jobs of one attempt had; pure, so the same jobs always give the same.

    Every try counts from its start to its end, failed ones too; what runs still, up to ``at`` (seconds since the
    epoch). Processors and memory are those that the scheduler gave, or else those that the job asked for. Jobs of a
    group, which the scheduler takes for one, share what it gave. ``executor`` is the target's, None if unknown.
    """
    known = list(jobs)
    handed_on = (executor is not None and executor not in _HERE) or not all(job.local for job in known)
    stretches = {job.number: list(_stretches(job, at)) for job in known}
    parts = _parts(stretch for each in stretches.values() for stretch in each)
    total: defaultdict[Share, Usage] = defaultdict(Usage)
    for job in known:
        place = BESIDE_SNAKEMAKE if job.local and handed_on else target
        of_job = stretches[job.number]
        for stretch in of_job[:-1]:
            total[Share(job.rule, stretch.month, place, stretch.queue)] += Usage(*parts[stretch])
        if of_job:  # the job itself counts once, with its last try
            last = of_job[-1]
            total[Share(job.rule, last.month, place, last.queue)] += _usage(job, of_job, *parts[last])
        elif _may_have_run(job):
            share = Share(job.rule, _month_or(job.ended_at, at), place, _queue(job.resources))
            total[share] += Usage(jobs=1, jobs_unknown=1)
    return dict(total)


def _usage(job: Job, stretches: list[_Stretch], cpu_ms: int, mem_mib_ms: int) -> Usage:
    return Usage(
        cpu_ms,
        mem_mib_ms,
        jobs=1,
        jobs_running=int(job.state not in ENDED and job.started_at is not None),
        jobs_unknown=int(job.started_at is None and _may_have_run(job)),  # of its last try; those before are counted
        jobs_without_memory=int(any(stretch.mem_mib is None for stretch in stretches)),
    )


def _may_have_run(job: Job) -> bool:
    """Whether an ended job without a start can have run all the same, unseen by everybody who would have said so."""
    if job.state not in ENDED:
        return False
    unwatched = job.external_id is not None and not job.scheduled
    return job.state is JobState.SUCCEEDED or job.started_at is not None or unwatched


def _stretches(job: Job, at: float) -> Iterator[_Stretch]:
    for number, tried in enumerate(job.tries):
        yield from _stretch((job.number, number), tried, tried.get("threads", job.threads), tried.get("ended_at"))
    told = {name: getattr(job, name) for name in ("started_at", "resources", "external_id", "scheduled")}
    end = job.ended_at if job.state in ENDED else at
    yield from _stretch((job.number, len(job.tries)), told, job.threads, end)


def _stretch(name: tuple[int, int], told: Mapping[str, Any], threads: Any, ended_at: Any) -> Iterator[_Stretch]:
    start, end = _number(told.get("started_at")), _number(ended_at)
    if start is None or end is None:
        return
    try:
        month = month_of(end)
    except ValueError:
        return
    resources = told.get("resources") or {}
    given = told.get("scheduled") or {}  # see scheduled.Scheduled
    cpus, mem_mib = _whole(given.get("cpus")), _whole(given.get("mem_mb"))
    external_id = told.get("external_id")
    yield _Stretch(
        *name,
        month,
        round(max(0.0, end - start) * 1000),
        cpus or _whole(threads) or 1,
        mem_mib or _whole(resources.get("mem_mb")),
        _queue(resources),
        str(external_id) if cpus and external_id else None,
    )


def _parts(stretches: Iterable[_Stretch]) -> dict[_Stretch, tuple[int, int]]:
    """Return what each stretch counts for, in CPU- and MiB-milliseconds; the parts of one allocation add up to it."""
    groups: defaultdict[tuple[str | None, int | None], list[_Stretch]] = defaultdict(list)
    for stretch in stretches:
        groups[stretch.shared_id, None if stretch.shared_id else stretch.job].append(stretch)
    parts = {}
    for (shared_id, _), members in groups.items():
        count = len(members) if shared_id else 1
        for place, stretch in enumerate(sorted(members, key=lambda member: (member.job, member.number))):
            whole = stretch.ms * stretch.cpus, stretch.ms * (stretch.mem_mib or 0)
            parts[stretch] = (_part(whole[0], count, place), _part(whole[1], count, place))
    return parts


def _part(whole: int, count: int, place: int) -> int:
    return whole // count + (place % count < whole % count)


def _queue(resources: Mapping[str, Any]) -> str:
    return next((str(resources[name])[:_NAME_CHARACTERS] for name in _QUEUES if resources.get(name)), "")


def _month_or(t: float | None, otherwise: float) -> str:
    try:
        return month_of(otherwise if t is None else t)
    except ValueError:
        return month_of(otherwise)


def _number(value: Any) -> float | None:
    """Return a number that an event told, in which anything may stand."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    """Return a count above zero, also one that was told as text; None for anything else."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) <= 18 else None
    number = _number(value)
    return round(number) or None if number is not None and number > 0 else None
