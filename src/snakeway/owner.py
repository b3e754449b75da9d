"""Other local accounts: which one the owner of a run has, and what is done as it, through sudo.

With ``run_as_owner`` the directory of a run belongs to its owner's account, and so does everything that runs in it.
Whose it is, the directory says (:func:`of_directory`), not the settings of today: so what was begun as somebody is
swept, cancelled and removed as the same.

    DATA            0711  the service's; others may pass, not look around
    DATA/runs       2711  the service's, with its group, which what is made below inherits
    DATA/runs/.new  3773  where accounts make the directories of their runs; the service moves them from here
    DATA/runs/RUN   2770  the owner's, and the service's by the group; nobody else can enter

Nobody but the service can write in ``runs``: an owner can neither rename the directory of a run nor put a link in its
place. Since only two can enter it, what the service makes inside may be writable for everybody.
"""

import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snakeway.directory import run_directory
from snakeway.errors import Invalid
from snakeway.settings import ACCOUNT_NAME, Settings

MIN_UID = 1000  # below are the accounts of the system
NOBODY_UID = 65534
MODULE = "snakeway.supervisor.asowner"
NEW_FOLDER = ".new"  # below runs

_TIMEOUT_S = 60.0
_PRIVATE_FOLDERS = ("workflows", "git")  # of the data folder; made here before anybody else could look into them
_PROC = Path("/proc")
# What snakemake needs to know of the service's environment. Not OTEL_…_HEADERS, proxies with passwords or SNAKEWAY_…:
# the owner of a run can read the environment of its processes.
_CARRIED = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "SLURM_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_CARRIED_BEGINNINGS = ("LC_", "OTEL_")


class CannotBecome(OSError):
    """Nothing was done as the other account: sudo refused, or what it started did."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An account that is not the service's own."""

    account: str
    uid: int
    data_dir: Path

    def argv(self, command: str, *arguments: str) -> list[str]:
        """Return the call that does ``command`` of :mod:`snakeway.supervisor.asowner` as this account."""
        become = ["sudo", "-n", "-u", self.account, "--"]
        return [*become, sys.executable, "-I", "-m", MODULE, str(self.data_dir), command, *arguments]

    def call(self, command: str, *arguments: str, given: str = "", timeout_s: float = _TIMEOUT_S) -> None:
        """Do a command as this account and wait for its end; ``given`` is what it reads.

        Raises CannotBecome with its last words, or TimeoutError: then nobody knows whether it was done.
        """
        try:
            done = subprocess.run(  # noqa: S603  an argument list of ours: an account that was checked, ids and numbers
                self.argv(command, *arguments),
                capture_output=True,
                text=True,
                errors="replace",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                input=given,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            raise CannotBecome("sudo is not installed on this machine") from None
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"'{command}' as {self.account} has not ended within {timeout_s:.0f} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            raise CannotBecome(f"'{command}' cannot be done as the account {self.account}: {said}")

    def make_directory(self, run_id: str) -> None:
        """Make the directory of a run as this account; may be repeated. Raises CannotBecome, Invalid.

        Crash before the move: an empty directory in ``runs/.new``, which is taken the next time.
        """
        path = run_directory(self.data_dir, run_id).path
        if not os.path.lexists(path):
            self.call("mkdir", run_id)
            (path.parent / NEW_FOLDER / run_id).replace(path)
        # Until it was moved its owner could put something else in its place; from now on nobody can.
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != self.uid:
            raise Invalid(
                f"the directory of run {run_id} does not belong to the account {self.account} as which the run is to "
                "go on; submit a new run"
            )
        if status.st_gid != path.parent.stat().st_gid:
            raise Invalid(f"the directory of run {run_id} has not inherited the group of {path.parent}")


def account_of(person: str, accounts: Mapping[str, str]) -> pwd.struct_passwd:
    """Return the local account of a person, who may be named in ``accounts`` or is his own account's name.

    Raises Invalid when there is none, or when it is not one for people.
    """
    name = accounts.get(person, person)
    advice = "ask an administrator to name one in the setting SNAKEWAY_ACCOUNTS"
    if not is_name(name):
        raise Invalid(f"{person!r} is not the name of a local account; {advice}")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Invalid(f"{person!r} has no local account {name!r} on this machine; {advice}") from None
    if account.pw_uid == 0 or (account.pw_uid != os.geteuid() and not _is_for_people(account.pw_uid)):
        raise Invalid(f"runs of {person!r} may not run as {name!r}, an account of the system; {advice}")
    return account


def is_name(name: str) -> bool:
    """Whether an account may have this name; one that could be an option or a number to sudo is none."""
    return re.fullmatch(ACCOUNT_NAME, name) is not None


def of_person(settings: Settings, person: str) -> Owner | None:
    """Return as whom a person's runs run; None if it is the service itself. Raises Invalid, see ``account_of``."""
    if not settings.run_as_owner:
        return None
    account = account_of(person, settings.accounts)
    return None if account.pw_uid == os.geteuid() else Owner(account.pw_name, account.pw_uid, settings.data_dir)


def of_directory(data_dir: Path, run_id: str) -> Owner | None:
    """Return the account whose directory a run has; None if it is the service's own, or root need not ask anybody."""
    try:
        uid = run_directory(data_dir, run_id).path.lstat().st_uid
        if os.geteuid() in (0, uid) or not _is_for_people(uid):
            return None
        name = pwd.getpwuid(uid).pw_name
    except (OSError, KeyError):  # no directory, or no such account any more
        return None
    return Owner(name, uid, data_dir) if is_name(name) else None


def carried(environment: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """Return what of the service's environment is handed on; sudo itself lets nothing through."""
    return {
        name: value
        for name, value in environment.items()
        if name in _CARRIED or name in more or (name.startswith(_CARRIED_BEGINNINGS) and not name.endswith("_HEADERS"))
    }


def open_house(settings: Settings) -> None:
    """Give the data folder the modes that are drawn above; may be repeated. Raises OSError, Invalid."""
    if not (_PROC / "1" / "stat").exists():
        raise Invalid(
            "run_as_owner: the processes of other accounts are hidden here (hidepid of /proc), so that the service "
            "could not see whether a run is alive; mount /proc without it, or exempt the service's group (gid=)",
            field="run_as_owner",
        )
    os.umask(0o022)  # what is written for an owner must be readable, whatever the service was started with
    data_dir = settings.data_dir
    for name in _PRIVATE_FOLDERS:
        (data_dir / name).mkdir(exist_ok=True, mode=0o700)
    if settings.database_url is None:
        (data_dir / "snakeway.db").touch(mode=0o600)  # SQLite takes an empty file, and its mode for those beside it
    for entry in data_dir.iterdir():
        if entry.name != "runs" and not entry.is_symlink():
            with suppress(OSError):  # gone meanwhile, or somebody else's
                entry.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o700)
    runs = data_dir / "runs"
    for folder, mode in ((runs, 0o2711), (runs / NEW_FOLDER, 0o3773)):
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, os.getegid())
        folder.chmod(mode)  # after the group, whose change would take the setgid bit away
    data_dir.chmod(0o711)


def _is_for_people(uid: int) -> bool:
    return uid >= MIN_UID and uid != NOBODY_UID
