"""What is done as the owner of a run: the program that the service starts through sudo.

    python -I -m snakeway.supervisor.asowner DATA mkdir  RUN
    python -I -m snakeway.supervisor.asowner DATA shim   RUN NUMBER            writes its order, starts its shim
    python -I -m snakeway.supervisor.asowner DATA sweep  RUN NUMBER ATTEMPT    kills what an attempt left behind
    python -I -m snakeway.supervisor.asowner DATA cancel RUN JOB …             scancel, for jobs with the run's name
    python -I -m snakeway.supervisor.asowner DATA remove RUN                   empties the directory of a run
    python -I -m snakeway.supervisor.asowner DATA decide RUN                   gives a gate its decision

Orders and decisions are read from the standard input.

The line in sudoers fixes everything up to DATA, so whoever calls chooses ids and numbers, and no path. They are looked
at here again, for a line with a wildcard lets anything through.
"""

import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from setproctitle import getproctitle

from snakeway import ids
from snakeway.directory import AttemptDirectory, read_json, run_directory, write_json
from snakeway.gatefile import Decision, Verdict, write_decision
from snakeway.owner import MIN_UID, NEW_FOLDER
from snakeway.supervisor import shim
from snakeway.supervisor.order import write_order
from snakeway.supervisor.process import identity_in, kill_left_behind
from snakeway.wire import ENV_ATTEMPT, STATE_FOLDER

_UMASK = 0o007  # the service reads what is made by its group; sbatch passes the umask on to jobs
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_JOB = re.compile(r"[0-9]{1,18}([_+][0-9]{1,9})?")
_FOLDER_BITS, _FILE_BITS = 0o077, 0o044  # what the service needs: to list and remove, to read
_NOT_OPENED = frozenset({"conda", "conda-archive", "singularity"})  # of .snakemake: many files that nobody shows
_NAMES_AT_ONCE = 500  # on one command line


class Refused(Exception):
    """The call is not one that the service makes."""


def main(argv: Sequence[str]) -> int:
    """Do one command; returns the exit code. The reason for a refusal is the last line on stderr."""
    os.umask(_UMASK)
    os.chdir("/")  # where the service was started may be closed for this account
    try:
        _check_caller()
        return _do(argv)
    except (Refused, OSError, ValueError, LookupError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _do(argv: Sequence[str]) -> int:
    match argv:
        case [data, "mkdir", run]:
            _make(_runs(data) / NEW_FOLDER / _id(run))
        case [data, "shim", run, number]:
            attempt = _attempt(data, run, number)
            _order(attempt)
            _begin_environment()
            _silence()
            shim.detach(str(attempt.path), finish=open_up)
        case [data, "sweep", run, number, attempt_id]:
            session = identity_in(read_json(_attempt(data, run, number).process), "shim")
            kill_left_behind(session, f"{ENV_ATTEMPT}={_id(attempt_id)}", shim.title(run, int(number)))
        case [data, "cancel", run, *jobs] if jobs:
            _cancel(_directory(data, run), run, jobs)
        case [data, "decide", run]:
            directory, told = _directory(data, run), json.load(sys.stdin)
            write_decision(directory, Decision(**{**told, "verdict": Verdict(told["verdict"])}))
        case [data, "remove", run]:
            _empty(_directory(data, run))
        case _:
            raise Refused("not a command of the service")
    return 0


def _check_caller() -> None:
    if os.geteuid() < MIN_UID or os.getuid() != os.geteuid():
        raise Refused("only for accounts of people")


def _runs(data: str) -> Path:
    path = Path(data)
    if not path.is_absolute() or os.path.normpath(data) != data or re.search(r"\s", data):
        raise Refused("the data folder must be an absolute path, without a blank in it")
    runs = path / "runs"
    # sudo says who called. Without this, a wildcard in sudoers could lead into a folder that somebody else has made.
    if str(runs.lstat().st_uid) != os.environ.get("SUDO_UID"):
        raise Refused(f"{runs} does not belong to the account that called sudo")
    return runs


def _id(text: str) -> str:
    if not ids.is_id(text):
        raise Refused("not an id")
    return text


def _directory(data: str, run: str) -> Path:
    path = _runs(data) / _id(run)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Refused(f"{path} is not a directory of this account")
    return path


def _attempt(data: str, run: str, number: str) -> AttemptDirectory:
    if not _NUMBER.fullmatch(number):
        raise Refused("not a number")
    _directory(data, run)
    return run_directory(Path(data), run).attempt(int(number))


def _make(path: Path) -> None:
    """Make a directory; setgid and group come from the folder it is in. One of this account may be there already."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o770)  # no chmod: an account that is not of the group would lose the setgid bit by it
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Refused(f"{path} is somebody else's")
    (path / STATE_FOLDER).mkdir(mode=0o770, exist_ok=True)
    write_json(path / STATE_FOLDER / "run.json", {"run_id": path.name})


def _order(attempt: AttemptDirectory) -> None:
    order = json.load(sys.stdin)
    write_order(attempt, order["command"], order["config"])
    for path in (attempt.events, attempt.plan):  # which snakemake would make for its user's eyes only
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660))


def _begin_environment() -> None:
    """Forget what sudo let through; what the service hands on is in command.json."""
    getproctitle()  # setproctitle looks for its place at its first call, behind the environment as it was at the start
    account = pwd.getpwuid(os.geteuid())
    os.environ.clear()
    os.environ.update(
        HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name, SHELL=account.pw_shell, PATH=os.defpath
    )


def _silence() -> None:
    # sudo waits until nobody holds its pipes any more, and the shim lives on.
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


def _cancel(directory: Path, run: str, jobs: Sequence[str]) -> None:
    if not all(_JOB.fullmatch(job) for job in jobs):
        raise Refused("not the id of a job")
    _begin_environment()
    os.environ.update(_environment_of(directory), LC_ALL="C")  # where the cluster is (SLURM_CONF, PATH)
    # The name makes sure that an id that Slurm has given to another job since means nothing.
    argv = ["scancel", "--quiet", f"--name={run}", *jobs]
    os.execvp(argv[0], argv)  # noqa: S606  (an argument list; no shell is wanted)


def _environment_of(directory: Path) -> dict[str, str]:
    numbers = [int(path.name) for path in (directory / STATE_FOLDER / "attempts").iterdir() if path.name.isdecimal()]
    for number in sorted(numbers, reverse=True):
        attempt = AttemptDirectory(directory / STATE_FOLDER / "attempts" / str(number))
        found: Any = (read_json(attempt.command) or {}).get("env")
        if isinstance(found, dict):
            return {str(name): str(value) for name, value in found.items()}
    return {}


def _empty(directory: Path) -> None:
    """Remove what is in a directory, and let the service in for the rest."""
    directory.chmod(0o770)
    with suppress(OSError, RecursionError):  # folders so deep that Python does not reach the ground; rm does
        for folder, names, _ in os.walk(directory):
            for name in names:
                with suppress(OSError):
                    if not Path(folder, name).is_symlink():
                        Path(folder, name).chmod(stat.S_IRWXU)
    names = [f"./{name}" for name in os.listdir(directory)]  # noqa: PTH208 - plain names
    for start in range(0, len(names), _NAMES_AT_ONCE):
        argv = ["rm", "-rf", "--", *names[start : start + _NAMES_AT_ONCE]]
        # What remains, because a folder is the service's, the service removes.
        subprocess.run(argv, cwd=directory, capture_output=True, check=False)  # noqa: S603 - names below an own folder


def open_up(directory: Path) -> None:
    """Let the service read what jobs made with narrower modes, or with a group that was not inherited.

    Nobody else can enter the directory, so bits for all others mean the service. Cost: one stat for each file.
    """
    group = directory.stat().st_gid
    for entry in _entries(directory):
        with suppress(OSError):  # gone, or the service's own
            status = entry.stat(follow_symlinks=False)
            bits = _FOLDER_BITS if stat.S_ISDIR(status.st_mode) else _FILE_BITS if stat.S_ISREG(status.st_mode) else 0
            wanted = bits & (0o070 if status.st_gid == group else 0o007)
            if status.st_uid == os.geteuid() and status.st_mode & wanted != wanted:
                os.chmod(entry.path, stat.S_IMODE(status.st_mode) | wanted)  # noqa: PTH101 - cheaper for many


def _entries(directory: Path) -> Iterator["os.DirEntry[str]"]:
    """Yield everything below, folders before what is in them. No recursion: jobs can make folders of any depth."""
    waiting = [str(directory)]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                yield entry
                if entry.is_dir(follow_symlinks=False) and not (
                    entry.name in _NOT_OPENED and Path(folder).name == ".snakemake"
                ):
                    waiting.append(entry.path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
