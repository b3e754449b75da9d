"""Why a job on AWS Batch failed: by what AWS says first, then by what the job itself said.

AWS has no list of reasons; the words are those of its troubleshooting pages and of the agent that runs containers.
"""

import re
from dataclasses import replace

from snakeway.model.failure import TRANSIENT, Bounds, Facts, Failure, FailureKind, more
from snakeway.model.job import SHELL_SIGNAL_BASE
from snakeway.targets.onnode import as_on_the_node
from snakeway.targets.process import (
    DEFAULT_MEM_MB,
    DEFAULT_RUNTIME_MIN,
    LONGEST_WORDS,
    by_process,
    own_last_words,
)

_REFUSED = "AWS Batch does not take the job: "
_FAILED = re.compile(r"^AWS Batch job \S+ failed: ")
_SAID: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    (FailureKind.OUT_OF_MEMORY, re.compile(r"OutOfMemoryError|killed due to memory usage")),
    (FailureKind.TIME_LIMIT, re.compile(r"[Aa]ttempt duration exceeded timeout|exceeded timeout")),
    (FailureKind.IMAGE_PULL, re.compile(r"CannotPull\w*Error|CannotPullContainer|[Nn]o such image|ImageNotFound")),
    (
        FailureKind.NODE_LOST,
        re.compile(r"Host EC2 .*terminated|[Hh]ost .*(?:lost|terminated)|AGENT (?:disconnected|error)"),
    ),
    (FailureKind.PREEMPTED, re.compile(r"[Ss]pot [Ii]nterruption|preempted", re.I)),
    (FailureKind.CANCELLED, re.compile(r"cancell?ed by|[Tt]erminated (?:by|from)|[Tt]erminating job|by user request")),
)
_CODE = re.compile(r"\bexit code (\d{1,3})\b")


class AwsBatchDiagnosis:
    """Asks nobody: what AWS says is among the facts, and ``stderr_tail`` is the end of what the container printed."""

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job; pure."""
        if facts.message.startswith(_REFUSED):
            why = facts.message.removeprefix(_REFUSED).strip().rstrip(".")
            return Failure(FailureKind.REFUSED, f"AWS Batch refused the job: {why}"[:LONGEST_WORDS], scheduler=why)
        said = _words(facts)
        seen = as_on_the_node(_with_code(facts, said), facts.stderr_tail)
        failure = by_process(seen, bounds)
        kind = next((kind for kind, words in _SAID if words.search(said)), None)
        if kind is not None:
            summary, suggestion = _summary(kind, seen, said), _suggestion(kind, seen, bounds)
            failure = replace(failure, kind=kind, summary=summary, suggestion=suggestion)
        elif failure.kind is FailureKind.UNKNOWN and said:
            failure = replace(failure, summary=f"It failed: {said}"[:LONGEST_WORDS])
        host = facts.scheduler.host if facts.scheduler is not None else None
        return replace(failure, scheduler=said or None, host=host)


def _words(facts: Facts) -> str:
    """Return what AWS says: why the job, and why its container ended."""
    if facts.scheduler is not None and facts.scheduler.reason:
        return facts.scheduler.reason
    return (
        _FAILED.sub("", facts.message).partition("; log: ")[0].strip().rstrip(".")
        if _FAILED.match(facts.message)
        else ""
    )


def _with_code(facts: Facts, said: str) -> Facts:
    """Return the facts with the exit code of the container, where nothing better is known."""
    code = facts.scheduler.exit_code if facts.scheduler is not None else None
    if code is None and (found := _CODE.search(said)) is not None:
        code = int(found[1])
    if facts.exit_code is not None or code is None:
        return facts
    number = code - SHELL_SIGNAL_BASE if code > SHELL_SIGNAL_BASE else None
    return replace(facts, exit_code=code, signal=number)


def _summary(kind: FailureKind, facts: Facts, said: str) -> str:
    words = own_last_words(facts)
    behind = f": {words}" if words else ""
    match kind:
        case FailureKind.OUT_OF_MEMORY:
            return f"Out of memory{_had(facts, 'mem_mb', 'MB')}; its container was ended{behind}"
        case FailureKind.TIME_LIMIT:
            return (
                f"It took longer than it was allowed to{_had(facts, 'runtime', 'minutes')}; AWS Batch ended it{behind}"
            )
        case FailureKind.NODE_LOST | FailureKind.PREEMPTED:
            return f"The machine it ran on was taken away: {said}"[:LONGEST_WORDS]
        case FailureKind.IMAGE_PULL:
            return f"The image of its container cannot be had: {said}"[:LONGEST_WORDS]
    return f"It was terminated in AWS Batch, not by this run: {said}"[:LONGEST_WORDS]


def _had(facts: Facts, resource: str, unit: str) -> str:
    had = facts.resources.get(resource)
    return f" (it had {had} {unit})" if isinstance(had, int) else ""


def _suggestion(kind: FailureKind, facts: Facts, bounds: Bounds) -> dict[str, object] | None:
    if kind is FailureKind.OUT_OF_MEMORY:
        had = facts.resources.get("mem_mb")
        return more(facts.rule, "mem_mb", had, at_most=bounds.mem_mb, otherwise=2 * DEFAULT_MEM_MB)
    if kind is FailureKind.TIME_LIMIT:
        had = facts.resources.get("runtime")
        return more(facts.rule, "runtime", had, at_most=bounds.runtime_min, otherwise=2 * DEFAULT_RUNTIME_MIN)
    return {} if kind in TRANSIENT or kind is FailureKind.CANCELLED else None
