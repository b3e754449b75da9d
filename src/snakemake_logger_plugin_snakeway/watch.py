"""When jobs that run elsewhere start.

Snakemake tells when it submits a job and when it notices its end. In between, which may be days, only the job's marker
changes (see `markers`).
"""

import threading
from dataclasses import dataclass
from time import monotonic

from snakemake_logger_plugin_snakeway.guard import Guard
from snakemake_logger_plugin_snakeway.markers import Markers
from snakeway.wire import Event, EventType, EventWriter

TICK_S = 0.25  # a job that starts at once overwrites its scheduler's id as soon as snakemake is imported there
LONGEST_PAUSE_S = 15.0  # between two looks at one job
LOOKS_PER_TICK = 25  # a file server is not to notice a thousand waiting jobs
STOP_S = 1.0
_GROWTH = 1.5


@dataclass(eq=False)
class Try:
    """One try of a job, from its submission to its end. Times are in seconds since the epoch."""

    since: float
    members: Event  # of the event of its submission
    started: float | None = None
    external_id: str | None = None
    scheduler_log: str | None = None


@dataclass
class _Look:
    due: float
    pause: float = TICK_S


class Watch:
    """Looks at the markers of jobs from a thread of its own, and records what they tell.

    A job is looked at until it has started, at first at each tick, later less often. A job that starts and ends between
    two looks is missed: its start stays unknown.
    """

    def __init__(self, writer: EventWriter, markers: Markers, guard: Guard) -> None:
        self._writer = writer
        self._guard = guard
        self._markers = markers
        self._lock = threading.Lock()
        self._looks: dict[Try, _Look] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, tried: Try) -> None:
        """Watch a job that has outputs."""
        with self._lock:
            self._looks[tried] = _Look(monotonic() + TICK_S)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snakeway-watch", daemon=True)
            self._thread.start()

    def drop(self, tried: Try) -> None:
        """Watch a job no longer."""
        with self._lock:
            self._looks.pop(tried, None)

    def stop(self) -> None:
        """Watch nothing any more; does not wait for a look that hangs in the file system."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            with self._lock:
                due = [tried for tried, look in self._looks.items() if look.due <= monotonic()][:LOOKS_PER_TICK]
            for tried in due:
                with self._guard():
                    self._look_at(tried)

    def _look_at(self, tried: Try) -> None:
        marker = self._markers.incomplete(tried.members["output"][0])
        with self._lock:
            look = self._looks.get(tried)
            if look is None:
                return
            look.pause = min(LONGEST_PAUSE_S, look.pause * _GROWTH)
            look.due = monotonic() + look.pause
        if marker is None:
            return
        names = {"job": tried.members["job"], "try": tried.members["try"]}
        if marker.external_id is not None and tried.external_id is None:
            tried.external_id = marker.external_id
            self._writer.write(EventType.JOB_SUBMITTED, **names, external_id=marker.external_id)
        elif marker.external_id is None:
            self.drop(tried)
            tried.started = marker.t
            self._writer.write(EventType.JOB_STARTED, **names, started_at=marker.t)
