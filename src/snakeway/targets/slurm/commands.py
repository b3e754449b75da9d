"""Calls squeue, sacct and scancel. Jobs are found by their name, which the executor makes the run's id."""

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence

from snakeway.model.scheduled import Scheduled
from snakeway.owner import Owner
from snakeway.targets.base import SchedulerAway
from snakeway.targets.slurm import tables

_TIMEOUT_S = 60.0  # Slurm's own programs give up after their MessageTimeout, mostly 10 s
_IDS_AT_ONCE = 500  # on one command line
_NO_BOOKS = "accounting storage is disabled"
_GONE = "Invalid job id"  # what scancel says of jobs that have ended, which is what is wanted
_NOT_OURS = ("SQUEUE_", "SACCT_", "SCANCEL_")  # a person's own defaults would hide jobs
# Numbers instead of local times, and messages that are the same everywhere.
_ENVIRONMENT = {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}


class SlurmScheduler:
    """The cluster that the environment (SLURM_CONF, PATH) leads to."""

    def present(self) -> bool:
        """Whether squeue is installed here."""
        return shutil.which("squeue") is not None

    def look(self, runs: Collection[str]) -> Mapping[str, Mapping[str, Scheduled]]:
        """Return the jobs of the runs by run and id: one call of squeue. Raises SchedulerAway."""
        if not runs:
            return {}
        argv = ["squeue", "--noheader", "--all", "--states=all", f"--name={','.join(runs)}"]
        said = _checked(_call([*argv, f"--format={tables.QUEUE_FORMAT}"]))
        try:
            return tables.queue(said)
        except tables.Unreadable as error:  # a job that is not seen counts as ended, so half an answer is none
            raise SchedulerAway(f"squeue has said what cannot be read: {error}") from error

    def account(self, external_ids: Collection[str]) -> Mapping[str, Scheduled] | None:
        """Return what slurmdbd says of ended jobs, None if the cluster has none: one call of sacct for 500 jobs.

        Raises SchedulerAway.
        """
        found: dict[str, Scheduled] = {}
        ids = sorted(external_ids)
        for start in range(0, len(ids), _IDS_AT_ONCE):
            argv = ["sacct", "--noheader", "--parsable2", f"--format={tables.BOOKS_FORMAT}"]
            done = _call([*argv, f"--jobs={','.join(ids[start : start + _IDS_AT_ONCE])}"])
            if _NO_BOOKS in done.stderr:
                return None
            found.update(tables.books(_checked(done)))
        return found

    def cancel(self, run: str, external_ids: Collection[str], owner: Owner | None = None) -> None:
        """Have jobs ended: one call of scancel for 500 of them. Raises SchedulerAway.

        Slurm lets nobody but a job's user and its operators do that, so ``owner`` is who calls it.
        """
        ids = sorted(external_ids)
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            # The name makes sure that an id that Slurm has given to another job since means nothing.
            argv = owner.argv("cancel", run, *some) if owner else ["scancel", "--quiet", f"--name={run}", *some]
            done = _call(argv)
            if done.returncode != 0 and _GONE not in done.stderr:
                raise SchedulerAway(_words(done))

    def tidy(self, run: str) -> None:
        """Do nothing: a job in Slurm is all there is of it."""


def _checked(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        raise SchedulerAway(_words(done))
    return done.stdout


def _words(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"{done.args[0]} ended with code {done.returncode}"


def _call(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    try:
        return subprocess.run(  # noqa: S603  an argument list of our own making: ids are Slurm's, names are run ids
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment | _ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise SchedulerAway(f"{argv[0]} is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerAway(f"{argv[0]} has not answered within {_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise SchedulerAway(f"{argv[0]} cannot be started: {error.strerror}") from error
