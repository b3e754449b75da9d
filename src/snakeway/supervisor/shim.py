"""The process between the supervisor and snakemake: leads its own session, claims the attempt, remembers its end.

It outlives every supervisor. It does almost nothing, so that it can go wrong almost nowhere:

    1. claim   the lock is taken and process.json created exclusively: of several shims for one attempt, even one after
               the other, one goes on and the others leave.
    2. steps   unlock, plan, run: each a child in a process group of its own, so that a signal to the group reaches
               snakemake and its jobs but not the shim.
    3. end     what is left of the group is killed, exit.json is written and synced.

Killed at any point it leaves no exit.json; the supervisor then finds it dead and the attempt lost.
"""

import contextlib
import fcntl
import json
import os
import resource
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from snakeway.directory import AttemptDirectory, read_json, write_json
from snakeway.model.attempt import Exit
from snakeway.supervisor.process import identify

_FIRST_INHERITED_FD = 3
_STEPS_THAT_MAY_FAIL = frozenset({"unlock", "plan"})


@dataclass(frozen=True, slots=True)
class Step:
    """One snakemake call of an attempt."""

    name: str  # unlock, plan, run
    argv: list[str]  # without the program
    env: dict[str, str]  # added to the attempt's


def detach(directory: str) -> None:
    """Start the shim of the attempt in ``directory`` as an orphan and return; the target of a forkserver process."""
    if os.fork():
        return
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The forkserver's pipes: as long as one copy is open, it would believe in its dead supervisor.
    os.closerange(_FIRST_INHERITED_FD, os.sysconf("SC_OPEN_MAX"))
    status = 1
    try:
        status = main(AttemptDirectory(Path(directory)))
    finally:
        os._exit(status)


def main(attempt: AttemptDirectory) -> int:
    """Run the attempt; returns 0 when this process was the one to do it and wrote exit.json."""
    lock = _claim(attempt)
    if lock is None:
        return 1
    command = json.loads(attempt.command.read_bytes())
    _redirect(attempt.log)
    setproctitle(title(command["run_id"], command["number"]))
    os.chdir(command["directory"])
    for name in [name for name in os.environ if name.startswith("SNAKEWAY_")]:
        del os.environ[name]  # the service's settings, its token and database among them, are not for jobs
    os.environ.update(command["env"])
    end = Exit("none", 0, None, time.time())
    for step in (Step(**item) for item in command["steps"]):
        if attempt.stop.exists():
            end = Exit(step.name, 1, None, time.time())
            break
        end = _run(attempt, step, command.get("snakemake"), lock)
        if end.exit_code != 0 and not (step.name in _STEPS_THAT_MAY_FAIL and end.exit_code is not None):
            break
    write_json(attempt.exit, asdict(end), sync=True)
    return 0


def _claim(attempt: AttemptDirectory) -> int | None:
    """Return the descriptor that holds the lock, or None when the attempt is another shim's."""
    lock = os.open(attempt.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fd = os.open(attempt.process, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (BlockingIOError, FileExistsError):
        os.close(lock)
        return None
    # Killed between open and write: an empty file; no lock is held, so the attempt is seen to be lost.
    os.write(fd, json.dumps({"shim": asdict(identify(os.getpid()))}).encode())
    os.fsync(fd)
    os.close(fd)
    return lock


def _run(attempt: AttemptDirectory, step: Step, program: str | None, lock: int) -> Exit:
    pid = os.fork()
    if pid == 0:
        os.close(lock)  # the lock is the shim's: it must not live on in snakemake or its jobs
        _become_snakemake(step, program)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # the child does the same: whoever comes first
    claim: dict[str, Any] = read_json(attempt.process) or {}
    claim["child"] = asdict(identify(pid))  # a zombie at worst: nobody else waits for it
    claim["step"] = step.name
    write_json(attempt.process, claim)
    _, status = os.waitpid(pid, 0)
    # Jobs that a killed snakemake left running would write into files that the next attempt makes anew.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    code, number = (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)
    rss_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Exit(step.name, code, number, time.time(), rss_kib * 1024)


def _become_snakemake(step: Step, program: str | None) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        # An ignored signal is inherited by every job; and SIGINT must be a KeyboardInterrupt here.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(step.env)
        if program is not None:
            os.execvp(program, [program, *step.argv])  # noqa: S606  (an argument list; no shell is wanted)
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
    except KeyboardInterrupt:
        status = 130  # what a shell shows for a program that SIGINT ended
    except OSError as error:
        os.write(2, f"cannot start {program or 'snakemake'}: {error}\n".encode())
        status = 127
    finally:
        # Unwinding into the shim's frames would make this a second shim.
        with contextlib.suppress(Exception):
            import logging

            logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, destination in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, destination)
    os.close(null)
    os.close(out)


def title(run_id: str, number: int) -> str:
    """Return how the processes of an attempt are called in lists of processes, and found there."""
    return f"snakeway run {run_id} attempt {number} "  # a blank at the end: 1 is not the beginning of 12
