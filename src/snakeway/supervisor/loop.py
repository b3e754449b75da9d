"""The supervisor: claims queued attempts, launches them, watches those it holds, adopts those nobody holds.

Any number of supervisors may share a Postgres database; the leases keep them apart. What a supervisor knows is in the
database and in the attempts' directories, so it can be killed at any line: its leases run out, and the next one that
ticks takes over.
"""

import logging
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from snakeway import ids
from snakeway.blobs import Storages
from snakeway.catalog import Catalog
from snakeway.errors import SnakewayError, Unavailable
from snakeway.gatefile import Decision
from snakeway.model.attempt import AttemptReason
from snakeway.owner import CannotBecome
from snakeway.rows import AttemptRow, RunRow, SupervisorRow, now
from snakeway.settings import Settings
from snakeway.store import Store, artifacts, attempts, gates, outside, runs, supervisors
from snakeway.supervisor.chores import Chores
from snakeway.supervisor.cluster import Clusters
from snakeway.supervisor.collector import Collector
from snakeway.supervisor.end import end
from snakeway.supervisor.judge import diagnosis_of
from snakeway.supervisor.outside import OutsideWatch
from snakeway.supervisor.prepare import Prepared, prepare
from snakeway.supervisor.report import Report
from snakeway.supervisor.stage import Stager
from snakeway.supervisor.warm import Launcher
from snakeway.supervisor.watch import Watch, can_tell

log = logging.getLogger(__name__)

_BEATS_PER_LEASE = 3
_FORGET_AFTER_LEASES = 100
_ADOPT_AT_ONCE = 100
_GATES_AT_ONCE = 100
_AFTER_TROUBLE_S = 2


class Supervisor:
    """One supervisor. ``run`` is its life; ``tick`` one look around, for tests that drive it by hand."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: Settings,
        storages: Storages,
        report: Report,
        launcher: Launcher,
    ) -> None:
        self.id = ids.new_id()
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._report = report
        self._launcher = launcher
        self._chores = Chores(store, settings, storages)
        self._stager = Stager(settings, storages, self.wake)
        self._clusters = Clusters(store, catalog, settings, self.id)
        self._watches: dict[str, Watch] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._collector = Collector(self.id, store, settings, storages, report)
        self._troubled: set[str] = set()  # attempts that could not be looked at
        self._next_beat = now()
        self._row = SupervisorRow(
            id=self.id, host=os.uname().nodename, pid=os.getpid(), started_at=now(), seen_at=now()
        )

    def wake(self) -> None:
        """Have the next tick begin at once: something was queued or is to be stopped."""
        self._wake.set()

    def stop(self) -> None:
        """Ask :meth:`run` to return. Runs go on; their leases are given back."""
        self._stop.set()
        self._stager.stop()
        self._wake.set()

    def run(self) -> None:
        """Tick until :meth:`stop`. A database that does not answer is waited for; nothing else is swallowed."""
        self._launcher.warm_up()
        self._collector.start()
        self._chores.start()
        self._clusters.start()
        while not self._stop.is_set():
            busy = False
            try:
                busy = self.tick(now())
            except Unavailable as error:
                log.warning("%s", error)
            except Exception:
                # A bug, but not one that may end the supervision of every run; tried again at leisure.
                log.exception("a look around went wrong")
                self._stop.wait(_AFTER_TROUBLE_S)
            if not busy:
                self._wake.wait(self._settings.tick_s)
            self._wake.clear()
        self._clusters.stop()  # it acts in the name of the leases
        self._give_back()
        self._chores.stop()
        self._collector.stop()

    def tick(self, at: datetime) -> bool:
        """Look at everything once; True when there was so much to take in that the next tick should not wait."""
        if at >= self._next_beat:
            self._beat(at)
        self._claim(at)
        self._hold_outside(at)
        with self._store.read() as tx:
            held = {row.id: row for row in attempts.held_by(tx, self.id)}
            stops = runs.stop_requests(tx, {row.run_id for row in held.values()})
        self._report.active_runs(len(held))
        for attempt_id in self._watches.keys() - held.keys():
            del self._watches[attempt_id]  # another supervisor has adopted it
            self._clusters.forget(attempt_id)
            self._stager.forget(attempt_id)
        busy = False
        for row in held.values():
            busy |= self._look(row, at, stop_requested=row.run_id in stops)
        return busy

    def _beat(self, at: datetime) -> None:
        """Say that this supervisor lives, prolong its leases, and take over from those that let theirs run out."""
        lease = timedelta(seconds=self._settings.lease_s)
        self._row.seen_at, self._row.active = at, len(self._watches)
        with self._store.write() as tx:
            supervisors.beat(tx, SupervisorRow(**self._row.model_dump()))
            supervisors.remove_silent(tx, at - _FORGET_AFTER_LEASES * lease)
            attempts.renew(tx, self.id, list(self._watches), at + lease)
            adopted = [
                row
                for row in attempts.adoptable(tx, at, _ADOPT_AT_ONCE)
                if can_tell(self._settings, row) and attempts.adopt(tx, row, self.id, at + lease)
            ]
            artifacts.take_over(tx, self.id, [row.id for row in supervisors.alive(tx, at - lease)])
        self._gates(at)
        for row in adopted:
            log.info("adopted attempt %s of run %s", row.id, row.run_id)
            self._watches[row.id] = self._watch(row, launched_at=None)
        self._next_beat = at + lease / _BEATS_PER_LEASE
        self._collector.wake()

    def _claim(self, at: datetime) -> None:
        while self._started() < self._settings.max_active_runs:
            if not self._store_has_queue():
                return
            with self._store.write() as tx:
                row = attempts.claim(tx, self.id, at + timedelta(seconds=self._settings.lease_s), at)
                if row is None:
                    return
                runs.settle(tx, row.run_id)
            self._watches[row.id] = self._watch(row, launched_at=at)
            self._launch(row, at)

    def _hold_outside(self, at: datetime) -> None:
        """Take on what was started by hand: there is nothing to launch, so there may be any number of them."""
        with self._store.read() as tx:
            fresh = outside.waiting(tx, _ADOPT_AT_ONCE)
        if fresh:
            with self._store.write() as tx:
                for row in fresh:
                    attempts.adopt(tx, row, self.id, at + timedelta(seconds=self._settings.lease_s))

    def _started(self) -> int:
        """Return how many of the watched attempts were started by a supervisor."""
        return sum(not isinstance(watch, OutsideWatch) for watch in self._watches.values())

    def _watch(self, row: AttemptRow, launched_at: datetime | None) -> Watch:
        diagnosis = diagnosis_of(self._catalog, row)
        if row.reason is AttemptReason.OUTSIDE:
            return OutsideWatch(self._store, self._settings, row, diagnosis, self._clusters)
        return Watch(self._store, self._settings, row, diagnosis, launched_at, self._clusters)

    def _store_has_queue(self) -> bool:
        # A look without the write lock: an idle supervisor must not take it five times a second.
        with self._store.read() as tx:
            return attempts.any_queued(tx)

    def _launch(self, row: AttemptRow, at: datetime) -> None:
        watch = self._watches[row.id]
        watch.launched(at)
        with self._store.read() as tx:
            run = runs.get(tx, row.run_id)
            earlier = [attempt for attempt in attempts.of_run(tx, row.run_id) if attempt.number < row.number]
            decisions = [] if row.dry_run else gates.to_deliver(tx, row.run_id)
            unmade = gates.unmade(tx, row.run_id)
        if run is None:
            return
        try:
            traceparent = self._report.attempt_traceparent(run, row)
            prepared = prepare(run, row, earlier, decisions, unmade, self._catalog, self._settings, traceparent)
            self._note_place(row, prepared)
            self._delivered(row, decisions)
            if not self._stager.is_staged(run, row):
                return  # looked at again at the next tick
        except Unavailable:
            raise
        except (SnakewayError, OSError, ValueError) as error:
            self._refuse(row, f"The attempt could not be prepared: {error}")
            return
        try:
            self._launcher.launch(prepared)
        except CannotBecome as error:
            self._refuse(row, f"The attempt could not be started: {error}")
        except (OSError, EOFError) as error:
            # The forkserver was killed, or the machine has no room for a process: tried again after a grace.
            log.warning("could not launch attempt %s: %s", row.id, error)

    def _note_place(self, row: AttemptRow, prepared: Prepared) -> None:
        # Crash before this: nothing was launched. After it: whoever comes next knows where jobs and files are.
        row.executor, row.storage_url, row.image = prepared.executor, prepared.storage_url, prepared.image
        place = {"executor": row.executor, "storage_url": row.storage_url, "image": row.image}
        with self._store.write() as tx:
            attempts.note(tx, row.id, self.id, **place)

    def _delivered(self, row: AttemptRow, decisions: Sequence[Decision]) -> None:
        # Crash before this: another attempt is queued behind this one, which finds nothing to do.
        if decisions:
            with self._store.write() as tx:
                runs.lock(tx, row.run_id)  # somebody may be deciding again at this moment
                gates.delivered(tx, row.run_id, datetime.fromtimestamp(max(each.at for each in decisions), UTC))

    def _gates(self, at: datetime) -> None:
        """Close gates whose deadline has passed, and tell of decisions."""
        with self._store.read() as tx:
            due = gates.due(tx, at, _GATES_AT_ONCE)
            untold = self._report.on and gates.any_untold(tx)
        for run_id in due:
            with self._store.write() as tx:
                if runs.lock(tx, run_id) is not None:
                    gates.expire(tx, run_id, at)
                    runs.settle(tx, run_id)
        if untold:
            with self._store.write() as tx:
                told = gates.untold(tx, _GATES_AT_ONCE)
            self._report.decided(told)

    def _refuse(self, row: AttemptRow, error: str) -> None:
        with self._store.write() as tx:
            run = end(tx, row, None, self._settings.max_recoveries, refused=error)
        self._ended(row, run)

    def _look(self, row: AttemptRow, at: datetime, *, stop_requested: bool) -> bool:
        watch = self._watches.get(row.id)
        if watch is None:  # its claim was committed, but the connection was lost before we heard of it
            watch = self._watches[row.id] = self._watch(row, launched_at=None)
        if self._stager.is_busy(row.id) and not stop_requested:  # there is no process yet
            if self._stager.is_done(row.id):
                self._launch(row, at)
            return False
        try:
            seen = watch.look(row, at, stop_requested=stop_requested)
            self._report.jobs_ended(seen.ended_jobs)
        except Unavailable:
            raise
        except Exception:
            if row.id not in self._troubled:  # once, not at every tick
                self._troubled.add(row.id)
                log.exception("cannot look at attempt %s of run %s", row.id, row.run_id)
            return False
        if seen.launch:
            self._launch(row, at)
        if seen.ended:
            self._ended(row, seen.run)
        return seen.more

    def _ended(self, row: AttemptRow, run: RunRow | None) -> None:
        self._watches.pop(row.id, None)
        self._clusters.forget(row.id)
        self._stager.forget(row.id)
        if run is not None:
            log.info("attempt %d of run %s has ended; the run is %s", row.number, row.run_id, run.state)
            self._report.run_settled(run)
        self._collector.wake()
        self._chores.wake()
        self.wake()

    def _give_back(self) -> None:
        with self._store.write() as tx:
            attempts.renew(tx, self.id, list(self._watches), None)
            supervisors.remove(tx, self.id)
        self._report.close()
