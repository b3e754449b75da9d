"""Runs that somebody started by hand: takes in the bytes of their events, at offsets, into the files that any run has.

The client sends what its own file holds, from the offset on that the server names. So sending twice changes nothing,
and whoever lost count asks. The supervisor does the rest, as for any other attempt.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from snakeway import ids
from snakeway.directory import AttemptDirectory, run_directory
from snakeway.errors import AttemptNotFound, Conflict, Forbidden, Invalid, NotOutside, OffsetConflict, Unavailable
from snakeway.model.attempt import AttemptReason, AttemptState
from snakeway.model.run import RunState
from snakeway.model.user import User
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.settings import Settings
from snakeway.store import Store, Transaction, attempts, outside, runs
from snakeway.wire import VERSION, Event, EventType, parse_lines, workflow_name

NO_DIGEST = ""  # nobody pinned the workflow's files, so there is no telling which they were
UNKNOWN_TARGET = "local"  # snakemake runs jobs on its own machine unless a profile says otherwise

_NAME_CHARACTERS = 255
_TRACEPARENT_CHARACTERS = 64
_BLOCK_BYTES = 64 * 1024
_CLOCKS_APART = timedelta(days=1)  # an id of the day after tomorrow would head every list until then


@dataclass(frozen=True, slots=True)
class Recorded:
    """How far an attempt is recorded: ``offset`` bytes of its events. Number and state are None while it is unknown."""

    offset: int
    number: int | None = None
    state: AttemptState | None = None


class Outside:
    """What can be told about runs by hand. ``wake`` tells an embedded supervisor that there is something to do."""

    def __init__(self, store: Store, settings: Settings, wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._settings = settings
        self._wake = wake

    @property
    def max_bytes(self) -> int:
        """Most bytes that one request may bring."""
        return self._settings.max_body_bytes

    def recorded(self, user: User, run_id: str, attempt_id: str) -> Recorded:
        """Return how far the attempt is recorded; nothing, if it or its run is not known yet.

        Raises Invalid, NotOutside, Forbidden, and Conflict when the attempt is another run's.
        """
        _check_ids(run_id, attempt_id)
        with self._store.read() as tx:
            _check_run(runs.get(tx, run_id), user)
            attempt = attempts.get(tx, attempt_id)
        _check_attempt(attempt, run_id)
        if attempt is None:
            return Recorded(0)
        return Recorded(_end_of_lines(self._directory(attempt).events), attempt.number, attempt.state)

    def append(
        self, user: User, run_id: str, attempt_id: str, offset: int, data: bytes, *, gone: bool = False
    ) -> Recorded:
        """Take the whole lines of ``data``, which begin at byte ``offset`` of the attempt's events.

        The first lines make the attempt, and its run if need be: they must begin with ``attempt_started``. Without
        any line this is a sign of life. ``gone`` says that the process has ended and nothing more will come.

        Crash between the write and the commit: the bytes are there and the offset counts them; whatever the
        transaction would have noted, the next request of the client notes.

        Raises:
            OffsetConflict: the recorded events end somewhere else.
            Invalid: an id is not one, or the first lines do not say that they are of this attempt.
            NotOutside, Forbidden: the run is one that was submitted, or somebody else's.
            Conflict: the attempt belongs to another run.
            Unavailable: the disk does not take the bytes.

        """
        _check_ids(run_id, attempt_id)
        lines = data[: data.rfind(b"\n") + 1]
        try:
            return self._append(user, run_id, attempt_id, offset, lines, gone=gone)
        except IntegrityError:  # another first request was committed between our look and our insert
            return self._append(user, run_id, attempt_id, offset, lines, gone=gone)

    def put_log(self, user: User, run_id: str, attempt_id: str, data: bytes) -> None:
        """Keep ``data`` as what snakemake printed in the attempt; replaces what was there.

        Raises AttemptNotFound, and what :meth:`recorded` raises.
        """
        _check_ids(run_id, attempt_id)
        with self._store.read() as tx:
            _check_run(runs.get(tx, run_id), user)
            attempt = attempts.get(tx, attempt_id)
        _check_attempt(attempt, run_id)
        if attempt is None:
            raise AttemptNotFound(f"run {run_id} has no attempt {attempt_id}; send its events first")
        log = self._directory(attempt).log
        draft = log.with_name(f".{log.name}.{ids.new_id()}")
        try:
            draft.write_bytes(data)
            draft.replace(log)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise _refused_by_disk(error) from error

    def _append(self, user: User, run_id: str, attempt_id: str, offset: int, lines: bytes, *, gone: bool) -> Recorded:
        with self._store.write() as tx:
            run = runs.lock(tx, run_id)
            _check_run(run, user)
            attempt = attempts.get(tx, attempt_id)
            _check_attempt(attempt, run_id)
            new = attempt is None
            if attempt is None:
                if offset != 0:
                    raise _misplaced(offset, 0)
                run, attempt = _create(tx, user, run, run_id, attempt_id, lines)
            directory = self._directory(attempt)
            end = 0 if new else _end_of_lines(directory.events)
            if offset != end:
                raise _misplaced(offset, end)
            try:
                if new or not directory.path.exists():  # a deletion of the run may be on its way to the directory
                    run_directory(self._settings.data_dir, run_id).create(run_id)
                    directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                _write(directory.events, end, lines)
            except OSError as error:
                raise _refused_by_disk(error) from error
            end += len(lines)
            attempt.heard_at = None if gone else now()
            tx.add(attempt)
            tx.flush()
            # Also when these lines came before: with them the process may have been killed before it noted it.
            if attempt.state is AttemptState.LOST and end > attempt.events_offset:
                outside.revive(tx, attempt)
                tx.refresh(attempt)
        if new:
            self._wake()
        return Recorded(end, attempt.number, attempt.state)

    def _directory(self, attempt: AttemptRow) -> AttemptDirectory:
        return run_directory(self._settings.data_dir, attempt.run_id).attempt(attempt.number)


def _check_ids(run_id: str, attempt_id: str) -> None:
    latest = (now() + _CLOCKS_APART).timestamp()
    for name, text in (("run_id", run_id), ("attempt_id", attempt_id)):
        made_at = ids.made_at(text)
        if made_at is None or made_at > latest:
            raise Invalid(f"{name} must be a UUID of version 7 whose time has come, in lower case", field=name)


def _check_run(run: RunRow | None, user: User) -> None:
    if run is None:
        return
    if run.owner != user.id:  # for everybody, administrators too: what is recorded of a person, the person sends
        raise Forbidden(f"run {run.id} is not yours to record")
    if not run.outside:
        raise NotOutside(f"run {run.id} was submitted to this server, which records it by itself")


def _check_attempt(attempt: AttemptRow | None, run_id: str) -> None:
    if attempt is not None and attempt.run_id != run_id:
        raise Conflict(f"attempt {attempt.id} does not belong to run {run_id}", field="attempt_id")


def _misplaced(offset: int, end: int) -> OffsetConflict:
    return OffsetConflict(f"these bytes begin at {offset}, the recorded events end at {end}: go on there", offset=end)


def _refused_by_disk(error: OSError) -> Unavailable:
    return Unavailable(f"the server cannot keep the bytes ({error.strerror}); try again later")


def _create(
    tx: Transaction, user: User, run: RunRow | None, run_id: str, attempt_id: str, lines: bytes
) -> tuple[RunRow, AttemptRow]:
    """Insert the attempt, and its run if there is none; raises Invalid when the lines do not begin it."""
    started = _first_event(lines, run_id, attempt_id)
    at = _time(started["t"])
    target = _text(started.get("profile")) or UNKNOWN_TARGET
    if run is None:
        made_at = ids.made_at(run_id)
        assert made_at is not None, "ids are checked first"
        run = RunRow(
            id=run_id,
            owner=user.id,
            workflow=_text(workflow_name(str(started.get("directory", "")), str(started.get("snakefile", "")))),
            digest=NO_DIGEST,
            source=_source(started),
            target=target,
            state=RunState.RUNNING,
            outside=True,
            traceparent=_text(started.get("traceparent"))[:_TRACEPARENT_CHARACTERS] or None,
            created_at=min(datetime.fromtimestamp(made_at, UTC), at),
            started_at=at,
        )
        runs.add(tx, run)
    earlier = attempts.of_run(tx, run_id)
    attempt = AttemptRow(
        id=attempt_id,
        run_id=run_id,
        number=earlier[-1].number + 1 if earlier else 1,
        owner=user.id,
        state=AttemptState.RUNNING,
        reason=AttemptReason.OUTSIDE,
        target=target,
        digest=NO_DIGEST,
        created_at=at,
        started_at=at,
    )
    attempts.add(tx, attempt)
    if earlier:
        run = runs.settle(tx, run_id)
        run.started_at = min(run.started_at or at, at)
        tx.add(run)
    return run, attempt


def _first_event(lines: bytes, run_id: str, attempt_id: str) -> Event:
    started = next(parse_lines(lines), None)
    if started is None or started["type"] != EventType.ATTEMPT_STARTED:
        raise Invalid("the first bytes of an attempt must hold its event attempt_started", field="offset")
    if (started.get("run_id"), started.get("attempt_id")) != (run_id, attempt_id):
        raise Invalid("the events are those of another run or attempt", field="attempt_id")
    if started.get("outside") is not True or started.get("dry_run") is not False:
        raise Invalid("only attempts that were started by hand, and no dry runs, can be recorded")
    if started.get("v") != VERSION:
        raise Invalid(f"the events are of version {started.get('v')!r}; this server knows version {VERSION}")
    return started


def _source(started: Event) -> dict[str, Any]:
    names = ("host", "user", "directory", "snakefile", "command")
    return {"kind": "outside", **{name: str(started.get(name) or "") for name in names}}


def _text(value: object) -> str:
    """Return a name that an event tells as one that a column holds and a terminal shows."""
    return "".join(c for c in str(value or "") if c.isprintable())[:_NAME_CHARACTERS]


def _time(t: float) -> datetime:
    try:
        return min(datetime.fromtimestamp(t, UTC), now())
    except (OverflowError, ValueError, OSError):
        return now()


def _end_of_lines(path: Path) -> int:
    """Return the offset behind the last whole line; a crash may have left a part of one behind it."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                begin = max(0, end - _BLOCK_BYTES)
                file.seek(begin)
                newline = file.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    return begin + newline + 1
                end = begin
    except FileNotFoundError:
        pass
    return 0


def _write(path: Path, end: int, lines: bytes) -> None:
    """Have the file end with ``lines`` behind its first ``end`` bytes, whatever a crash left there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, end)
        rest = memoryview(lines)
        while rest:
            written = os.pwrite(fd, rest, end)
            end, rest = end + written, rest[written:]
    finally:
        os.close(fd)
