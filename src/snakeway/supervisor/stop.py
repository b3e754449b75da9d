"""The stop ladder: SIGINT to snakemake's group, then SIGKILL, each with its own time.

Measured on Snakemake 9.27: SIGINT to the whole group cancels cluster jobs and ends local ones within about a second;
SIGTERM would wait for running jobs, SIGKILL leaves cluster jobs running.
"""

import signal
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from snakeway.settings import Settings
from snakeway.supervisor.process import Identity, signal_group


class Rung(Enum):
    """How far up the ladder a stop has climbed."""

    NONE = 0
    INTERRUPTED = 1
    KILLED = 2
    GIVEN_UP = 3  # the attempt is judged without its exit.json


@dataclass(slots=True)
class StopLadder:
    """One attempt being stopped. Lost with its supervisor: the next one begins at the foot again."""

    settings: Settings
    rung: Rung = Rung.NONE
    since: datetime | None = None  # when the rung was reached

    def climb(self, group: Identity | None, now: datetime) -> Rung:
        """Take the next step if its time has come; ``group`` is snakemake's leader, None between two of its steps."""
        if self.rung is Rung.NONE:
            if group is not None:
                signal_group(group, signal.SIGINT)
                self._reach(Rung.INTERRUPTED, now)
        elif self.rung is Rung.INTERRUPTED and self._waited(now, self.settings.stop_interrupt_grace_s):
            if group is not None:
                signal_group(group, signal.SIGKILL)
            self._reach(Rung.KILLED, now)
        elif self.rung is Rung.KILLED and self._waited(now, self.settings.stop_kill_grace_s):
            self._reach(Rung.GIVEN_UP, now)
        return self.rung

    def _reach(self, rung: Rung, now: datetime) -> None:
        self.rung, self.since = rung, now

    def _waited(self, now: datetime, grace_s: float) -> bool:
        assert self.since is not None
        return now - self.since >= timedelta(seconds=grace_s)
