"""One look at an attempt whose process ends while it is looked at."""

import dataclasses
import errno
import json
import os
import shutil
import socket
import subprocess
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from snakeway.directory import AttemptDirectory, run_directory
from snakeway.errors import Unavailable
from snakeway.model.attempt import AttemptReason, AttemptState
from snakeway.model.failure import Failure, FailureKind
from snakeway.model.job import Job, JobState
from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.store import Store, attempts, jobs
from snakeway.supervisor import intake, watch
from snakeway.supervisor.process import Liveness, identify
from snakeway.targets import diagnosis_for
from tests.integration.conftest import AddRun

EVENTS = [
    {"type": "stats", "jobs": {"all": 1}, "total": 1},
    {"type": "job", "job": 0, "try": 1, "rule": "all", "wildcards": {}, "input": [], "output": [], "log": []},
    {"type": "job_finished", "job": 0, "try": 1, "started_at": 1.0},
    {"type": "attempt_ended", "lost": 0},
]


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the attempts is this one: nothing of it is looked for, and killed."""
    monkeypatch.setattr(watch, "kill_left_behind", lambda *_: 0)


def write_events(directory: AttemptDirectory, first: int, behind: int) -> None:
    with directory.events.open("a") as file:
        for number in range(first, behind):
            file.write(json.dumps({"seq": number, "t": 1.0 + number, **EVENTS[number]}) + "\n")


def write_exit(
    attempt: AttemptRow,
    directory: AttemptDirectory,
    step: str,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    **more: object,
) -> None:
    ended = {"attempt_id": attempt.id, "step": step, "exit_code": exit_code, "signal": signal, "ended_at": 9.0}
    directory.exit.write_text(json.dumps(ended | more))


def held(
    store: Store, add_run: AddRun, settings: Settings, *, dry_run: bool = False
) -> tuple[AttemptRow, AttemptDirectory]:
    """Return an attempt that a supervisor holds and whose process is this one, and its directory."""
    run = add_run(dry_run=dry_run)
    with store.write() as tx:
        attempt = attempts.claim(tx, "s1", now() + timedelta(seconds=30), now())
    assert attempt is not None
    directory = run_directory(settings.data_dir, run.id).attempt(1)
    directory.path.mkdir(parents=True)
    me = dataclasses.asdict(identify(os.getpid()))
    directory.process.write_text(json.dumps({"attempt_id": attempt.id, "shim": me, "step": "run"}))
    return attempt, directory


def looked_at(store: Store, settings: Settings, attempt: AttemptRow) -> AttemptRow:
    """Look at an attempt that has ended; returns what is recorded of it."""
    watching = watch.Watch(store, settings, attempt, diagnosis_for("local"), None)
    assert watching.look(attempt, now(), stop_requested=False).ended
    with store.read() as tx:
        found = attempts.get(tx, attempt.id)
    assert found is not None
    return found


def test_what_was_written_while_it_was_looked_at_is_taken_in_before_the_end(
    store: Store, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    write_events(directory, 0, 2)

    def ends_just_now(*_: object) -> Liveness:
        write_events(directory, 2, len(EVENTS))
        write_exit(attempt, directory, "run", exit_code=0)
        return Liveness.DEAD

    monkeypatch.setattr(watch, "tell", ends_just_now)
    watching = watch.Watch(store, settings, attempt, diagnosis_for("local"), None)
    seen = watching.look(attempt, now(), stop_requested=False)
    assert seen.ended
    with store.read() as tx:
        ended = attempts.get(tx, attempt.id)
        job = jobs.load(tx, attempt.id, {0})[0]
    assert ended is not None
    assert (ended.state, ended.jobs_total, ended.jobs_done) == (AttemptState.SUCCEEDED, 1, 1)
    assert job.state is JobState.SUCCEEDED
    assert [found.number for found in seen.ended_jobs] == [0]


def test_a_chunk_that_cannot_be_taken_in_is_passed_over(
    store: Store, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    write_events(directory, 0, len(EVENTS))
    write_exit(attempt, directory, "run", exit_code=0)

    def a_bug(*_: object) -> None:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(watch.intake, "take", a_bug)
    found = looked_at(store, settings, attempt)
    assert (found.state, found.events_lost) == (AttemptState.SUCCEEDED, len(EVENTS))


@pytest.mark.parametrize(
    "place", ["events.ndjson", "plan.ndjson", "exit.json", "process.json", "lock", ".", "..", "../.."]
)
@pytest.mark.parametrize("thing", ["link to itself", "socket", "file", "folder", "pipe"])
def test_whatever_a_job_puts_in_the_place_of_a_file_the_attempt_ends(
    place: str, thing: str, store: Store, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, directory = held(store, add_run, Settings(data_dir=tmp_path))
    write_events(directory, 0, len(EVENTS))
    write_exit(attempt, directory, "run", exit_code=0)
    with subprocess.Popen(["true"]) as process:
        ended = {"attempt_id": attempt.id, "shim": dataclasses.asdict(identify(process.pid)), "step": "run"}
    directory.process.write_text(json.dumps(ended))
    with store.write() as tx:
        assert attempts.move(tx, attempt.id, attempt.state, AttemptState.RUNNING, process=ended)
        running = attempts.get(tx, attempt.id)
    assert running is not None
    path = Path(os.path.normpath(directory.path / place))
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    monkeypatch.chdir(path.parent)  # the address of a socket is short
    match thing:
        case "link to itself":
            path.symlink_to(path.name)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path.name)
        case "file":
            path.touch()
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    found = looked_at(store, Settings(data_dir=tmp_path), running)
    assert found.state in {AttemptState.SUCCEEDED, AttemptState.LOST}


def test_events_that_were_passed_over_stay_lost_though_the_writer_lost_none(
    store: Store, add_run: AddRun, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    attempt.events_lost = 2
    write_events(directory, 0, len(EVENTS))
    write_exit(attempt, directory, "run", exit_code=0)
    assert looked_at(store, settings, attempt).events_lost == 2


def test_what_a_dry_run_died_of_survives_a_database_that_does_not_answer_at_first(
    store: Store, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings, dry_run=True)
    message = 'LockException in file "/x/Snakefile", line 3:\nError: Directory cannot be locked.'
    error = {"seq": 0, "t": 1.0, "type": "error", "exception": "LockException", "message": message}
    directory.plan.write_text(json.dumps(error) + "\n")
    write_exit(attempt, directory, "plan", exit_code=1)
    watching = watch.Watch(store, settings, attempt, diagnosis_for("local"), None)
    with monkeypatch.context() as busy:
        busy.setattr(watch.attempts, "note", Mock(side_effect=Unavailable("the database is locked")))
        with pytest.raises(Unavailable):
            watching.look(attempt, now(), stop_requested=False)
    assert watching.look(attempt, now(), stop_requested=False).ended
    with store.read() as tx:
        found = attempts.get(tx, attempt.id)
    assert found is not None
    assert found.failure is not None
    assert (found.state, found.failure["kind"], found.failure["line"]) == (AttemptState.FAILED, "locked", 3)
    assert found.error == found.failure["summary"]
    assert found.suggestion is None  # it would be carried out for real


@pytest.mark.parametrize(
    ("errno_", "kind"),
    [(errno.ENOSPC, FailureKind.NO_SPACE), (errno.EDQUOT, FailureKind.NO_SPACE), (errno.EINVAL, FailureKind.UNKNOWN)],
)
def test_an_end_whose_record_could_not_be_written_whole_has_failed_for_that(
    errno_: int, kind: FailureKind, store: Store, add_run: AddRun, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    write_events(directory, 0, 2)
    write_exit(attempt, directory, "run", exit_code=1, write_error=os.strerror(errno_))
    watching = watch.Watch(store, settings, attempt, diagnosis_for("local"), None)
    assert watching.look(attempt, now(), stop_requested=False).ended
    with store.read() as tx:
        found = attempts.get(tx, attempt.id)
        job = jobs.load(tx, attempt.id, {0})[0]
    assert found is not None
    assert found.failure is not None
    said = f"Nothing more could be written in the run's directory ({os.strerror(errno_)}); correct that, and re-run."
    assert (found.state, found.error, found.failure["kind"]) == (AttemptState.FAILED, said, kind)
    assert (found.suggestion, job.state) == (None, JobState.LOST)


def test_what_an_attempt_failed_for_is_kept_beside_a_record_that_could_not_be_written_whole(
    store: Store, add_run: AddRun, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    failure = Failure(FailureKind.INVALID_WORKFLOW, "SyntaxError in line 2", line=2).to_json()
    with store.write() as tx:
        assert attempts.note(tx, attempt.id, "s1", failure=failure)
    write_exit(attempt, directory, "run", exit_code=1, write_error=os.strerror(errno.ENOSPC))
    found = looked_at(store, settings, attempt)
    assert found.failure == failure
    assert (found.error or "").startswith("SyntaxError in line 2. Nothing more could be written")


def test_a_torn_log_that_tells_of_a_full_disk_is_believed(store: Store, add_run: AddRun, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings)
    directory.log.write_text("\0\0 [Errno 28] No space left on device\0\0\n")  # NUL: what a crash leaves of a block
    write_exit(attempt, directory, "run", exit_code=1)
    found = looked_at(store, settings, attempt)
    assert found.failure is not None
    assert found.failure["kind"] == FailureKind.NO_SPACE


@pytest.mark.parametrize(("dry_run", "suggestion"), [(False, {}), (True, None)])
def test_a_lost_dry_run_suggests_nothing_that_would_be_done_for_real(
    dry_run: bool,
    suggestion: object,
    store: Store,
    add_run: AddRun,
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path)
    attempt, directory = held(store, add_run, settings, dry_run=dry_run)
    write_exit(attempt, directory, "plan", signal=9)
    found = looked_at(store, settings, attempt)
    assert found.failure is not None
    assert (found.state, found.suggestion) == (AttemptState.LOST, suggestion)
    assert found.failure["suggestion"] == suggestion


@pytest.mark.parametrize(
    ("count", "lost", "job", "expected"),
    [
        (len(EVENTS), 0, Job(0), True),
        (len(EVENTS), 0, Job(0, try_number=2, tries=[{"external_id": None}]), True),
        (len(EVENTS), 0, Job(0, external_id="17"), False),  # a scheduler had it
        (len(EVENTS), 0, Job(0, try_number=2, tries=[{"external_id": "17"}]), False),  # or an earlier try of it
        (len(EVENTS), 1, Job(0), False),  # who knows what was in those that could not be written
        (len(EVENTS) - 1, 0, Job(0), False),  # or in those that come no more
        (0, 0, Job(0), False),
    ],
)
def test_a_record_that_is_whole_says_that_no_job_was_sent(
    count: int, lost: int, job: Job, expected: bool, store: Store, add_run: AddRun, tmp_path: Path
) -> None:
    attempt, directory = held(store, add_run, Settings(data_dir=tmp_path))
    write_events(directory, 0, count)
    if lost:
        text = directory.events.read_text()
        directory.events.write_text(text.replace('"lost": 0', f'"lost": {lost}'))
    with store.write() as tx:
        jobs.save(tx, attempt.run_id, attempt.id, [job])
    with store.read() as tx:
        assert intake.nothing_sent(tx, attempt, directory) is expected
        attempt.reason = AttemptReason.RECOVERY  # it may have been about to take up jobs of the one before
        assert not intake.nothing_sent(tx, attempt, directory)
