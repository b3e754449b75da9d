"""What schedulers say of jobs is taken into the record here, and their books are asked about jobs that have ended."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from snakeway.catalog import Catalog
from snakeway.directory import run_directory
from snakeway.model.attempt import ENDED
from snakeway.model.failure import Failure, FailureKind
from snakeway.model.job import Job, JobState, blame
from snakeway.model.scheduled import Scheduled
from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.store import Store, attempts, jobs, runs, scheduled, usage
from snakeway.supervisor.joblogs import JobLogs
from snakeway.supervisor.judge import diagnosis_of, judge_job
from snakeway.targets import Scheduler, logs_for
from snakeway.wire import SCHEDULER_LOG_BYTES, SCHEDULER_LOG_LINES, tail

log = logging.getLogger(__name__)

_QUESTIONS_AT_ONCE = 500
_SHORTEST_PAUSE_S = 5.0  # between two questions, however soon somebody wants an answer


class Books:
    """The record of what schedulers say; used by one thread."""

    def __init__(self, store: Store, catalog: Catalog, settings: Settings) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self.logs = JobLogs(store, settings)
        self._asked_at: dict[str, float] = {}  # by executor, monotonic

    def note(self, row: AttemptRow, said: Mapping[str, Scheduled]) -> None:
        """Store what a scheduler says of an attempt's jobs, and judge again those failures that are now known better.

        One transaction stores both; the jobs' logs are read before it, because a file server may take its time.
        """
        with self._store.read() as tx:
            news = scheduled.news(tx, row.id, said) if said else []
        if not news:
            return
        judged = {job.number: (job.try_number, self._judge(row, job)) for job in news if _is_judged(job)}
        with self._store.write() as tx:
            if runs.lock(tx, row.run_id) is None:
                return
            changed = scheduled.news(tx, row.id, said)
            for job in changed:
                try_number, failure = judged.get(job.number, (None, None))
                if failure is not None and try_number == job.try_number and _is_judged(job):
                    blame(job, failure)
            jobs.save(tx, row.run_id, row.id, changed)

    def ask(self, executor: str, scheduler: Scheduler, rows: Collection[AttemptRow], *, soon: bool) -> None:
        """Ask the books of a scheduler about what has ended, if it is time to. Raises SchedulerAway."""
        pause_s = _SHORTEST_PAUSE_S if soon else self._settings.scheduler_interval_s
        at = time.monotonic()
        if at - self._asked_at.get(executor, -pause_s) < min(pause_s, self._settings.scheduler_interval_s):
            return
        since = (now() - timedelta(seconds=self._settings.scheduler_books_s)).timestamp()
        with self._store.read() as tx:
            open_ = scheduled.unaccounted(tx, [row.id for row in rows], _QUESTIONS_AT_ONCE, since=since)
        if not open_:
            return
        self._asked_at[executor] = at
        said = scheduler.account({external_id for _, external_id in open_})
        for row in rows:
            ids = {external_id for attempt_id, external_id in open_ if attempt_id == row.id}
            if said is not None:
                self.note(row, {id_: said[id_] for id_ in ids & said.keys()})
            elif ids:  # no books are kept: what was said last is all that will be known
                with self._store.write() as tx:
                    runs.lock(tx, row.run_id)
                    scheduled.account_without_books(tx, row.id)

    def failures_open(self, row: AttemptRow) -> bool:
        """Whether there are failed jobs whose books were not read."""
        with self._store.read() as tx:
            return bool(scheduled.unaccounted(tx, [row.id], 1, [JobState.FAILED]))

    def close(self, ended: Iterable[AttemptRow]) -> None:
        """Ask no more about attempts of which everything is known, or that ended too long ago.

        Only now their jobs' times are final, and what they used is counted again. Crash before the commit: the books
        are still open, so they are closed again.
        """
        for row in ended:
            with self._store.read() as tx:
                open_ = scheduled.unaccounted(tx, [row.id], 1)
            if not open_ or (row.books_until is not None and row.books_until < now()):
                with self._store.write() as tx:
                    runs.lock(tx, row.run_id)
                    current = attempts.get(tx, row.id)
                    if current is not None and current.state in ENDED:  # one by hand may have been heard of again
                        usage.recount(tx, current)
                    scheduled.close_books(tx, row.id)

    def _judge(self, row: AttemptRow, job: Job) -> Failure:
        words, own = self._scheduler_log(row.run_id, job), job.log_tail or ""
        logs = logs_for(row.executor or "")
        if not words and logs is not None and job.external_id:
            words = self.logs.end(logs, row.run_id, job.external_id)
        diagnosis = diagnosis_of(self._catalog, row)
        return judge_job(diagnosis, self._settings, job, None, log_tail=own, stderr_tail=words or own)

    def _scheduler_log(self, run_id: str, job: Job) -> str:
        # The path comes from an event, and jobs can write events, and links.
        try:
            root = run_directory(self._settings.data_dir, run_id).path.resolve()
            path = Path(root / (job.scheduler_log or "")).resolve()
        except (OSError, RuntimeError, ValueError):
            return ""
        return tail(path, SCHEDULER_LOG_LINES, SCHEDULER_LOG_BYTES, root) if path.is_relative_to(root) else ""


def _is_judged(job: Job) -> bool:
    """Whether it is for a diagnosis to say why the job failed; a rejected gate's reason is a person's."""
    return job.state is JobState.FAILED and job.failure_kind != FailureKind.REJECTED
