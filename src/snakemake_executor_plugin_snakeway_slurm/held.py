"""Jobs that Slurm does not accept for now: they wait here, and Slurm is asked about one of them at a time.

Those that were refused for the same reason, with the same account, partition and QOS, wait behind one another. When a
pause is over, the first is submitted again; once it is accepted the next follows at once, and when it is refused again
all go on waiting. So a full queue is asked once in a pause, however many jobs wait.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Held(Generic[Job]):
    """The waiting jobs; ``submit`` has one submitted and returns at once."""

    def __init__(
        self, submit: Callable[[Job], object], timer: Callable[..., threading.Timer] = threading.Timer
    ) -> None:
        self._submit = submit
        self._timer = timer
        self._lock = threading.Lock()
        self._lines: dict[Hashable, deque[Job]] = {}
        self._tried: dict[int, Hashable] = {}  # id of a job that is being submitted again -> its line
        self._timers: dict[Hashable, threading.Timer] = {}
        self._closed = False

    def refused(self, job: Job, key: Hashable, pause_s: float) -> bool:
        """Let a job wait in the line ``key``; returns whether it is new there."""
        with self._lock:
            again = self._tried.pop(id(job), None) == key
            line = self._lines.setdefault(key, deque())
            if again:
                line.appendleft(job)
            else:
                line.append(job)
            if key not in self._timers and not self._closed:
                timer = self._timers[key] = self._timer(pause_s, self._try_first, (key,))
                timer.daemon = True
                timer.start()
            return not again

    def accepted(self, job: Job) -> None:
        """Have the next one of a line tried, now that its first was accepted."""
        with self._lock:
            key = self._tried.pop(id(job), None)
        if key is not None:
            self._try_first(key)

    def close(self) -> None:
        """Submit nothing any more."""
        with self._lock:
            self._closed = True
            self._lines.clear()
            for timer in self._timers.values():
                timer.cancel()

    def _try_first(self, key: Hashable) -> None:
        with self._lock:
            self._timers.pop(key, None)
            line = self._lines.get(key)
            if not line or self._closed:
                return
            job = line.popleft()
            self._tried[id(job)] = key
        self._submit(job)
