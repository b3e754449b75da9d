"""What jobs elsewhere are printing, for those who look while they run.

It is fetched as it is asked for, into a temporary file, so that ranges and last lines are served as of any other log.
Only the newest part is fetched each time. Lost with the process, and fetched again.
"""

import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from snakeway.cloudwatch import Position
from snakeway.errors import Unavailable
from snakeway.targets import Logs, SchedulerAway

_FRESH_S = 2.0  # so long after a look nobody asks again
_MOST_FILES = 64
_MOST_BYTES_AT_ONCE = 16 * 1024 * 1024  # the next look goes on behind it
_MOST_BYTES = 512 * 1024 * 1024  # of one log; the rest is had when the job has ended


@dataclass(slots=True)
class _Copy:
    path: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    position: Position | None = None
    looked_at: float = float("-inf")  # monotonic


class LiveLogs:
    """The logs that were looked at last."""

    def __init__(self, fresh_s: float = _FRESH_S) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="snakeway-logs-")).resolve()  # the folder with the files
        weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self._fresh_s = fresh_s
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._lock = threading.Lock()

    def file(self, logs: Logs, run_id: str, external_id: str) -> Path | None:
        """Return a file with what a job has printed up to now; None if that is nothing. Raises Unavailable."""
        copy = self._copy(f"{run_id}/{external_id}")
        with copy.lock:
            if time.monotonic() - copy.looked_at >= self._fresh_s:
                try:
                    self._go_on(copy, logs, run_id, external_id)
                except SchedulerAway as error:
                    if copy.position is not None:  # it is good for a day only: the next look begins anew
                        copy.position = None
                        copy.path.unlink(missing_ok=True)
                    raise Unavailable(f"the log of the job cannot be fetched now: {error}; try again later") from error
                copy.looked_at = time.monotonic()
            return copy.path if copy.path.exists() else None

    def _go_on(self, copy: _Copy, logs: Logs, run_id: str, external_id: str) -> None:
        fetched_bytes = copy.path.stat().st_size if copy.path.exists() else 0
        most_bytes = min(_MOST_BYTES, fetched_bytes + _MOST_BYTES_AT_ONCE)
        if fetched_bytes >= most_bytes:
            return
        for piece, position in logs.more(run_id, external_id, copy.position):
            if piece:
                with copy.path.open("ab") as file:
                    file.write(piece)
            copy.position = position
            fetched_bytes += len(piece)
            if fetched_bytes >= most_bytes:
                return

    def _copy(self, key: str) -> _Copy:
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                copy = self._copies[key] = _Copy(self.root / secrets.token_hex(16))
            self._copies.move_to_end(key)
            if len(self._copies) > _MOST_FILES:
                _, oldest = self._copies.popitem(last=False)
                oldest.path.unlink(missing_ok=True)  # who reads it has it open
            return copy
