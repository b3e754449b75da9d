"""Watches attempts that were started by hand: there is no process to be seen, only events that come or stay away."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from snakeway import ids
from snakeway.catalog import Catalog
from snakeway.model import outside as rules
from snakeway.model.attempt import HELD, AttemptState, Exit
from snakeway.model.job import JobState
from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.store import Store, artifacts, attempts, jobs, outside, runs
from snakeway.supervisor.cluster import Clusters
from snakeway.supervisor.end import end
from snakeway.supervisor.judge import diagnosis_of
from snakeway.supervisor.watch import Seen, Watch
from snakeway.targets import Diagnosis
from snakeway.wire import Event, EventType, parse_lines

log = logging.getLogger(__name__)

_TAIL_BYTES = 64 * 1024  # of the events, in which the last ones are looked for
_STEP = "run"


class OutsideWatch(Watch):
    """One attempt by hand. It ends by its own event; without one it is lost when its process is gone, or silent."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        attempt: AttemptRow,
        diagnosis: Diagnosis,
        clusters: Clusters | None = None,
    ) -> None:
        super().__init__(store, settings, attempt, diagnosis, launched_at=None, clusters=clusters)
        self._read_to = -1  # how far the events had been taken in when their tail was last looked at
        self._last: list[Event] = []

    def look(self, attempt: AttemptRow, now: datetime, *, stop_requested: bool = False) -> Seen:
        """Do what is due for the attempt, whose row was read just now; nobody can stop it from here."""
        del stop_requested
        seen = Seen()
        if not self._take(attempt, seen, planned=False):
            return seen
        if attempt.events_offset != self._read_to:
            self._last = _tail(self._directory.events, attempt.events_offset)
            self._read_to = attempt.events_offset
        ended = [event for event in self._last if event["type"] == EventType.ATTEMPT_ENDED]
        if ended:
            return self._end_told(attempt, _moment(ended[-1]["t"]), seen)
        silent = attempt.heard_at is None or now - attempt.heard_at > timedelta(
            seconds=self._settings.outside_silence_s
        )
        return self._end_lost(attempt, seen) if silent else seen

    def _end_told(self, attempt: AttemptRow, at: float, seen: Seen) -> Seen:
        with self._store.read() as tx:
            counts = {state: jobs.count(tx, attempt.id, state) for state in JobState}
        verdict = rules.judge(
            failed=counts[JobState.FAILED],
            unfinished=counts[JobState.SUBMITTED] + counts[JobState.RUNNING],
            error=attempt.error is not None,
        )
        return self._close(attempt, Exit(_STEP, verdict.exit_code, None, at), seen, verdict.why)

    def _end_lost(self, attempt: AttemptRow, seen: Seen) -> Seen:
        last = _moment(self._last[-1]["t"]) if self._last else now().timestamp()
        return self._close(attempt, Exit(_STEP, None, None, last), seen, None)

    def _close(self, attempt: AttemptRow, exit_: Exit, seen: Seen, why: str | None) -> Seen:
        """End the attempt, unless something came of it since its row was read.

        Events are written under the run's lock, with ``heard_at``; so they come either before this and are seen here,
        or after it, and then find a lost attempt and revive it.
        """
        books_until = self._books_until(attempt)
        with self._store.write() as tx:
            runs.lock(tx, attempt.run_id)
            current = attempts.get(tx, attempt.id)
            if current is not None and current.heard_at != attempt.heard_at:
                return seen
            seen.run = end(tx, attempt, exit_, 0, refused=why, books_until=books_until)
            if seen.run is not None:
                outside.show_newest(tx, seen.run)
            if current is not None and current.state is not AttemptState.LOST:
                # Its outputs are elsewhere, and its spans were sent by the plugin, but for those of a lost one.
                artifacts.collected(tx, attempt.id)
        seen.ended = True
        return seen


def take_in(store: Store, catalog: Catalog, settings: Settings, attempt_id: str) -> AttemptState | None:
    """Take in what is there of an attempt, where no supervisor runs; returns its state, None if there is none.

    An attempt that a supervisor holds, or that has ended, is left alone. Crash half-way: the lease runs out, and a
    supervisor or the next call goes on.
    """
    lease_owner, lease = ids.new_id(), timedelta(seconds=settings.lease_s)
    watch: OutsideWatch | None = None
    while True:
        with store.write() as tx:
            row = attempts.get(tx, attempt_id)
            if row is None or row.state not in HELD:
                return row.state if row else None
            held = row.lease_expires_at is not None and row.lease_expires_at > now()
            if row.lease_owner != lease_owner and (held or not attempts.adopt(tx, row, lease_owner, now() + lease)):
                return row.state
            tx.refresh(row)
        watch = watch or OutsideWatch(store, settings, row, diagnosis_of(catalog, row))
        seen = watch.look(row, now())
        if not seen.more and not seen.ended:
            with store.write() as tx:
                outside.release(tx, attempt_id, lease_owner)
            return row.state


def _tail(path: Path, end_: int) -> list[Event]:
    """Return the last of the events before the offset ``end_``."""
    begin = max(0, end_ - _TAIL_BYTES)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return list(parse_lines(file.read(end_ - begin)))
    except OSError:
        return []


def _moment(t: float) -> float:
    """Return a time that an event tells as one that is not in the future, and that there is."""
    latest = now()
    try:
        return min(datetime.fromtimestamp(t, UTC), latest).timestamp()
    except (OverflowError, ValueError, OSError):
        return latest.timestamp()
