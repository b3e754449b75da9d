"""An attempt is one snakemake process of a run; this is what it may do and how its end is judged."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from snakeway.errors import Invalid
from snakeway.model.image import check_image

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_QUANTITY = re.compile(r"\d{1,18}(\.\d{1,6})?\s?[A-Za-z]{0,8}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:/@+-]{0,254}", re.ASCII)  # a partition, a QOS, a queue


class AttemptState(StrEnum):
    """Where an attempt stands.

    QUEUED     committed by whoever asked for it; no process. A crash leaves it queued.
    STARTING   claimed by a supervisor (lease), process not yet seen. A crash leaves it to be launched again: the
               attempt's directory can be claimed by one process only.
    RUNNING    its process was seen. A crash of the supervisor leaves the process running, to be adopted.
    SUCCEEDED, FAILED   snakemake ended by itself, with exit code 0 or another.
    CANCELLED  ended, or never started, after somebody asked for the stop.
    LOST       its process is gone without a word, or was killed from outside: nobody knows how far it came.
    """

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class AttemptReason(StrEnum):
    """Why an attempt was queued."""

    SUBMIT = "submit"
    RERUN = "rerun"
    RECOVERY = "recovery"  # the attempt before it was lost
    APPROVAL = "approval"  # somebody approved a gate
    OUTSIDE = "outside"  # snakemake was started by hand; the attempt is only recorded


_S = AttemptState
ENDED = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.LOST})
HELD = frozenset({_S.STARTING, _S.RUNNING})  # a supervisor's lease is on it

MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    _S.QUEUED: frozenset({_S.STARTING, _S.CANCELLED}),
    _S.STARTING: frozenset({_S.RUNNING, *ENDED}),
    _S.RUNNING: ENDED,
    **dict.fromkeys(ENDED, frozenset()),
    _S.LOST: frozenset({_S.RUNNING}),  # only one that was started by hand, when it is heard of again
}


@dataclass(frozen=True, slots=True)
class Exit:
    """What the shim wrote when the attempt's last process ended: the only thing that ends an attempt by itself."""

    step: str  # unlock, plan or run
    exit_code: int | None  # None when a signal ended it
    signal: int | None
    ended_at: float  # seconds since the epoch
    write_error: str | None = None  # why no file could be written any more, in the system's words


def outcome(exit_: Exit | None, *, stop_requested: bool) -> AttemptState:
    """Judge an ended attempt. ``exit_`` None means: process dead, no record of its end.

    "Cancelled" is recorded intent, never read off an exit code: every orderly Snakemake stop exits 1. A run that
    finished before the stop reached it has succeeded. A signal that nobody here sent is a loss, not a failure of the
    workflow: the kernel's OOM killer, an administrator, a node going down.
    """
    if exit_ is not None and exit_.exit_code == 0:
        return AttemptState.SUCCEEDED
    if stop_requested:
        return AttemptState.CANCELLED
    if exit_ is None or exit_.exit_code is None:
        return AttemptState.LOST
    return AttemptState.FAILED


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one attempt does differently from the workflow and its profile; maps onto snakemake's own options."""

    set_resources: dict[str, dict[str, int | str]] = field(default_factory=dict)  # rule -> resource -> value
    set_threads: dict[str, int] = field(default_factory=dict)  # rule -> threads
    targets: list[str] = field(default_factory=list)
    until: list[str] = field(default_factory=list)
    forcerun: list[str] = field(default_factory=list)
    forceall: bool = False
    image: str | None = None  # or a tag of the target's image, see model/image.py

    def check(self) -> None:
        """Raise Invalid unless every value is what it claims to be.

        Snakemake evaluates a resource given as text as a Python expression, and takes what begins with a dash for an
        option; so only plain numbers, sizes and times ("4GB", "2h") and plain words pass, which are quoted for it.
        """
        if self.image is not None:
            check_image(self.image)
        for rule, resources in self.set_resources.items():
            _check_name(rule, "set_resources")
            for name, value in resources.items():
                _check_name(name, f"set_resources.{rule}")
                if not (is_quantity(value) or _WORD.fullmatch(str(value))):
                    raise Invalid(
                        f"resource {name} of rule {rule} must be a number, a quantity such as 4GB, or a word such as "
                        f"the name of a partition, not {value!r}",
                        field=f"set_resources.{rule}.{name}",
                    )
        for rule, threads in self.set_threads.items():
            _check_name(rule, "set_threads")
            if threads < 1:
                raise Invalid(f"rule {rule} needs at least one thread, not {threads}", field=f"set_threads.{rule}")
        for member, values in (("until", self.until), ("forcerun", self.forcerun), ("targets", self.targets)):
            for value in values:
                if not value or value.startswith("-") or not value.isprintable():
                    raise Invalid(f"{value!r} is neither a rule nor a file name", field=member)

    def as_json(self) -> dict[str, Any]:
        """Return what is stored; its lists and objects are shared, so they are not to be changed."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Overrides":
        """Read what :meth:`as_json` returned; unknown members (of a newer version) are left out."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**known)


def is_quantity(value: int | str) -> bool:
    """Whether a resource is a number, a size or a time, which Snakemake reads as it stands."""
    return _QUANTITY.fullmatch(str(value)) is not None


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise Invalid(f"{name!r} is not a name of a rule or resource", field=where)
