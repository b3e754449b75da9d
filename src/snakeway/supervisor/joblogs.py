"""Keeps what jobs have printed, where neither their snakemake nor a shared file system did.

The executor fetches the log of each job when it ends. This is for what it could not: a snakemake that was killed, or
stopped while its jobs were running.
"""

import logging
from pathlib import Path

from snakeway.directory import run_directory
from snakeway.owner import of_directory
from snakeway.rows import AttemptRow
from snakeway.settings import Settings
from snakeway.store import Store, scheduled
from snakeway.targets import Logs, SchedulerAway
from snakeway.wire import SCHEDULER_LOG_BYTES, SCHEDULER_LOG_LINES

log = logging.getLogger(__name__)


class JobLogs:
    """Fetches logs into runs' directories; used by one thread."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def keep(self, logs: Logs, row: AttemptRow, done: set[str]) -> None:
        """Keep the logs of an attempt's jobs, all of which have ended; ``done`` are those that were looked at.

        Cost: one look at a file for each job, and some requests for each whose file is missing. Crash meanwhile: the
        attempt has not ended, and who comes next looks again. Raises SchedulerAway.
        """
        with self._store.read() as tx:
            found = scheduled.logs(tx, row.id)
        for external_id, place in found:
            if external_id not in done:
                self._keep_one(logs, row.run_id, external_id, place)
                done.add(external_id)

    def end(self, logs: Logs, run_id: str, external_id: str) -> str:
        """Return the end of what a job has printed so far, as far as that can be had at the first try.

        It is not kept: where it comes from, some lines may arrive later.
        """
        try:
            text = logs.end(run_id, external_id)[-SCHEDULER_LOG_BYTES:]
        except SchedulerAway as error:
            text = b""
            log.info("what job %s of run %s has printed is not known: %s", external_id, run_id, error)
        return "\n".join(text.decode(errors="replace").splitlines()[-SCHEDULER_LOG_LINES:])

    def _keep_one(self, logs: Logs, run_id: str, external_id: str, place: str) -> None:
        path = self._missing(run_id, place)
        if path is None:
            return
        try:
            if not logs.keep(run_id, external_id, path):
                log.info("job %s of run %s has printed nothing that is known", external_id, run_id)
        except OSError as error:
            log.warning("cannot keep the log of job %s of run %s: %s", external_id, run_id, error)

    def _missing(self, run_id: str, place: str) -> Path | None:
        """Return where a log is to be written; None if it is there, or is not to be written by the service."""
        if of_directory(self._settings.data_dir, run_id) is not None:
            return None  # another account's, whose jobs could put links where the service writes
        try:
            root = run_directory(self._settings.data_dir, run_id).path.resolve()
            path = Path(root / place).resolve()
        except (OSError, RuntimeError, ValueError):
            return None
        return path if path.is_relative_to(root) and not path.exists() else None
