"""Collects outputs beside the loop: hashing terabytes delays no run, and a silent storage no other attempt."""

import logging
import threading
from dataclasses import dataclass
from time import monotonic

from snakeway.blobs import Storages
from snakeway.errors import BlobsRefused, BlobsUnavailable, Invalid, Unavailable
from snakeway.rows import AttemptRow
from snakeway.settings import Settings
from snakeway.store import Store, artifacts
from snakeway.supervisor import collect
from snakeway.supervisor.report import Report

log = logging.getLogger(__name__)

_AT_ONCE = 100
_STOP_S = 2  # an ending supervisor waits no longer for a digest; its successor computes it
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class _Later:
    """When an attempt whose storage did not answer is tried again (monotonic seconds)."""

    due: float
    pause_s: float


class Collector:
    """The thread of one supervisor that collects. What is still to do is in the database, not here."""

    def __init__(self, owner: str, store: Store, settings: Settings, storages: Storages, report: Report) -> None:
        self._owner = owner
        self._store = store
        self._settings = settings
        self._storages = storages
        self._report = report
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._found: set[str] = set()  # attempts whose outputs are listed but not read
        self._later: dict[str, _Later] = {}
        self._thread = threading.Thread(target=self._run, name="snakeway-collect", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look whether there is something to do. Called now and then, too: it ends the pauses."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more, and wait a little for what is being done."""
        self._stop.set()
        self._wake.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                while not self._stop.is_set() and self.collect_one():
                    pass
            except (Unavailable, OSError) as error:
                log.warning("collecting outputs: %s", error)

    def collect_one(self) -> bool:
        """List the outputs of every attempt that ended, then read those of the one that ended first; False: no more."""
        with self._store.read() as tx:
            todo = artifacts.to_collect(tx, self._owner, _AT_ONCE + len(self._later))
        self._later = {row.id: self._later[row.id] for row in todo if row.id in self._later}
        ready = [row for row in todo if self._is_due(row)]
        for row in ready:
            if row.id not in self._found:
                self._found.add(row.id)
                self._report.spans_of(row)
                self._patiently(row, collect.find)
        if not ready:
            self._found &= {row.id for row in todo}
            return False
        first = next(filter(self._is_due, ready), None)
        if first is not None and self._patiently(first, collect.digest):
            self._later.pop(first.id, None)
        return True

    def _is_due(self, row: AttemptRow) -> bool:
        later = self._later.get(row.id)
        return later is None or later.due <= monotonic()

    def _patiently(self, row: AttemptRow, step: collect.Step) -> bool:
        """Take a step; whether it worked. Of a storage that does not serve the first trouble is logged."""
        try:
            step(self._store, self._settings, self._storages, row)
        except (BlobsUnavailable, BlobsRefused, Invalid) as error:
            before = self._later.get(row.id)
            pause_s = _FIRST_PAUSE_S if before is None else min(2 * before.pause_s, _LONGEST_PAUSE_S)
            if before is None:
                log.warning("outputs of attempt %d of run %s are collected later: %s", row.number, row.run_id, error)
            self._later[row.id] = _Later(monotonic() + pause_s, pause_s)
            return False
        return True
