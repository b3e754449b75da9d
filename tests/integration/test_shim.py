"""The shim with real processes in the place of snakemake: claims, steps, ends."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import snakeway.directory
from snakeway.directory import AttemptDirectory, keep_room, read_json, write_json
from snakeway.model.attempt import Exit
from snakeway.supervisor import shim
from tests.support.disk import small_disk
from tests.support.waiting import wait_until

SHIM = "import sys; from snakeway.supervisor import shim; shim.detach(sys.argv[1])"


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDirectory:
    """The directory of an attempt that has no command yet."""
    directory = AttemptDirectory(tmp_path / ".snakeway/attempts/1")
    directory.path.mkdir(parents=True)
    return directory


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[AttemptDirectory]:
    """The directory of an attempt on a disk that is soon full."""
    with small_disk(tmp_path / "disk", "256k") as disk:
        directory = AttemptDirectory(disk / ".snakeway/attempts/1")
        directory.path.mkdir(parents=True)
        yield directory


def order(attempt: AttemptDirectory, *steps: tuple[str, str], program: str = "bash") -> None:
    command: dict[str, Any] = {
        "run_id": "R",
        "attempt_id": "A",
        "number": 1,
        "directory": str(attempt.path.parent.parent.parent),
        "snakemake": program,
        "stop": {"interrupt_s": 1, "kill_s": 1},
        "env": {"GREETING": "hello"},
        "steps": [{"name": name, "argv": ["-c", script], "env": {"STEP": name}} for name, script in steps],
    }
    write_json(attempt.command, command)


def start(attempt: AttemptDirectory) -> None:
    subprocess.run([sys.executable, "-c", SHIM, str(attempt.path)], check=True, timeout=60)


def ended(attempt: AttemptDirectory) -> dict[str, Any]:
    return wait_until(lambda: read_json(attempt.exit), timeout_s=30, what="exit.json")


def said(attempt: AttemptDirectory) -> str:
    return attempt.log.read_text() if attempt.log.exists() else ""


def test_steps_run_in_order_in_the_runs_directory(attempt: AttemptDirectory, tmp_path: Path) -> None:
    order(attempt, ("plan", "echo $STEP $GREETING; pwd; exit 1"), ("run", "echo $STEP"))
    start(attempt)
    end = ended(attempt)
    assert (end["step"], end["exit_code"], end["signal"]) == ("run", 0, None)
    assert attempt.log.read_text() == f"plan hello\n{tmp_path}\nrun\n"


def test_a_failed_run_ends_the_attempt_with_its_code(attempt: AttemptDirectory) -> None:
    order(attempt, ("run", "exit 7"))
    start(attempt)
    assert ended(attempt)["exit_code"] == 7


def test_a_program_that_is_not_there(attempt: AttemptDirectory) -> None:
    order(attempt, ("run", ""), program="no-such-snakemake")
    start(attempt)
    assert ended(attempt)["exit_code"] == 127
    assert "cannot start no-such-snakemake" in attempt.log.read_text()


def test_of_many_shims_one_runs_the_attempt(attempt: AttemptDirectory) -> None:
    order(attempt, ("run", "echo once"))
    racers = [subprocess.Popen([sys.executable, "-c", SHIM, str(attempt.path)]) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    ended(attempt)
    start(attempt)  # and one that comes after the end
    assert attempt.log.read_text() == "once\n"


def test_a_stop_interrupts_the_step_and_no_other_begins(attempt: AttemptDirectory) -> None:
    order(attempt, ("plan", "sleep 600"), ("run", "echo never"))
    start(attempt)
    wait_until(lambda: (read_json(attempt.process) or {}).get("child"), timeout_s=30, what="the first step")
    attempt.stop.touch()
    end = ended(attempt)
    assert (end["step"], end["signal"]) == ("plan", signal.SIGINT)
    assert attempt.log.read_text() == ""


def test_who_does_not_hear_the_interrupt_is_killed(attempt: AttemptDirectory, tmp_path: Path) -> None:
    up = tmp_path / "up"
    order(attempt, ("run", f"trap '' INT TERM; touch {up}; while true; do sleep 0.1; done"))
    start(attempt)
    wait_until(lambda: up.exists() or None, timeout_s=30, what="the step")
    attempt.stop.touch()
    assert ended(attempt)["signal"] == signal.SIGKILL


def test_a_kill_is_recorded_and_nothing_of_the_group_is_left(attempt: AttemptDirectory, tmp_path: Path) -> None:
    job = tmp_path / "job.pid"
    order(attempt, ("run", f"sleep 600 & echo $! > {job}; wait"))
    start(attempt)
    pid = int(wait_until(lambda: job.read_text().strip() if job.exists() else None, timeout_s=30, what="the job"))
    child = (read_json(attempt.process) or {})["child"]
    os.kill(child["pid"], signal.SIGKILL)
    end = ended(attempt)
    assert (end["exit_code"], end["signal"]) == (None, signal.SIGKILL)
    gone = lambda: True if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text() else None  # noqa: E731
    wait_until(gone, timeout_s=10, what="the job to be killed")


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert read_json(path) is None
    path.write_text('{"half":')
    assert read_json(path) is None
    write_json(path, {"a": 1}, sync=True)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["value.json"]


def test_what_a_job_left_in_the_place_of_a_file_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    os.mkfifo(path)
    assert read_json(path) is None  # nobody writes
    path.unlink()
    for content in ("[" * 100_000, "[1]", '{"a": 1', "\0"):
        path.write_text(content)
        assert read_json(path) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert read_json(path) is None


def test_an_end_whose_folder_cannot_be_synced_is_written(
    attempt: AttemptDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_room(attempt.exit_room)

    def fails(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(snakeway.directory, "_sync_folder", fails)
    assert shim._write_end(attempt, "A", Exit("run", 1, None, 9.0)) == 0
    end = read_json(attempt.exit)
    assert end is not None
    assert (end["attempt_id"], end["exit_code"], end["write_error"]) == ("A", 1, None)
    assert [found.name for found in attempt.path.iterdir()] == ["exit.json"]


# Until then the shim replaces a file, and so makes room for another.
CLAIMED = "for _ in {1..3000}; do grep -q '\"step\"' .snakeway/attempts/1/process.json && break; sleep 0.01; done"


def test_the_end_is_told_on_a_full_disk(full_disk: AttemptDirectory) -> None:
    order(full_disk, ("plan", f"{CLAIMED}; echo begun; cat /dev/zero > fill"), ("run", "exit 1"))
    start(full_disk)
    end = ended(full_disk)
    assert (end["step"], end["exit_code"], end["write_error"]) == ("run", 1, os.strerror(errno.ENOSPC))
    assert "Traceback" not in full_disk.log.read_text()
    assert not [found for found in full_disk.path.iterdir() if found.name.startswith((".", "exit.json."))]


def test_an_end_that_cannot_be_told_says_so_in_the_log(full_disk: AttemptDirectory) -> None:
    room = full_disk.exit_room
    order(full_disk, ("run", f"{CLAIMED}; rm {room}; echo begun; cat /dev/zero > fill; exit 1"))
    start(full_disk)
    last = f"cannot write {full_disk.exit}: {os.strerror(errno.ENOSPC)}; nor in the room"
    log = wait_until(lambda: text if last in (text := said(full_disk)) else None, timeout_s=30, what="the log")
    assert "Traceback" not in log
    assert not full_disk.exit.exists()
