"""Talks to the schedulers that attempts send their jobs to, in a thread of its own: they may take their time.

Each pass makes at most one look and one question to the books for each kind of scheduler, however many runs and jobs
there are, and two passes are `scheduler_interval_s` apart; only while something is being cancelled they follow faster.

An attempt whose jobs are elsewhere has not ended before its last job has. So its end asks here (`settled`), and waits:
what is left of a snakemake that ended or was stopped is cancelled; what runs on after a snakemake that was killed may
end in peace, because its outputs will be good, and only what has not started is cancelled. As long as the scheduler
does not answer, the attempt is not settled. Nothing is kept in memory that a successor could not find again: the jobs
bear the run's id as their name.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from snakeway.catalog import Catalog
from snakeway.directory import run_directory
from snakeway.errors import SnakewayError, Unavailable
from snakeway.model.attempt import AttemptReason
from snakeway.model.failure import FailureKind
from snakeway.model.job import Job, JobState, blame
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.store import Store, attempts, jobs, runs, scheduled
from snakeway.supervisor.judge import diagnosis_of, judge_job
from snakeway.targets import Scheduler, SchedulerAway, scheduler_for
from snakeway.wire import SCHEDULER_LOG_BYTES, SCHEDULER_LOG_LINES, tail

log = logging.getLogger(__name__)

_HURRY_S = 1.0  # between two passes while jobs are being cancelled
_SURE_AFTER_S = 1.0  # an sbatch that was under way when its caller was killed is through by then
_BOOKS_PATIENCE_S = 30.0  # at the end of an attempt with failed jobs: the books are some seconds behind
_QUESTIONS_AT_ONCE = 500
_ATTEMPTS_AT_ONCE = 100
_PATIENCE_S = 2.0  # an ending supervisor waits no longer for a call that is under way


@dataclass(slots=True)
class Ending:
    """An attempt whose snakemake is gone."""

    cancel: bool  # what runs is to be ended as well
    orderly: bool  # snakemake has seen the end of every job
    clear_since: float | None = None  # monotonic; since when the scheduler has nothing of it
    cancelled: set[str] = field(default_factory=set)
    settled: bool = False


class Clusters:
    """The thread; one per supervisor."""

    def __init__(self, store: Store, catalog: Catalog, settings: Settings, owner: str) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._owner = owner
        self._lock = threading.Lock()
        self._endings: dict[str, Ending] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._away: set[str] = set()  # executors whose scheduler did not answer the last time

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="snakeway-clusters", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def scheduler_of(self, attempt: AttemptRow) -> Scheduler | None:
        """Return who has the jobs of an attempt; None if they are on this machine, or nobody can tell."""
        return scheduler_for(self._executor_of(attempt))

    def settled(self, attempt: AttemptRow, *, cancel: bool, orderly: bool = False) -> bool:
        """Whether the scheduler has nothing left of an attempt whose snakemake is gone; asked again at every tick."""
        if self.scheduler_of(attempt) is None:
            return True
        with self._lock:
            ending = self._endings.get(attempt.id)
            if ending is None:
                ending = self._endings[attempt.id] = Ending(cancel, orderly)
                self._wake.set()
            elif cancel and not ending.cancel:
                ending.cancel = True
                self._wake.set()
            return ending.settled

    def cancelled(self, attempt_id: str) -> int:
        """Return how many jobs were found in the scheduler, and cancelled, after the attempt's snakemake was gone."""
        with self._lock:
            ending = self._endings.get(attempt_id)
            return len(ending.cancelled) if ending is not None else 0

    def forget(self, attempt_id: str) -> None:
        """Forget an attempt that has ended, or that another supervisor has taken over."""
        with self._lock:
            self._endings.pop(attempt_id, None)

    def _executor_of(self, attempt: AttemptRow) -> str:
        try:
            return self._catalog.target(attempt.target).executor
        except SnakewayError:  # the target was removed
            return ""

    def _run(self) -> None:
        while not self._stop.is_set():
            hurry = False
            try:
                hurry = self.pass_()
            except (Unavailable, OSError) as error:
                log.warning("looking at schedulers: %s", error)
            except Exception:
                log.exception("looking at schedulers went wrong")
            self._wake.wait(_HURRY_S if hurry else self._settings.scheduler_interval_s)
            self._wake.clear()

    def pass_(self) -> bool:
        """Look at every scheduler once; True if the next look should come soon."""
        with self._store.read() as tx:
            held = list(attempts.held_by(tx, self._owner))
            ended = list(scheduled.open_books(tx, _ATTEMPTS_AT_ONCE))
        hurry = False
        for executor in sorted({self._executor_of(row) for row in (*held, *ended)}):
            scheduler = scheduler_for(executor)
            if scheduler is None:
                continue
            ours = [row for row in held if self._executor_of(row) == executor]
            theirs = [row for row in ended if self._executor_of(row) == executor]
            try:
                hurry |= self._look(scheduler, ours)
                self._ask_books(scheduler, [*ours, *theirs])
                self._away.discard(executor)
            except SchedulerAway as error:
                if executor not in self._away:  # once, not at every pass
                    self._away.add(executor)
                    log.warning("the scheduler of executor %s does not answer: %s", executor, error)
                hurry = False
            self._close_books(theirs)
        return hurry

    def _look(self, scheduler: Scheduler, held: Collection[AttemptRow]) -> bool:
        """Note what the scheduler has of these attempts, and end what is to end."""
        if not held:
            return False
        queue = scheduler.look({row.run_id for row in held})
        hurry = False
        for row in held:
            found = queue.get(row.run_id, {})
            self._note(row, found)
            with self._lock:
                ending = self._endings.get(row.id)
            if ending is not None and row.reason is not AttemptReason.OUTSIDE and not ending.settled:
                hurry |= self._clear(scheduler, row, ending, found)
        return hurry

    def _clear(self, scheduler: Scheduler, row: AttemptRow, ending: Ending, found: Mapping[str, Scheduled]) -> bool:
        """Cancel what is left of an attempt; True while it may be gone soon."""
        alive = {id_ for id_, job in found.items() if job.phase is not Phase.ENDED}
        unwanted = {id_ for id_ in alive if ending.cancel or found[id_].phase is Phase.QUEUED}
        if unwanted:
            scheduler.cancel(row.run_id, unwanted)
            if unwanted - ending.cancelled:
                log.info("cancelled %d jobs of run %s that its snakemake left", len(unwanted), row.run_id)
            ending.cancelled |= unwanted
        if alive:
            ending.clear_since = None
            return bool(unwanted)
        at = time.monotonic()
        ending.clear_since = ending.clear_since or at
        clear_s = at - ending.clear_since
        if (ending.orderly or clear_s >= _SURE_AFTER_S) and (
            clear_s >= _BOOKS_PATIENCE_S or not self._failures_open(row)
        ):
            ending.settled = True
        return True

    def _failures_open(self, row: AttemptRow) -> bool:
        """Whether there are failed jobs whose books were not read: the run is to say truly why they failed."""
        with self._store.read() as tx:
            return bool(scheduled.unaccounted(tx, [row.id], 1, [JobState.FAILED]))

    def _ask_books(self, scheduler: Scheduler, rows: Collection[AttemptRow]) -> None:
        with self._store.read() as tx:
            open_ = scheduled.unaccounted(tx, [row.id for row in rows], _QUESTIONS_AT_ONCE)
        if not open_:
            return
        said = scheduler.account({external_id for _, external_id in open_})
        if said is None:
            self._without_books(rows, open_)
            return
        for row in rows:
            ids = {external_id for attempt_id, external_id in open_ if attempt_id == row.id}
            self._note(row, {id_: said[id_] for id_ in ids & said.keys()})

    def _without_books(self, rows: Collection[AttemptRow], open_: Collection[tuple[str, str]]) -> None:
        """Where a scheduler keeps no books, what it said last is all that will be known."""
        by_id = {row.id: row for row in rows}
        for attempt_id in {attempt_id for attempt_id, _ in open_}:
            row = by_id[attempt_id]
            with self._store.write() as tx:
                runs.lock(tx, row.run_id)
                scheduled.account_without_books(tx, attempt_id)

    def _note(self, row: AttemptRow, said: Mapping[str, Scheduled]) -> None:
        """Store what is said, then judge failed jobs again that are now known better."""
        if not said:
            return
        with self._store.write() as tx:
            if runs.lock(tx, row.run_id) is None:
                return
            changed = scheduled.note(tx, row.run_id, row.id, said)
        failed = [job for job in changed if job.state is JobState.FAILED and job.failure_kind != FailureKind.REJECTED]
        if failed:
            self._judge_again(row, failed)

    def _judge_again(self, row: AttemptRow, failed: Collection[Job]) -> None:
        # Their logs are read before the transaction: a file server may take its time.
        diagnosis = diagnosis_of(self._catalog, row)
        for job in failed:
            words = self._scheduler_log(row.run_id, job)
            own = job.log_tail or ""
            blame(job, judge_job(diagnosis, self._settings, job, None, log_tail=own, stderr_tail=words or own))
        with self._store.write() as tx:
            if runs.lock(tx, row.run_id) is None:
                return
            now_ = jobs.load(tx, row.id, [job.number for job in failed])
            same = [job for job in failed if _is_same_end(job, now_.get(job.number))]
            jobs.save(tx, row.run_id, row.id, same)

    def _scheduler_log(self, run_id: str, job: Job) -> str:
        root = run_directory(self._settings.data_dir, run_id).path.resolve()
        path = Path(root / (job.scheduler_log or "")).resolve()
        return tail(path, SCHEDULER_LOG_LINES, SCHEDULER_LOG_BYTES) if path.is_relative_to(root) else ""

    def _close_books(self, ended: Iterable[AttemptRow]) -> None:
        """Ask no more about attempts of which everything is known, or that ended too long ago."""
        for row in ended:
            with self._store.read() as tx:
                open_ = scheduled.unaccounted(tx, [row.id], 1)
            if not open_ or (row.books_until is not None and row.books_until < now()):
                with self._store.write() as tx:
                    scheduled.close_books(tx, row.id)


def _is_same_end(job: Job, now_: Job | None) -> bool:
    """Whether a job has not begun anew since it was read."""
    return now_ is not None and (now_.try_number, now_.state) == (job.try_number, job.state)
