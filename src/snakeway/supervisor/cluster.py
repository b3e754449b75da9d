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
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from snakeway.catalog import Catalog
from snakeway.errors import SnakewayError, Unavailable
from snakeway.model.attempt import HELD, AttemptReason
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.owner import of_directory
from snakeway.rows import AttemptRow
from snakeway.settings import Settings
from snakeway.store import Store, attempts, scheduled
from snakeway.supervisor.books import Books
from snakeway.targets import Scheduler, SchedulerAway, logs_for, scheduler_for

log = logging.getLogger(__name__)

_HURRY_S = 1.0  # between two passes while jobs are being cancelled
_HURRY_FOR_S = 60.0  # a job that does not end (its node is dead) is looked at as seldom as any other
_CANCEL_AGAIN_S = 30.0
_BOOKS_PATIENCE_S = 30.0  # at the end of an attempt with failed jobs: the books are some seconds behind
_LEAVE_PATIENCE_S = 300.0  # then an attempt's end waits no longer for the logs of its jobs, or to tidy up
_ATTEMPTS_AT_ONCE = 100
_PATIENCE_S = 2.0  # an ending supervisor waits no longer for a call that is under way


@dataclass(slots=True)
class Ending:
    """An attempt whose snakemake is gone."""

    cancel: bool  # what runs is to be ended as well
    sure_after_s: float  # for so long the scheduler must have had nothing of it
    clear_since: float | None = None  # monotonic; since when the scheduler has nothing of it
    since: float = field(default_factory=time.monotonic)
    asked_at: dict[str, float] = field(default_factory=dict)  # by external id, monotonic: when its end was asked for
    cancelled: set[str] = field(default_factory=set)
    logs_kept: set[str] = field(default_factory=set)  # external ids
    settled: bool = False


class Clusters:
    """The thread; one per supervisor."""

    def __init__(self, store: Store, catalog: Catalog, settings: Settings, owner: str) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._owner = owner
        self._books = Books(store, catalog, settings)
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

    def has(self, attempt: AttemptRow) -> bool:
        """Whether a scheduler has the jobs of an attempt."""
        return not attempt.dry_run and scheduler_for(self._executor_of(attempt)) is not None

    def settled(self, attempt: AttemptRow, *, cancel: bool, sure_after_s: float) -> bool:
        """Whether the scheduler has nothing left of an attempt whose snakemake is gone; asked again at every tick.

        ``sure_after_s`` is how long it must have had nothing, in case a submission was under way.
        """
        with self._lock:
            ending = self._endings.get(attempt.id)
            if ending is None:
                ending = self._endings[attempt.id] = Ending(cancel, sure_after_s)
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
        if attempt.executor is not None:
            return attempt.executor
        try:
            return self._catalog.target(attempt.target).executor  # of a run by hand: that of our profile of this name
        except SnakewayError:  # or we have none, and cannot tell
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
        by_executor: dict[str, tuple[list[AttemptRow], list[AttemptRow]]] = {}
        for place, rows in enumerate((held, ended)):
            for row in rows:
                by_executor.setdefault(self._executor_of(row), ([], []))[place].append(row)
        for executor, (ours, theirs) in sorted(by_executor.items()):
            scheduler = scheduler_for(executor)
            if scheduler is not None:
                hurry |= self._ask(executor, scheduler, ours, theirs)
            self._books.close(theirs)
        return hurry

    def _ask(self, executor: str, scheduler: Scheduler, held: list[AttemptRow], ended: list[AttemptRow]) -> bool:
        try:
            hurry = self._look(scheduler, held)
            self._books.ask(executor, scheduler, [*held, *ended], soon=hurry)
        except SchedulerAway as error:
            if executor not in self._away:  # once, not at every pass
                self._away.add(executor)
                log.warning("the scheduler of executor %s does not answer: %s", executor, error)
            return False
        self._away.discard(executor)
        return hurry

    def _look(self, scheduler: Scheduler, held: Collection[AttemptRow]) -> bool:
        """Note what the scheduler has of these attempts, and end what is to end."""
        if not held:
            return False
        queue = scheduler.look({row.run_id for row in held})
        hurry = False
        for row in held:
            found = queue.get(row.run_id, {})
            try:
                self._books.note(row, found)
                hurry |= self._clear(scheduler, row, found)
            except (SchedulerAway, Unavailable):
                raise
            except Exception:  # a bug, met by one run's jobs; the other runs are looked after all the same
                log.exception("cannot look at the jobs of run %s", row.run_id)
        return hurry

    def _clear(self, scheduler: Scheduler, row: AttemptRow, found: Mapping[str, Scheduled]) -> bool:
        """Cancel what is left of an attempt whose snakemake is gone; True while it may be gone soon."""
        with self._lock:
            ending = self._endings.get(row.id)
        if ending is None or ending.settled or row.reason is AttemptReason.OUTSIDE:
            return False
        at = time.monotonic()
        alive = {id_ for id_, job in found.items() if job.phase is not Phase.ENDED}
        if alive:
            ending.clear_since = None
            return self._cancel(scheduler, row, ending, {id_: found[id_] for id_ in alive}, at)
        ending.clear_since = ending.clear_since or at
        clear_s = at - ending.clear_since
        if clear_s >= ending.sure_after_s and (clear_s >= _BOOKS_PATIENCE_S or not self._books.failures_open(row)):
            ending.settled = self._leave(scheduler, row, ending, at - ending.since)
        return True

    def _leave(self, scheduler: Scheduler, row: AttemptRow, ending: Ending, waited_s: float) -> bool:
        """Keep what an attempt's jobs have printed, and tidy up behind them; False while that may still work.

        No other run waits for it, and this one not for ever: nothing runs any more.
        """
        try:
            logs = logs_for(self._executor_of(row))
            if logs is not None:
                self._books.logs.keep(logs, row, ending.logs_kept)
            if ending.sure_after_s:  # an orderly snakemake has tidied up
                scheduler.tidy(row.run_id)
        except SchedulerAway as error:
            if waited_s < _LEAVE_PATIENCE_S:
                return False
            log.warning("logs or definitions of jobs of run %s stay in the scheduler: %s", row.run_id, error)
        return True

    def _cancel(
        self, scheduler: Scheduler, row: AttemptRow, ending: Ending, alive: Mapping[str, Scheduled], at: float
    ) -> bool:
        """Cancel those jobs that are not to go on; True while they may be gone soon."""
        unwanted = {id_ for id_, job in alive.items() if ending.cancel or job.phase is Phase.QUEUED}
        fresh = {id_ for id_ in unwanted if at - ending.asked_at.get(id_, -_CANCEL_AGAIN_S) >= _CANCEL_AGAIN_S}
        ending.cancelled |= {id_ for id_ in fresh if not alive[id_].ending}
        if fresh and self._is_ours(row):
            scheduler.cancel(row.run_id, fresh, of_directory(self._settings.data_dir, row.run_id))
            ending.asked_at.update(dict.fromkeys(fresh, at))
            log.info("cancelled %d jobs of run %s that its snakemake left", len(fresh), row.run_id)
        return bool(unwanted) and at - ending.since < _HURRY_FOR_S

    def _is_ours(self, row: AttemptRow) -> bool:
        """Whether the lease still is: the next attempt's jobs have the same name."""
        with self._store.read() as tx:
            current = attempts.get(tx, row.id)
        return current is not None and current.lease_owner == self._owner and current.state in HELD
