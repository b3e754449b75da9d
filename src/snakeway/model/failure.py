"""A failure is why a job, or a whole attempt, did not succeed: its kind, and the re-run that would cure it."""

import signal as signals
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from snakeway.model.attempt import Overrides
from snakeway.model.scheduled import Scheduled


class FailureKind(StrEnum):
    """What went wrong.

    EXIT_CODE            the command ended with an exit code that tells no more.
    SIGNAL               a signal ended it, and nothing says who sent it.
    OUT_OF_MEMORY        it needed more memory than it had.
    TIME_LIMIT           it took longer than it was allowed to.
    NO_SPACE             a disk or a quota is full.
    NODE_LOST            the machine it ran on is gone.
    PREEMPTED            the scheduler took its machine away.
    IMAGE_PULL           the image of its container cannot be had.
    MISSING_OUTPUT       it ended well but did not write what its rule promises.
    MISSING_INPUT        a file that nothing makes is not there.
    STORAGE_UNREACHABLE  object storage does not answer, or does not have what is asked for.
    STORAGE_REFUSED      object storage does not accept the key or what it asks for, or has no such bucket.
    INVALID_TARGET       what the target's profile needs of its environment is missing or wrong.
    INVALID_CONFIG       the configuration is not what the workflow wants.
    INVALID_WORKFLOW     the workflow's rules cannot be understood.
    LOCKED               another snakemake works in the directory, or has left its lock there.
    REFUSED              the scheduler did not accept it.
    REJECTED             a person rejected what the gate shows.
    CANCELLED            somebody asked for the end.
    UNKNOWN              nothing is known.
    """

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIME_LIMIT = "time_limit"
    NO_SPACE = "no_space"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    IMAGE_PULL = "image_pull"
    MISSING_OUTPUT = "missing_output"
    MISSING_INPUT = "missing_input"
    STORAGE_UNREACHABLE = "storage_unreachable"
    STORAGE_REFUSED = "storage_refused"
    INVALID_TARGET = "invalid_target"
    INVALID_CONFIG = "invalid_config"
    INVALID_WORKFLOW = "invalid_workflow"
    LOCKED = "locked"
    REFUSED = "refused"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """The kind as people say it."""
        return self.value.replace("_", " ")


# Nothing about these has to change: the same again may well succeed.
TRANSIENT = frozenset({FailureKind.NODE_LOST, FailureKind.PREEMPTED, FailureKind.STORAGE_UNREACHABLE})

NO_SPACE_WORDS = r"[Nn]o space left on device|[Dd]isk quota exceeded"  # ENOSPC, EDQUOT; a regular expression


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception of a rule's own Python code."""

    exception: str  # its class
    message: str
    file: str  # of the workflow, whose line raised it or called what did
    line: int

    @property
    def of_a_command(self) -> bool:
        """Whether it only says that a command failed, and quotes that."""
        return self.exception == "CalledProcessError"

    @property
    def words(self) -> str:
        """All of it, for people."""
        said = f": {self.message}" if self.message else ""
        return f"{self.exception}{said} ({self.file.rpartition('/')[2]}, line {self.line})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a failed job when it is judged. Texts may be empty, numbers None: not known."""

    rule: str
    exit_code: int | None = None  # 128 + signal when killed
    signal: int | None = None
    message: str = ""  # Snakemake's
    log_tail: str = ""  # end of the job's own log
    stderr_tail: str = ""  # end of what it wrote to standard error
    raised: Raised | None = None  # by its own Python code
    shell: str = ""
    threads: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    oom_killed: bool | None = None  # whether the kernel ended a process of the host for want of memory meanwhile
    scheduler: Scheduled | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A judged failure. ``suggestion`` is what a re-run has to do differently to succeed.

    It has the members of `Overrides` that are to be set; an empty one means that the same again may succeed, None that
    something has to be mended first.
    """

    kind: FailureKind
    summary: str  # one sentence
    exit_code: int | None = None
    signal: int | None = None
    host: str | None = None
    scheduler: str | None = None  # its own words
    stderr: str | None = None
    file: str | None = None  # of the workflow, where the mistake is
    line: int | None = None
    suggestion: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a suggestion asks for."""

    mem_mb: int
    runtime_min: int


def more(rule: str, resource: str, had: Any, *, at_most: int, otherwise: int) -> dict[str, Any] | None:
    """Suggest the double of a resource, up to a bound; ``otherwise`` if the job had none; None if it had the most."""
    amount = had if isinstance(had, int) and not isinstance(had, bool) and had > 0 else None
    wanted = min(otherwise if amount is None else 2 * amount, at_most)
    if amount is not None and wanted <= amount:
        return None
    return {"set_resources": {rule: {resource: wanted}}}


def combine(suggestions: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Put the suggestions for several jobs together: of each resource of a rule the most; None if there are none."""
    found = [suggestion for suggestion in suggestions if suggestion is not None]
    if not found:
        return None
    resources: dict[str, dict[str, int]] = {}
    for suggestion in found:
        for rule, values in suggestion.get("set_resources", {}).items():
            known = resources.setdefault(rule, {})
            for name, value in values.items():
                known[name] = max(value, known.get(name, value))
    return {"set_resources": resources} if resources else {}


def apply(suggestion: Mapping[str, Any], before: Overrides, asked: Overrides) -> Overrides:
    """Return what an attempt does: what the one before had, the suggestion, and what is asked for.

    The later wins, rule by rule and resource by resource. A job that an earlier suggestion cured is not made smaller
    again. Which targets, and what is forced, comes from ``asked`` alone.
    """
    resources: dict[str, dict[str, int | str]] = {}
    for layer in (before.set_resources, suggestion.get("set_resources", {}), asked.set_resources):
        for rule, values in layer.items():
            resources.setdefault(rule, {}).update(values)
    return Overrides(
        set_resources=resources,
        set_threads={**before.set_threads, **asked.set_threads},
        targets=asked.targets,
        until=asked.until,
        forcerun=asked.forcerun,
        forceall=asked.forceall,
    )


def signal_name(number: int) -> str:
    """Return SIGKILL for 9."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
