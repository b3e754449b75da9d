"""Why a job on Slurm failed: by the scheduler's state first, then by what the job itself said.

On its node a job runs under a snakemake of its own, whose exit code says nothing and whose log, which Slurm keeps,
holds the job's own words between Snakemake's.
"""

import re
from dataclasses import replace

from snakeway.model.failure import Bounds, Facts, Failure, FailureKind, more
from snakeway.targets.onnode import as_on_the_node
from snakeway.targets.process import DEFAULT_MEM_MB, DEFAULT_RUNTIME_MIN, by_process, own_last_words

_KINDS = {
    "OUT_OF_MEMORY": FailureKind.OUT_OF_MEMORY,
    "TIMEOUT": FailureKind.TIME_LIMIT,
    "DEADLINE": FailureKind.TIME_LIMIT,
    "NODE_FAIL": FailureKind.NODE_LOST,
    "BOOT_FAIL": FailureKind.NODE_LOST,
    "PREEMPTED": FailureKind.PREEMPTED,
    "CANCELLED": FailureKind.CANCELLED,
    "REVOKED": FailureKind.CANCELLED,
}
_TOLD_STATE = re.compile(r"SLURM status is: '([A-Z_]+)")  # in the message of the executor plugin
_REFUSED = "SLURM sbatch failed."
_SBATCH_SAID = re.compile(r"sbatch: error: (?:Batch job submission failed: )?([^\n']+)")
# slurmstepd's own lines in the job's log: it measures (jobacct_gather) or the kernel tells it (cgroup).
_OVER_MEMORY = re.compile(r"^slurmstepd.*(?:exceeded (?:job |step )?memory limit|oom[-_ ]kill)", re.I | re.M)
_SLURMSTEPD = re.compile(r"^slurmstepd.*$\n?", re.MULTILINE)
_CANCELLED_AT = re.compile(r"\*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT \S+(?: DUE TO ([A-Z ]+)[^*\n]*)? \*\*\*")
_DUE_TO = {
    "TIME LIMIT": FailureKind.TIME_LIMIT,
    "PREEMPTION": FailureKind.PREEMPTED,
    "NODE FAILURE": FailureKind.NODE_LOST,
}


class SlurmDiagnosis:
    """Asks nobody: what Slurm's commands say is among the facts, and ``stderr_tail`` is the end of the Slurm log."""

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job; pure."""
        if facts.message.startswith(_REFUSED):
            said = _SBATCH_SAID.findall(facts.message)
            why = said[-1].rstrip(".") if said else "no reason is known"
            return Failure(FailureKind.REFUSED, f"Slurm refused the job: {why}", scheduler=why)
        kind = _kind(facts)
        seen = as_on_the_node(facts, _SLURMSTEPD.sub("", facts.stderr_tail))
        failure = by_process(seen, bounds)
        if kind is not None:
            failure = replace(
                failure, kind=kind, summary=_summary(kind, seen), suggestion=_suggestion(kind, seen, bounds)
            )
        return replace(failure, scheduler=_words(facts), host=_host(facts))


def _kind(facts: Facts) -> FailureKind | None:
    """Return what Slurm knows of the end; None if it was the job's own affair."""
    log = facts.stderr_tail
    if _OVER_MEMORY.search(log):
        return FailureKind.OUT_OF_MEMORY
    stated = _KINDS.get(_state(facts))
    due = next((_DUE_TO[found] for found in _CANCELLED_AT.findall(log) if found in _DUE_TO), None)
    return due if due is not None and stated in (None, FailureKind.CANCELLED) else stated


def _state(facts: Facts) -> str:
    if facts.scheduler is not None and facts.scheduler.succeeded is False:
        return facts.scheduler.state
    told = _TOLD_STATE.search(facts.message)
    return told[1] if told else ""


def _summary(kind: FailureKind, facts: Facts) -> str:
    scheduler = facts.scheduler
    words = own_last_words(facts)
    said = f": {words}" if words else ""
    match kind:
        case FailureKind.OUT_OF_MEMORY:
            used = scheduler.max_rss_mb if scheduler is not None else None
            seen = f", of which Slurm saw {used:.0f} MB in use" if used else ""
            return f"Out of memory{_had(facts, 'mem_mb', 'MB', seen)}; Slurm ended it{said}"
        case FailureKind.TIME_LIMIT:
            return f"It took longer than it was allowed to{_had(facts, 'runtime', 'minutes')}; Slurm ended it{said}"
        case FailureKind.NODE_LOST:
            return f"The node {_host(facts) or 'it ran on'} failed"
        case FailureKind.PREEMPTED:
            return "Slurm gave its place to a job of higher priority"
    by = f" {scheduler.reason}" if scheduler is not None and scheduler.reason.startswith("by ") else ""
    return f"It was cancelled in Slurm{by}, not by this run"


def _had(facts: Facts, resource: str, unit: str, more_words: str = "") -> str:
    had = facts.resources.get(resource)
    return f" (it had {had} {unit}{more_words})" if isinstance(had, int) else ""


def _suggestion(kind: FailureKind, facts: Facts, bounds: Bounds) -> dict[str, object] | None:
    if kind is FailureKind.OUT_OF_MEMORY:
        had = facts.resources.get("mem_mb")
        return more(facts.rule, "mem_mb", had, at_most=bounds.mem_mb, otherwise=2 * DEFAULT_MEM_MB)
    if kind is FailureKind.TIME_LIMIT:
        had = facts.resources.get("runtime")
        return more(facts.rule, "runtime", had, at_most=bounds.runtime_min, otherwise=2 * DEFAULT_RUNTIME_MIN)
    return {}  # a lost node, a preemption, somebody's scancel: the same again may well succeed


def _words(facts: Facts) -> str | None:
    """Return what Slurm says: the state, and its reason or exit code."""
    scheduler = facts.scheduler
    if scheduler is None:
        return _state(facts) or None
    ended = f"exit code {scheduler.exit_code}" if scheduler.exit_code else ""
    if scheduler.signal:
        ended = f"signal {scheduler.signal}"
    return ", ".join(word for word in (f"{scheduler.state} {scheduler.reason}".strip(), ended) if word)


def _host(facts: Facts) -> str | None:
    return facts.scheduler.host if facts.scheduler is not None else None
