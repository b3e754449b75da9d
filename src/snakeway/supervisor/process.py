"""Processes by identity: a pid alone names another process tomorrow.

Reads /proc of Linux. On a machine without it, or for a process of another boot, host or pid namespace, the answer is
UNKNOWN, and UNKNOWN changes nothing.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_STAT_STATE, _STAT_SESSION, _STAT_START = 0, 3, 19  # fields of /proc/PID/stat behind the command name, proc(5)


class Liveness(Enum):
    """Whether an identified process still runs; UNKNOWN when this machine cannot tell."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from every other that has had or will have its pid."""

    boot_id: str
    pid_namespace: str
    pid: int
    start_ticks: int  # clock ticks since boot
    host: str

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Identity":
        """Read what ``dataclasses.asdict`` wrote; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            str(data["boot_id"]),
            str(data["pid_namespace"]),
            int(data["pid"]),
            int(data["start_ticks"]),
            str(data["host"]),
        )


def identity_in(claim: dict[str, Any] | None, member: str) -> Identity | None:
    """Return the identity in a claim; None where there is none."""
    value = (claim or {}).get(member)
    if not isinstance(value, dict):
        return None
    try:
        return Identity.from_json(value)
    except (KeyError, TypeError, ValueError):
        return None


def identify(pid: int) -> Identity:
    """Return the identity of a running process; raises ProcessLookupError when there is none."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return Identity(*_where(), pid, int(stat[_STAT_START]), os.uname().nodename)


def liveness(identity: Identity) -> Liveness:
    """Whether the process runs. A zombie has ended: only its parent has not looked yet."""
    try:
        boot_id, pid_namespace = _where()
    except OSError:
        return Liveness.UNKNOWN
    if identity.boot_id != boot_id:
        # This very machine, started anew; any other machine is out of sight.
        return Liveness.DEAD if identity.host == os.uname().nodename else Liveness.UNKNOWN
    if identity.pid_namespace != pid_namespace:
        return Liveness.UNKNOWN
    stat = _stat(identity.pid)
    if stat is None or int(stat[_STAT_START]) != identity.start_ticks or stat[_STAT_STATE] in ("Z", "X"):
        return Liveness.DEAD
    return Liveness.ALIVE


def lock_is_held(path: Path) -> Liveness:
    """Whether somebody holds the ``flock`` on a file: the kernel drops it when the holder ends, in every namespace.

    For a shim of this boot in another pid namespace (a container that was restarted), whose pid means nothing here.
    """
    try:
        with path.open("r+b") as file:  # NFS locks exclusively only what is open for writing
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Liveness.ALIVE
    except OSError:
        return Liveness.UNKNOWN
    return Liveness.DEAD


def same_boot(identity: Identity) -> bool:
    """Whether the process belongs to the kernel that runs now."""
    try:
        return identity.boot_id == _where()[0]
    except OSError:
        return False


def signal_group(leader: Identity, number: signal.Signals) -> None:
    """Send a signal to the process group that ``leader`` leads, if the leader still runs or left members behind.

    A group lives on with the leader's number until its last member ends, and the kernel gives that number to no new
    process before; so a dead leader of this boot whose pid was not given again may still have a group.
    """
    if liveness(leader) is Liveness.UNKNOWN:
        return
    stat = _stat(leader.pid)
    if stat is not None and int(stat[_STAT_START]) != leader.start_ticks:
        return  # the pid is another process's now, so the old group is gone
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, number)


def left_behind(session: Identity | None, marker: str, title: str) -> list[int]:
    """Return the pids of what an attempt started and nobody waits for any more.

    These are processes that carry ``marker`` (a ``NAME=value`` of their environment) or ``title`` (the beginning of
    their command line), wherever they are, and the other members of the shim's session. The session's number is
    trusted only if one that carries a sign is in it: while a member lives the kernel gives the number to nobody else,
    but when all are gone it may become a stranger's. Reads all of /proc: for ends, not for every tick.
    """
    signed, members, by_session = [], [], set()
    for pid in _pids():
        stat = _stat(pid)
        if stat is None or stat[_STAT_STATE] in ("Z", "X") or pid == os.getpid():
            continue
        number = int(stat[_STAT_SESSION])
        environment = _environment(pid)
        if _is_a_schedulers(environment):
            continue
        if marker.encode() in environment or _command_line(pid).startswith(title.encode()):
            signed.append(pid)
            by_session.add(number)
        elif session is not None and number == session.pid:
            members.append(pid)
    if session is None or session.pid not in by_session or not same_boot(session):
        return signed
    return signed + members


def kill_left_behind(session: Identity | None, marker: str, title: str) -> int:
    """Kill what :func:`left_behind` finds, until it finds nothing new; returns how many processes that were."""
    killed: set[int] = set()
    for _ in range(10):  # a process may fork between the look and the kill
        found = [pid for pid in left_behind(session, marker, title) if pid not in killed]
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
    return len(killed)


def _where() -> tuple[str, str]:
    boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return boot_id, str((_PROC / "self/ns/pid").readlink())


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 1 :].split()  # the command name before it may hold blanks and parentheses


def _is_a_schedulers(environment: list[bytes]) -> bool:
    """Whether a process is (in) a job that Slurm runs on this very machine: that is found and ended through Slurm."""
    own = os.environ.get("SLURM_JOB_ID", "").encode()
    return any(item.startswith(b"SLURM_JOB_ID=") and item.removeprefix(b"SLURM_JOB_ID=") != own for item in environment)


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _pids() -> Iterator[int]:
    for name in os.listdir(_PROC):  # noqa: PTH208  (plain names: this runs over every process of the machine)
        if name.isdigit():
            yield int(name)
