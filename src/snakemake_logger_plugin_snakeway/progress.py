"""How many of the jobs are done. Snakemake tells it after each; the events of jobs are exact, this is for a look."""

import threading
from logging import LogRecord

from snakeway.wire import EventType, EventWriter

PROGRESS_EVERY_S = 1.0


class Progress:
    """Writes what Snakemake tells once a second, when it is the last, and when the total changes."""

    def __init__(self, writer: EventWriter) -> None:
        self.complete = threading.Event()  # all are done; a checkpoint can still add some
        self._writer = writer
        self._latest: tuple[int, int] | None = None  # passed over by `due`
        self._due_t = 0.0
        self._total = 0

    def due(self, record: LogRecord) -> bool:
        """Whether `take` is to get the PROGRESS ``record``; to be asked of each, one at a time and in their order."""
        done, total = getattr(record, "done", 0), getattr(record, "total", 0)
        if done == total:
            self.complete.set()
        elif self.complete.is_set():
            self.complete.clear()
        # The total grows when a checkpoint adds jobs.
        if done == total or total != self._total or record.created - self._due_t >= PROGRESS_EVERY_S:
            self._latest, self._due_t, self._total = None, record.created, total
            return True
        self._latest = done, total
        return False

    def take(self, record: LogRecord) -> None:
        """Write what a record says that is `due`."""
        self._write(record.created, record.__dict__["done"], record.__dict__["total"])

    def end(self, t: float) -> None:
        """Write the last one, if it was passed over."""
        if self._latest is not None:
            self._write(t, *self._latest)
            self._latest = None

    def _write(self, t: float, done: int, total: int) -> None:
        self._writer.write(EventType.PROGRESS, t, done=done, total=total)
