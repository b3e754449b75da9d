"""What the executor asks Slurm beside what the plugin asks."""

import os
import subprocess
from collections.abc import Collection

_TIMEOUT_S = 60.0
_NOT_OURS = ("SQUEUE_", "SACCT_", "SCANCEL_")  # a person's own defaults would hide jobs
_NO_BOOKS = "accounting storage is disabled"


def states_of(run: str) -> dict[str, tuple[str, str]] | None:
    """Return id -> (state, comment) of all jobs with this name; None if the controller does not answer."""
    out = _call("squeue", "--noheader", "--all", "--states=all", f"--name={run}", "--format=%i|%T|%k")
    if out is None:
        return None
    lines = (line.strip().split("|", 2) for line in out.splitlines())
    return {fields[0]: (fields[1], fields[2]) for fields in lines if len(fields) == 3}


def books_of(ids: Collection[str]) -> dict[str, str] | None:
    """Return id -> state of the jobs that the books know; None if they do not answer, empty if there are none."""
    out = _call(
        "sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State", f"--jobs={','.join(ids)}"
    )
    if out is None:
        return None
    lines = (line.partition("|") for line in out.splitlines())
    return {id_: state.partition(" ")[0] for id_, _, state in lines if id_}


def cancel(id_: str) -> None:
    """Have a job ended; whether that works is seen by looking."""
    _call("scancel", "--quiet", id_)


def _call(*argv: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    try:
        done = subprocess.run(  # noqa: S603  an argument list of our own making
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return "" if _NO_BOOKS in done.stderr else None
    return done.stdout
