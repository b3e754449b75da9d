"""The process between the supervisor and snakemake: leads its own session, claims the attempt, remembers its end.

It outlives every supervisor. It does almost nothing, so that it can go wrong almost nowhere:

    1. claim   the lock is taken and process.json created exclusively: of several shims for one attempt, even one after
               the other, one goes on and the others leave.
    2. steps   unlock, plan, run: each a child in a process group of its own, so that a signal to the group reaches
               snakemake and its jobs but not the shim.
    3. stop    once the file ``stop`` exists, the stop ladder: SIGINT to the group, then SIGKILL.
    4. end     what is left of the group is killed, exit.json is written and synced; on a full disk in the room that was
               kept for it since the claim.

Killed at any point it leaves no exit.json; the supervisor then finds it dead and the attempt lost.
"""

import contextlib
import fcntl
import json
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from snakeway.directory import AttemptDirectory, keep_room, read_json, write_json, write_json_in_room
from snakeway.model.attempt import Exit
from snakeway.model.job import SHELL_SIGNAL_BASE
from snakeway.supervisor.process import identify
from snakeway.supervisor.stop import Graces, StopLadder

_FIRST_INHERITED_FD = 3
_STOP_LOOK_MS = 250  # between two looks for the stop file; the child's end is seen at once
_MODE = 0o660  # the group is the service, where the shim runs as somebody else
_NOT_FOUND = 127  # what a shell exits with for a program that cannot be started
_STEPS_THAT_MAY_FAIL = frozenset({"unlock", "plan"})


@dataclass(frozen=True, slots=True)
class Step:
    """One snakemake call of an attempt."""

    name: str  # unlock, plan, run
    argv: list[str]  # without the program
    env: dict[str, str]  # added to the attempt's


Finish = Callable[[Path], None]


def detach(directory: str, finish: Finish | None = None) -> None:
    """Start the shim of the attempt in ``directory`` as an orphan and return; the target of a forkserver process."""
    if os.fork():
        return
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The forkserver's pipes: as long as one copy is open, it would believe in its dead supervisor.
        os.closerange(_FIRST_INHERITED_FD, os.sysconf("SC_OPEN_MAX"))
        status = main(AttemptDirectory(Path(directory)), finish)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def main(attempt: AttemptDirectory, finish: Finish | None = None) -> int:
    """Run the attempt; returns 0 when this process was the one to do it and wrote exit.json.

    ``finish`` is called with the run's directory when nothing is running there any more.
    """
    command = json.loads(attempt.command.read_bytes())
    lock = _claim(attempt, command["attempt_id"])
    if lock is None:
        return 1
    _redirect(attempt.log)
    setproctitle(title(command["run_id"], command["number"]))
    os.chdir(command["directory"])
    for name in [name for name in os.environ if name.startswith("SNAKEWAY_")]:
        del os.environ[name]  # the service's settings, its token and database among them, are not for jobs
    os.environ.update(command["env"])
    graces = Graces(**command["stop"])
    end = Exit("none", 0, None, time.time())
    for step in (Step(**item) for item in command["steps"]):
        if attempt.stop.exists():
            end = Exit(step.name, 1, None, time.time())
            break
        end = _run(attempt, step, command["snakemake"], lock, graces)
        if end.exit_code != 0 and not (step.name in _STEPS_THAT_MAY_FAIL and end.exit_code is not None):
            break
    if finish is not None:
        with contextlib.suppress(OSError):
            finish(Path(command["directory"]))
    return _write_end(attempt, command["attempt_id"], end)


def _write_end(attempt: AttemptDirectory, attempt_id: str, end: Exit) -> int:
    """Write exit.json; returns 0, or 1 if there was no way to, and the attempt is lost."""
    document = {"attempt_id": attempt_id, **asdict(end)}
    try:
        write_json(attempt.exit, document, sync=True)
    except OSError as error:
        words = error.strerror or str(error)
        try:
            if read_json(attempt.exit) != document:  # else only its folder could not be synced
                write_json_in_room(attempt.exit, attempt.exit_room, {**document, "write_error": words})
        except OSError as again:
            _say(f"cannot write {attempt.exit}: {words}; nor in the room kept for it: {again.strerror or again}\n")
            return 1
    with contextlib.suppress(OSError):
        attempt.exit_room.unlink(missing_ok=True)
    return 0


def _say(line: str) -> None:
    """Write to the attempt's log, if it can be written to."""
    with contextlib.suppress(OSError):
        os.write(2, line.encode())


def _claim(attempt: AttemptDirectory, attempt_id: str) -> int | None:
    """Return the descriptor that holds the lock, or None when the attempt is another shim's."""
    lock = os.open(attempt.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fd = os.open(attempt.process, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except (BlockingIOError, FileExistsError):
        os.close(lock)
        return None
    # Killed between open and write: an empty claim, which the supervisor gives up after its launch grace.
    os.write(fd, json.dumps({"attempt_id": attempt_id, "shim": asdict(identify(os.getpid()))}).encode())
    os.fsync(fd)
    os.close(fd)
    with contextlib.suppress(OSError):  # then the end may not be told on a disk that is full by then
        keep_room(attempt.exit_room)
    return lock


def _run(attempt: AttemptDirectory, step: Step, program: str | None, lock: int, graces: Graces) -> Exit:
    # SIGINT waits until the child can take it as a KeyboardInterrupt: until then it would be ignored, as it is here.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    pid = os.fork()
    if pid == 0:
        os.close(lock)  # the lock is the shim's: it must not live on in snakemake or its jobs
        _become_snakemake(step, program)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # the child does the same: whoever comes first
    claim: dict[str, Any] = read_json(attempt.process) or {}
    claim["child"] = asdict(identify(pid))  # a zombie at worst: nobody else waits for it
    claim["step"] = step.name
    with contextlib.suppress(OSError):  # a full disk: the claim stays as it is, and the step goes on
        write_json(attempt.process, claim)
    status = _wait(pid, attempt.stop, graces)
    # Jobs that a killed snakemake left running would write into files that the next attempt makes anew.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    code, number = (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)
    return Exit(step.name, code, number, time.time())


def _wait(pid: int, stop: Path, graces: Graces) -> int:
    """Wait for the child's end, and climb the stop ladder once ``stop`` exists; returns the wait status."""
    ladder = StopLadder(graces, pid)
    poll = select.poll()
    child = os.pidfd_open(pid)
    poll.register(child, select.POLLIN)
    while not poll.poll(_STOP_LOOK_MS):
        if stop.exists():
            ladder.climb(time.monotonic())
    os.close(child)
    return os.waitpid(pid, 0)[1]


def _become_snakemake(step: Step, program: str | None) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        # An ignored signal is inherited by every job; and SIGINT must be a KeyboardInterrupt here.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.environ.update(step.env)
        if program is not None:
            _execute(program, step.argv)
        # As a shell has it that activated this environment: workflows call snakemake, and its python, by name.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        sys.argv = ["snakemake", *step.argv]
        from snakemake.cli import main as snakemake_main
        from snakemake.workflow import Workflow

        Workflow._rundir = os.getcwd()  # noqa: PTH109  (Snakemake 9 reads it when it is imported, which was long ago)
        snakemake_main(step.argv)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            os.write(2, f"{error.code}\n".encode())
    except KeyboardInterrupt:
        status = SHELL_SIGNAL_BASE + signal.SIGINT
    except BaseException:  # noqa: BLE001  (whatever it is, the attempt's log is the only place to say it)
        traceback.print_exc()
    finally:
        # Unwinding into the shim's frames would make this a second shim.
        with contextlib.suppress(Exception):
            logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _execute(program: str, argv: list[str]) -> NoReturn:
    try:
        os.execvp(program, [program, *argv])  # noqa: S606  (an argument list; no shell is wanted)
    except OSError as error:
        os.write(2, f"cannot start {program}: {error}\n".encode())
        os._exit(_NOT_FOUND)


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
    for source, destination in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, destination)
    os.close(null)
    os.close(out)


def title(run_id: str, number: int) -> str:
    """Return how the processes of an attempt are called in lists of processes, and found there."""
    return f"snakeway run {run_id} attempt {number} "  # a blank at the end: 1 is not the beginning of 12
