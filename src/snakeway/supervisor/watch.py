"""Watches one held attempt: takes in its events, notices its end, stops it when asked."""

import json
import logging
import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from snakeway.directory import AttemptDirectory, read_json, run_directory
from snakeway.errors import Unavailable
from snakeway.model import complaint
from snakeway.model.attempt import AttemptState, Exit, outcome
from snakeway.model.failure import Failure
from snakeway.model.job import Job
from snakeway.owner import Owner, of_directory
from snakeway.rows import AttemptRow, RunRow
from snakeway.rows import now as utc_now
from snakeway.settings import Settings
from snakeway.store import Store, attempts, runs
from snakeway.supervisor import intake
from snakeway.supervisor.cluster import Clusters
from snakeway.supervisor.end import end, exit_from_json
from snakeway.supervisor.judge import judge_for
from snakeway.supervisor.process import (
    Identity,
    Liveness,
    identity_in,
    kill_left_behind,
    liveness,
    lock_is_held,
    same_boot,
)
from snakeway.supervisor.shim import title
from snakeway.supervisor.stop import Graces
from snakeway.targets import Diagnosis, scheduler_for
from snakeway.wire import ENV_ATTEMPT, Event, read_end

log = logging.getLogger(__name__)

_COUNTS = "jobs_total", "jobs_done", "jobs_failed"

_CHUNKS_PER_LOOK = 4  # of events: one busy attempt must not keep the others waiting
_MAX_LAUNCHES = 5
_CRASH_BYTES = 64 * 1024  # of the end of a log, for a traceback
_SHIM_ANSWERS_S = 10.0  # beyond the graces of the stop: then the shim is judged to be stuck

# After that nothing appears any more in a scheduler of what snakemake was submitting when it was stopped or killed: a
# submission that the scheduler has begun to take in, such as Slurm's, is given up after 10 s.
_SURE_AFTER_S = 15.0

Claim = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What one look found."""

    more: bool = False  # there are more events than one look takes in
    ended_jobs: list[Job] = field(default_factory=list)
    ended: bool = False  # the attempt has ended, or is another supervisor's
    run: RunRow | None = None  # its run, if the attempt has ended here
    launch: bool = False  # nobody has claimed the attempt: (re-)launch it


class Watch:
    """One held attempt. Everything it knows is in the database or on disk, but for its patience."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        attempt: AttemptRow,
        diagnosis: Diagnosis,
        launched_at: datetime | None,
        clusters: Clusters | None = None,
    ) -> None:
        self._clusters = clusters  # None: its jobs, if they are on a cluster, are not waited for
        self._store = store
        self._diagnosis = diagnosis
        self._settings = settings
        self._directory: AttemptDirectory = run_directory(settings.data_dir, attempt.run_id).attempt(attempt.number)
        self._launched_at = launched_at  # None: adopted, by whom and when it was launched is not known
        self._launches = 0
        self._stopping_since: datetime | None = None
        self._plan_taken = False
        self._swept = False  # what its processes left behind was killed

    @property
    def path(self) -> Path:
        """The attempt's directory."""
        return self._directory.path

    def launched(self, now: datetime) -> None:
        """Remember that a launch was tried."""
        self._launched_at = now
        self._launches += 1

    def look(self, attempt: AttemptRow, now: datetime, *, stop_requested: bool) -> Seen:
        """Do what is due for the attempt, whose row was read just now."""
        seen = Seen()
        real = self._directory.is_real  # otherwise a job planted a link: nothing there is believed or written
        exit_ = self._exit(attempt) if real else None  # before the events: so those written before it are taken in
        claim = (_of(attempt, self._directory.process) if real else None) or attempt.process
        if real and not self._take(attempt, seen, planned=exit_ is not None or (claim or {}).get("step") == "run"):
            return seen
        if exit_ is not None:
            return self._end(attempt, claim, exit_, seen, stop_requested=stop_requested)
        if stop_requested and real:
            self._write_stop()
        shim = identity_in(claim, "shim")
        if shim is None:
            return self._unclaimed(attempt, seen, now, stop_requested=stop_requested)
        self._see_running(attempt, claim, shim)
        match tell(self._directory, shim):
            case Liveness.DEAD:
                # Until it ended it may have written more than was taken in above; from now on it writes nothing.
                if real and not self._take(attempt, seen, planned=True):
                    return seen
                exit_ = self._exit(attempt) if real else None
                return self._end(attempt, claim, exit_, seen, stop_requested=stop_requested)
            case Liveness.ALIVE if stop_requested and self._is_stuck(now):
                log.warning("the shim of attempt %s does not answer; it is killed", attempt.id)
                return self._end(attempt, claim, None, seen, stop_requested=True)
        return seen

    def _write_stop(self) -> None:
        """Ask the shim to end the attempt; it does the rest. Looked at again at every tick."""
        if not self._directory.root().exists() and self._settings.run_as_owner:
            return  # its owner makes it, when the attempt is launched
        self._directory.root().mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.write_stop()

    def _is_stuck(self, now: datetime) -> bool:
        self._stopping_since = self._stopping_since or now
        graces = Graces(self._settings.stop_interrupt_grace_s, self._settings.stop_kill_grace_s)
        return now - self._stopping_since > timedelta(seconds=graces.total_s + _SHIM_ANSWERS_S)

    def _unclaimed(self, attempt: AttemptRow, seen: Seen, now: datetime, *, stop_requested: bool) -> Seen:
        """Nobody claimed the attempt (yet), or its shim was killed while it did."""
        if attempt.state is not AttemptState.STARTING:
            # It was running; somebody removed its files.
            return self._end(attempt, None, None, seen, stop_requested=stop_requested)
        if self._launched_at is None:
            seen.launch = True  # adopted before its launch
            return seen
        if now - self._launched_at < timedelta(seconds=self._settings.launch_grace_s):
            return seen
        if stop_requested or self._directory.process.exists() or self._launches >= _MAX_LAUNCHES:
            if self._close_claim(attempt):
                return self._end(attempt, None, None, seen, stop_requested=stop_requested)
            return seen  # a shim came at the last moment
        seen.launch = True
        return seen

    def _close_claim(self, attempt: AttemptRow) -> bool:
        """Claim the attempt for nobody, so that no late shim runs it; False when one has claimed it just now."""
        try:
            with self._directory.entered() as here:
                name = self._directory.process.name
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=here)
        except FileExistsError:
            return _of(attempt, self._directory.process) is None  # an empty claim: its shim is dead
        except (FileNotFoundError, NotADirectoryError):
            return True  # not even its directory could be made, or a job put a link in its place
        with os.fdopen(fd, "w") as file:
            json.dump({"attempt_id": attempt.id, "shim": None}, file)
        return True

    def _see_running(self, attempt: AttemptRow, claim: Claim | None, shim: Identity) -> None:
        if attempt.state is not AttemptState.STARTING:
            return
        with self._store.write() as tx:
            runs.lock(tx, attempt.run_id)
            values = {"process": claim, "host": shim.host}
            if attempts.move(tx, attempt.id, AttemptState.STARTING, AttemptState.RUNNING, **values):
                runs.settle(tx, attempt.run_id)
        attempt.state = AttemptState.RUNNING

    def _take(self, attempt: AttemptRow, seen: Seen, *, planned: bool) -> bool:
        """Take in what is there; False if that is all that can be done in this look."""
        try:
            self._take_events(attempt, seen)
            self._take_plan(attempt, done=planned)
        except intake.LeaseLost:
            seen.ended = True
        return not (seen.ended or seen.more)

    def _take_events(self, attempt: AttemptRow, seen: Seen) -> None:
        for _ in range(_CHUNKS_PER_LOOK):
            events, offset = intake.read(attempt, self._directory)
            if offset == attempt.events_offset:
                return
            try:
                taken = self._take_chunk(attempt, events, offset)
            except (Unavailable, intake.LeaseLost):
                raise
            except Exception:
                # A bug, met by what a job may have written among the events. Passing the chunk over loses what is in
                # it; stopping here would keep the attempt from ever ending.
                log.exception("%d events of attempt %s are passed over", len(events), attempt.id)
                taken = intake.Taken(values={"events_offset": offset, "events_lost": attempt.events_lost + len(events)})
                with self._store.write() as tx:
                    if not attempts.note(tx, attempt.id, attempt.lease_owner or "", **taken.values):
                        raise intake.LeaseLost(attempt.id) from None
            for name, value in taken.values.items():
                setattr(attempt, name, value)
            seen.ended_jobs += taken.ended
        seen.more = True

    def _take_chunk(self, attempt: AttemptRow, events: list[Event], offset: int) -> intake.Taken:
        judge = judge_for(self._diagnosis, self._settings, attempt, events)
        with self._store.write() as tx:
            runs.lock(tx, attempt.run_id)  # before the attempt's row, as everywhere
            taken = intake.take(tx, attempt, events, offset, judge)
            if not attempt.dry_run:
                counts = {name: taken.values.get(name, getattr(attempt, name)) for name in _COUNTS}
                runs.note_progress(tx, attempt.run_id, counts)
        return taken

    def _take_plan(self, attempt: AttemptRow, *, done: bool) -> None:
        if self._plan_taken or not done or not (attempt.wants_plan or attempt.dry_run):
            return
        self._plan_taken = True  # also when reading it fails, which must not keep the attempt from ending
        values = intake.read_plan(self._directory)
        if attempt.lease_owner is None or not ("plan" in values or (values and attempt.dry_run)):
            return  # of other attempts, the step behind the plan says itself what is wrong
        try:
            with self._store.write() as tx:
                attempts.note(tx, attempt.id, attempt.lease_owner, **values)
        except Unavailable:
            self._plan_taken = False  # the next look does it
            raise

    def _exit(self, attempt: AttemptRow) -> Exit | None:
        data = _of(attempt, self._directory.exit)
        return None if data is None else exit_from_json(data)

    def _end(
        self, attempt: AttemptRow, claim: Claim | None, exit_: Exit | None, seen: Seen, *, stop_requested: bool = False
    ) -> Seen:
        """End the attempt, once nothing of it is left on this machine or on a cluster."""
        self._sweep(attempt, claim)
        books_until, cancelled = None, None
        orderly = exit_ is not None and exit_.exit_code is not None and not stop_requested
        with self._store.read() as tx:  # what the run failed for may be what the scheduler does not answer for
            sent = not (orderly and intake.nothing_sent(tx, attempt, self._directory))
        if sent and self._clusters is not None and self._clusters.has(attempt):
            killed = outcome(exit_, stop_requested=stop_requested) is AttemptState.LOST
            sure_after_s = 0.0 if orderly else _SURE_AFTER_S
            if not self._clusters.settled(attempt, cancel=not killed, sure_after_s=sure_after_s):
                return seen
            if exit_ is not None and exit_.exit_code is None:  # it ended with its last job, not with its snakemake
                exit_ = replace(exit_, ended_at=utc_now().timestamp())
            books_until, cancelled = self._books_until(attempt), self._clusters.cancelled(attempt.id)
        crash = self._crash(attempt, exit_) if orderly else None
        with self._store.write() as tx:
            recoveries = self._settings.max_recoveries
            seen.run = end(tx, attempt, exit_, recoveries, books_until=books_until, cancelled=cancelled, crash=crash)
        seen.ended = True
        return seen

    def _crash(self, attempt: AttemptRow, exit_: Exit | None) -> Failure | None:
        """Return what snakemake died of, as its log says, when its events say nothing."""
        if exit_ is None or not exit_.exit_code or attempt.failure or attempt.error:
            return None
        text = read_end(self._directory.log, _CRASH_BYTES, self._directory.root())
        return complaint.of_log(text.decode(errors="replace").replace("\0", "\ufffd"))  # no database takes NUL

    def _books_until(self, attempt: AttemptRow) -> datetime | None:
        """Return how long a scheduler's books are to be asked about the attempt's jobs; None if there are no books."""
        if self._clusters is None or not self._clusters.has(attempt):
            return None
        return utc_now() + timedelta(seconds=self._settings.scheduler_books_s)

    def _sweep(self, attempt: AttemptRow, claim: Claim | None) -> None:
        shim = identity_in(claim, "shim")
        if shim is not None and not self._swept:
            self._swept = True
            name = title(attempt.run_id, attempt.number)
            if (owner := of_directory(self._settings.data_dir, attempt.run_id)) is not None:
                self._sweep_as(owner, attempt)
                return
            killed = kill_left_behind(shim, f"{ENV_ATTEMPT}={attempt.id}", name)
            if killed:
                log.warning("attempt %s left %d processes behind; they were killed", attempt.id, killed)

    def _sweep_as(self, owner: Owner, attempt: AttemptRow) -> None:
        """Have what was left behind killed by the account whose it is: others may not even see what it is."""
        try:
            owner.call("sweep", attempt.run_id, str(attempt.number), attempt.id)
        except OSError as error:  # the attempt has ended all the same; without sudo no other will begin
            log.warning("what attempt %s may have left behind could not be looked for: %s", attempt.id, error)


def can_tell(settings: Settings, attempt: AttemptRow) -> bool:
    """Whether this machine could judge the attempt, which is worth adopting only then."""
    directory = run_directory(settings.data_dir, attempt.run_id).attempt(attempt.number)
    shim = identity_in(_of(attempt, directory.process) or attempt.process, "shim")
    scheduler = scheduler_for(attempt.executor or "")
    if scheduler is not None and not scheduler.present():
        return False  # nobody here could say whether its jobs have ended
    if shim is None or not directory.is_real:
        return True
    return _of(attempt, directory.exit) is not None or tell(directory, shim) is not Liveness.UNKNOWN


def tell(directory: AttemptDirectory, shim: Identity) -> Liveness:
    """Whether the shim of an attempt lives, told by its identity, or by its lock from another pid namespace."""
    found = liveness(shim)
    if found is Liveness.UNKNOWN and same_boot(shim):
        return lock_is_held(directory.lock)
    return found


def _of(attempt: AttemptRow, path: Path) -> Claim | None:
    """Return a file's object if it is this attempt's."""
    try:
        data = read_json(path)
    except OSError:  # a folder in its place, say
        return None
    return data if data is not None and data.get("attempt_id") == attempt.id else None
