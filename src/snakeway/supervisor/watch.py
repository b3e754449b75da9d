"""Watches one held attempt: takes in its events, notices its end, stops it when asked."""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from snakeway.directory import AttemptDirectory, read_json, run_directory
from snakeway.model.attempt import AttemptState, Exit
from snakeway.model.job import Job
from snakeway.rows import AttemptRow, RunRow
from snakeway.settings import Settings
from snakeway.store import Store, attempts, runs
from snakeway.supervisor import intake
from snakeway.supervisor.end import end, exit_from_json
from snakeway.supervisor.process import Identity, Liveness, kill_left_behind, liveness, lock_is_held, same_boot
from snakeway.supervisor.shim import title
from snakeway.supervisor.stop import Rung, StopLadder
from snakeway.wire import ENV_ATTEMPT

log = logging.getLogger(__name__)

_CHUNKS_PER_LOOK = 4  # of events: one busy attempt must not keep the others waiting
_MAX_LAUNCHES = 5


@dataclass(slots=True)
class Seen:
    """What one look found."""

    more: bool = False  # there are more events than one look takes in
    ended_jobs: list[Job] = field(default_factory=list)
    ended: bool = False  # the attempt has ended, or is another supervisor's
    run: RunRow | None = None  # its run, if the attempt has ended here
    launch: bool = False  # nobody has claimed the attempt: (re-)launch it


class Watch:
    """One held attempt. Everything it knows is in the database or on disk, but for the stop's progress and patience."""

    def __init__(self, store: Store, settings: Settings, attempt: AttemptRow, launched_at: datetime | None) -> None:
        self._store = store
        self._settings = settings
        self._directory: AttemptDirectory = run_directory(settings.data_dir, attempt.run_id).attempt(attempt.number)
        self._ladder = StopLadder(settings)
        self._launched_at = launched_at  # None: adopted, by whom and when it was launched is not known
        self._launches = 0
        self._plan_taken = False

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
        exit_ = self._exit()  # before the events: what was written before the end is then taken in as well
        self._take_events(attempt, seen, everything=exit_ is not None)
        claim = read_json(self._directory.process)
        self._take_plan(attempt, done=exit_ is not None or (claim or {}).get("step") == "run")
        if exit_ is not None:
            return self._end(attempt, exit_, seen)
        if stop_requested:
            self._directory.path.mkdir(parents=True, exist_ok=True)
            self._directory.stop.touch()
        shim = _identity(claim, "shim")
        if shim is None:
            return self._unclaimed(attempt, seen, now, stop_requested=stop_requested)
        self._see_running(attempt, claim or {}, shim)
        match self._liveness(shim):
            case Liveness.DEAD:
                self._take_events(attempt, seen, everything=True)
                return self._end(attempt, self._exit(), seen)
            case Liveness.ALIVE if stop_requested:
                if self._ladder.climb(_identity(claim, "child"), now) is Rung.GIVEN_UP:
                    return self._end(attempt, None, seen)
        return seen

    def _liveness(self, shim: Identity) -> Liveness:
        found = liveness(shim)
        if found is Liveness.UNKNOWN and same_boot(shim):
            return lock_is_held(self._directory.lock)
        return found

    def _unclaimed(self, attempt: AttemptRow, seen: Seen, now: datetime, *, stop_requested: bool) -> Seen:
        """Nobody claimed the attempt (yet), or its shim was killed while it did."""
        if self._launched_at is None:
            seen.launch = True  # adopted before its launch
            return seen
        if now - self._launched_at < timedelta(seconds=self._settings.launch_grace_s):
            return seen
        if stop_requested or self._directory.process.exists() or self._launches >= _MAX_LAUNCHES:
            return self._end(attempt, None, seen)
        seen.launch = True
        return seen

    def _see_running(self, attempt: AttemptRow, claim: dict[str, object], shim: Identity) -> None:
        if attempt.state is not AttemptState.STARTING:
            return
        with self._store.write() as tx:
            runs.lock(tx, attempt.run_id)
            if attempts.move(
                tx, attempt.id, AttemptState.STARTING, AttemptState.RUNNING, process=claim, host=shim.host
            ):
                runs.settle(tx, attempt.run_id)
        attempt.state = AttemptState.RUNNING

    def _take_events(self, attempt: AttemptRow, seen: Seen, *, everything: bool) -> None:
        chunks = 0
        while everything or chunks < _CHUNKS_PER_LOOK:
            events, offset = intake.read(attempt, self._directory)
            if offset == attempt.events_offset:
                return
            with self._store.write() as tx:
                runs.lock(tx, attempt.run_id)  # before the attempt's row, as everywhere
                taken = intake.take(tx, attempt, events, offset)
                if not attempt.dry_run:
                    runs.note_progress(tx, attempt.run_id, taken.values)
            for name, value in taken.values.items():
                setattr(attempt, name, value)
            seen.ended_jobs += taken.ended
            chunks += 1
        seen.more = True

    def _take_plan(self, attempt: AttemptRow, *, done: bool) -> None:
        if self._plan_taken or not done or not (attempt.wants_plan or attempt.dry_run):
            return
        self._plan_taken = True
        plan = intake.read_plan(self._directory)
        if plan is None or attempt.lease_owner is None:
            return
        with self._store.write() as tx:
            attempts.note(tx, attempt.id, attempt.lease_owner, plan=plan)
        attempt.plan = plan

    def _exit(self) -> Exit | None:
        data = read_json(self._directory.exit)
        return None if data is None else exit_from_json(data)

    def _end(self, attempt: AttemptRow, exit_: Exit | None, seen: Seen) -> Seen:
        shim = _identity(read_json(self._directory.process), "shim")
        if shim is not None:
            killed = kill_left_behind(shim, f"{ENV_ATTEMPT}={attempt.id}", title(attempt.run_id, attempt.number))
            if killed:
                log.warning("attempt %s left %d processes behind; they were killed", attempt.id, killed)
        with self._store.write() as tx:
            seen.run = end(tx, attempt, exit_, self._settings.max_recoveries)
        seen.ended = True
        return seen


def _identity(claim: dict[str, object] | None, member: str) -> Identity | None:
    value = (claim or {}).get(member)
    if not isinstance(value, dict):
        return None
    try:
        return Identity.from_json(value)
    except (KeyError, TypeError, ValueError):
        return None
