"""The stop ladder: SIGINT to snakemake's group, then SIGKILL.

Measured on Snakemake 9.27: SIGINT to the whole group cancels cluster jobs and ends local ones within about a second;
SIGTERM would wait for running jobs, SIGKILL leaves cluster jobs running.

The shim climbs it, when the supervisor has made the file ``stop``: so a stop works across hosts and pid namespaces, and
goes on while the supervisor is away. Only if the shim itself does not answer does the supervisor judge without it.
"""

import contextlib
import os
import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Graces:
    """How long each rung has, in seconds."""

    interrupt_s: float
    kill_s: float

    @property
    def total_s(self) -> float:
        """Time after which an attempt whose stop was asked for has ended, if its shim works."""
        return self.interrupt_s + self.kill_s


class StopLadder:
    """One process group being stopped; ``climb`` is called again and again until the group's leader has ended."""

    def __init__(self, graces: Graces, group: int) -> None:
        self._graces = graces
        self._group = group
        self._interrupted_at: float | None = None

    def climb(self, now_s: float) -> None:
        """Send the signal whose time has come; ``now_s`` is a monotonic clock."""
        if self._interrupted_at is None:
            self._interrupted_at = now_s
            self._signal(signal.SIGINT)
        elif now_s - self._interrupted_at >= self._graces.interrupt_s:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)
