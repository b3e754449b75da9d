"""What this machine tells about a job that has just failed: its last words, and whether its memory was taken away."""

import logging
import os
import stat
import sys
import threading
import time
from pathlib import Path

from snakeway.wire import LOG_TAIL_BYTES, LOG_TAIL_LINES

_SAYING_S = 0.05
_VMSTAT = Path("/proc/vmstat")
_OOM_KILL = "oom_kill "  # proc(5): processes that the out-of-memory killer ended since boot, also within a cgroup


class StandardError(logging.Handler):
    """Knows what jobs have written to the standard error that they share with snakemake.

    Jobs beside snakemake write to its standard error, between what Snakemake itself says there. If that is a file, as
    it is for attempts of the service, what was written since Snakemake last said something is the jobs' own. As a
    handler it comes after the one that writes Snakemake's words, and then looks how long the file is. With several jobs
    at a time their words are mixed; nobody can tell them apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = self._size()
        self.attached = False  # to Snakemake's logger, so that `emit` is called for every record
        self._saying: set[int] = set()  # threads between the first look at a record and `emit`

    def begin(self) -> None:
        """Note that this thread is about to write what Snakemake says."""
        if self.attached:
            self._saying.add(threading.get_ident())

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self._said = self._size()
        self._saying.discard(threading.get_ident())

    def tail(self) -> str:
        """Return the end of what jobs have written since Snakemake last said something.

        Nothing while another thread is saying something: its words would pass for the jobs'. That takes microseconds.
        """
        deadline = time.monotonic() + _SAYING_S
        while self._saying - {threading.get_ident()}:
            if time.monotonic() > deadline:
                return ""
            time.sleep(_SAYING_S / 50)
        size = self._size()
        if size is None or self._said is None or size <= self._said:
            return ""
        start = max(self._said, size - LOG_TAIL_BYTES)
        try:
            # Standard error is open for writing only.
            with Path(f"/proc/self/fd/{sys.__stderr__.fileno()}").open("rb") as file:  # type: ignore[union-attr]
                file.seek(start)
                text = file.read(size - start).decode(errors="replace")
        except (OSError, ValueError, AttributeError):
            return ""
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

    @staticmethod
    def _size() -> int | None:
        try:
            status = os.fstat(sys.__stderr__.fileno())  # type: ignore[union-attr]
        except (OSError, ValueError, AttributeError):  # closed, or replaced by something without a descriptor
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None


class OomKiller:
    """Counts the kernel's out-of-memory kills, so that a job that SIGKILL ended can be told to be one of them."""

    def __init__(self, vmstat: Path = _VMSTAT) -> None:
        self._vmstat = vmstat
        self._seen = self._count()
        self._unexplained = 0

    def claim(self) -> bool | None:
        """Whether a kill has happened that no earlier call has claimed; None where the kernel does not tell."""
        count = self._count()
        if count is None or self._seen is None:
            return None
        self._unexplained += max(0, count - self._seen)
        self._seen = count
        if not self._unexplained:
            return False
        self._unexplained -= 1
        return True

    def _count(self) -> int | None:
        try:
            for line in self._vmstat.read_text().splitlines():
                if line.startswith(_OOM_KILL):
                    return int(line.removeprefix(_OOM_KILL))
        except (OSError, ValueError):
            pass
        return None
