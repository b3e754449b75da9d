"""What the event files below a working directory tell, read where they are: no server, no database.

Needs the standard library and the rules of jobs only, so it works where nothing but the logger plugin is installed.
"""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from snakeway.errors import NotFound
from snakeway.model import complaint
from snakeway.model import outside as rules
from snakeway.model.job import Job, JobState, merge
from snakeway.wire import EVENTS_FILE, STATE_FOLDER, Event, EventType, read_events

_CHUNK_BYTES = 4 * 1024 * 1024
_CLOCK_SLACK_S = 2.0  # the kernel tells its start to the second
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_STAT_STATE, _STAT_START = 0, 19  # fields of /proc/PID/stat behind the command name, proc(5)


class Life(StrEnum):
    """Whether an attempt goes on.

    ALIVE    its process is there.
    ENDED    it said so.
    LOST     its process is gone without a word.
    UNKNOWN  its process is, or was, on another host.
    """

    ALIVE = "alive"
    ENDED = "ended"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass
class Attempt:
    """One attempt as far as its events were read."""

    events: Path
    offset: int = 0
    started: Event = field(default_factory=dict)
    ended: Event | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    error: str | None = None
    last_t: float | None = None

    @property
    def directory(self) -> Path:
        """The working directory that the events are in."""
        return self.events.parent.parent.parent.parent

    @property
    def id(self) -> str:
        return str(self.started.get("attempt_id", self.events.parent.name))

    @property
    def run_id(self) -> str:
        return str(self.started.get("run_id", ""))

    def read(self) -> Iterator[Event]:
        """Take in what was written since the last call, and yield it."""
        while True:
            found, behind = read_events(self.events, self.offset, _CHUNK_BYTES)
            if behind == self.offset:
                return
            self.offset = behind
            for event in found:
                self._take(event)
                yield event

    def _take(self, event: Event) -> None:
        self.last_t = event["t"]
        match event["type"]:
            case EventType.ATTEMPT_STARTED:
                self.started = event
            case EventType.STATS:
                self.total = event.get("total") or 0
            case EventType.PROGRESS:
                self.done, self.total = event.get("done") or 0, event.get("total") or 0
            case EventType.ERROR:
                self.error = complaint.words(event)
            case EventType.ATTEMPT_ENDED:
                self.ended = event
            case _ if "job" in event:
                merge(self.jobs.setdefault(event["job"], Job(event["job"])), event)

    def life(self) -> Life:
        """Return whether it goes on."""
        if self.ended is not None:
            return Life.ENDED
        alive = is_alive(self.started)
        return Life.UNKNOWN if alive is None else Life.ALIVE if alive else Life.LOST

    def states(self) -> Counter[JobState]:
        """Return how many jobs are in each state; of a lost attempt none is open any more."""
        found = Counter(job.state for job in self.jobs.values())
        if self.life() is Life.LOST:
            found[JobState.LOST] += found.pop(JobState.SUBMITTED, 0) + found.pop(JobState.RUNNING, 0)
        return +found

    def exit_code(self) -> int | None:
        """Return how snakemake ended, as far as the events tell; None while they do not."""
        if self.ended is None:
            return None
        states = self.states()
        open_ = states[JobState.SUBMITTED] + states[JobState.RUNNING]
        return rules.judge(failed=states[JobState.FAILED], unfinished=open_, error=self.error is not None).exit_code


def attempts_in(directory: Path) -> list[Attempt]:
    """Return the attempts in a working directory, read to their end, oldest first; raises NotFound if there is none."""
    found = []
    for file in sorted((directory / STATE_FOLDER / "attempts").glob(f"*/{EVENTS_FILE}")):
        attempt = Attempt(file)
        for _ in attempt.read():
            pass
        if attempt.started:
            found.append(attempt)
    if not found:
        raise NotFound(
            f"no attempt has been recorded in {directory}: is it the directory in which snakemake ran, "
            "with a profile that has 'logger: [snakeway]'?"
        )
    return sorted(found, key=lambda attempt: (attempt.started["t"], attempt.id))


def is_alive(started: Event) -> bool | None:
    """Whether the process that wrote ``started`` is still there; None when that cannot be told from this host.

    A pid may have been given to another process since; but one that has it now, and began before the event was
    written, is the one that wrote it.
    """
    pid, began = started.get("pid"), started.get("t")
    if started.get("host") != platform.node() or not isinstance(pid, int) or not isinstance(began, int | float):
        return None
    try:
        boot_s = _boot_time_s()
    except (OSError, ValueError):
        return None  # no /proc
    fields = _stat(pid)
    if fields is None or fields[_STAT_STATE] in ("Z", "X"):
        return False
    return boot_s + int(fields[_STAT_START]) / _TICKS <= began + _CLOCK_SLACK_S


def _boot_time_s() -> float:
    for line in (_PROC / "stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "btime":
            return float(value)
    raise ValueError("no btime")


def _stat(pid: int) -> list[Any] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 1 :].split()  # the command name before it may hold blanks and parentheses
