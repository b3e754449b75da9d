"""Ends of jobs that the Slurm plugin would wait for without end.

Version 2.8 goes on waiting for a job in one of these states, and for one that Slurm has forgotten:

- PREEMPTED, where preempted jobs are cancelled and not put back into the queue;
- "CANCELLED by UID", as sacct writes it, where that is the status command;
- no state at all: the job's record was removed (MinJobAge has passed, or the controller has lost its state).
"""

import time
from collections.abc import Iterable

OVER = frozenset({"PREEMPTED", "CANCELLED", "REVOKED", "DEADLINE", "BOOT_FAIL"})
ALIVE = frozenset(
    {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "REQUEUED", "RESIZING", "SIGNALING"}
)
FORGOTTEN = "FORGOTTEN"  # our word: Slurm has none
_SURE_AFTER_S = 10.0  # a preempted job that goes back into the queue is PREEMPTED for a moment
_FORGOTTEN_AFTER_S = 120.0  # sbatch has given out its number, so it was there once


class Overlooked:
    """Remembers since when a job has been seen to be over."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def look(self, waiting: Iterable[str], states: dict[str, str], at: float | None = None) -> dict[str, str]:
        """Return id -> state of those ``waiting`` jobs that are over, after a time in which that may still change."""
        now = time.monotonic() if at is None else at
        found: dict[str, str] = {}
        for id_ in waiting:
            state = states.get(id_, FORGOTTEN)
            if state not in OVER and state != FORGOTTEN:
                self._since.pop(id_, None)
                continue
            known, since = self._since.setdefault(id_, (state, now))
            if known != state:
                self._since[id_] = state, now
            elif now - since >= (_FORGOTTEN_AFTER_S if state == FORGOTTEN else _SURE_AFTER_S):
                found[id_] = state
        return found
