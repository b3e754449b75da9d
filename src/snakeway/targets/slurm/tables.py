"""What squeue and sacct print, read into jobs. Pure.

States and fields are those of Slurm's manual pages squeue(1) and sacct(1), from version 20.11 on; times are seconds
since the epoch because SLURM_TIME_FORMAT asks for that.
"""

import math
import pwd
import re
from collections.abc import Iterator
from dataclasses import replace

from snakeway.model.scheduled import Phase, Scheduled

# id, state, reason, nodes, submitted, started, ended, processors, memory, name; the name last: the user could choose it
QUEUE_FORMAT = "%i|%T|%r|%N|%V|%S|%e|%C|%m|%j"
_QUEUE_FIELDS = 10
_BOOKS = ("JobID", "State", "ExitCode", "NodeList", "Submit", "Start", "End", "TotalCPU", "MaxRSS", "ReqMem")
_MORE_BOOKS = ("AllocCPUS", "NNodes", "Reason")
BOOKS_FORMAT = ",".join((*_BOOKS, *_MORE_BOOKS))
_BOOKS_FIELDS = len(_BOOKS) + len(_MORE_BOOKS)

_QUEUED = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
_ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
    }
)
_ENDING = "COMPLETING"
_HEADING = "CLUSTER: "  # before the jobs of each cluster, where SLURM_CLUSTERS names some
_SUCCEEDED = "COMPLETED"
_MB = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3, "": 1 / 1024**2}
_SIZE = re.compile(
    r"(\d{1,18}(?:\.\d*)?)([KMGTP]?)[Bnc]?"
)  # sacct before version 21.08 ends ReqMem with n or c: per node, per CPU
_TIME = re.compile(r"(?:(\d{1,9})-)?(?:(\d{1,9}):)?(\d{1,9}):(\d+(?:\.\d*)?)")  # [days-][hours:]minutes:seconds
_NOTHING = frozenset({"", "None", "Unknown", "N/A", "None assigned", "(null)"})
_CANCELLED_BY = re.compile(r"CANCELLED by (\d{1,20})\b")
_LONGEST_COUNT = 18  # digits; what is longer is no count, and Python refuses to read the longest
_REAL_SIGNALS = range(1, 65)  # sacct gives 125 as the signal of a step that ran out of memory


class Unreadable(ValueError):
    """Not what was asked for, so nothing may follow from what is missing in it."""


def queue(text: str) -> dict[str, dict[str, Scheduled]]:
    """Read what squeue prints in QUEUE_FORMAT: job name -> id -> job. Raises Unreadable."""
    found: dict[str, dict[str, Scheduled]] = {}
    for line in filter(str.strip, text.splitlines()):
        if line.startswith(_HEADING):
            continue
        fields = [field.strip() for field in line.split("|", _QUEUE_FIELDS - 1)]
        if len(fields) != _QUEUE_FIELDS:
            raise Unreadable(line)
        id_, state, reason, nodes, submitted, started, ended, cpus, memory, name = fields
        phase = phase_of(state)
        found.setdefault(name, {})[id_] = Scheduled(
            state=state,
            phase=phase,
            ending=state == _ENDING,
            reason=_text(reason) if phase is not Phase.RUNNING else "",
            host=_text(nodes) or None,
            queued_at=_number(submitted),
            started_at=_number(started) if phase is not Phase.QUEUED else None,  # a forecast, if anything
            ended_at=_number(ended) if phase is Phase.ENDED else None,  # of a running one: when its limit is over
            cpus=_count(cpus),
            mem_mb=size_mb(memory),
            succeeded=state == _SUCCEEDED if phase is Phase.ENDED else None,
        )
    return found


def books(text: str) -> dict[str, Scheduled]:
    """Read what sacct prints in BOOKS_FORMAT: id -> ended job. Jobs that the books have not closed are left out."""
    found: dict[str, Scheduled] = {}
    resident: dict[str, float] = {}
    for fields in _rows(text):
        id_, _, step = fields[0].partition(".")
        if step:  # only steps have a size; that of the job is that of its largest
            size = size_mb(fields[8])
            if size is not None:
                resident[id_] = max(size, resident.get(id_, 0.0))
        else:
            found[id_] = _booked(fields)
    return {id_: replace(job, max_rss_mb=resident.get(id_)) for id_, job in found.items() if job.phase is Phase.ENDED}


def phase_of(state: str) -> Phase:
    """Return what one of Slurm's states comes to. One that nobody knows is no end: nothing may follow from it."""
    if state in _ENDED:
        return Phase.ENDED
    return Phase.QUEUED if state in _QUEUED else Phase.RUNNING


def size_mb(text: str) -> float | None:
    """Read a size such as 250M or 129236K; None if there is none."""
    match = _SIZE.fullmatch(text)
    return float(match[1]) * _MB[match[2]] if match else None


def seconds(text: str) -> float | None:
    """Read a length of time such as 1-02:03:04 or 00:01.653; None if there is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, rest = match.groups()
    return ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes)) * 60 + float(rest)


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split("|", _BOOKS_FIELDS - 1)
        if len(fields) == _BOOKS_FIELDS:
            yield fields


def _booked(fields: list[str]) -> Scheduled:
    _, told, exit_code, nodes, submitted, started, ended, cpu, _, memory, cpus, _, reason = fields
    state = told.split()[0].rstrip("+") if told.split() else "UNKNOWN"
    code, _, signal = exit_code.partition(":")
    number = _count(signal) or 0
    phase = phase_of(state)
    return Scheduled(
        state=state,
        phase=phase,
        reason=_by_whom(told) or _text(reason),
        host=_text(nodes) or None,
        queued_at=_number(submitted),
        started_at=_number(started),
        ended_at=_number(ended),
        exit_code=_count(code),
        signal=number if number in _REAL_SIGNALS else None,
        cpus=_count(cpus),
        mem_mb=size_mb(memory),
        cpu_s=seconds(cpu),
        succeeded=state == _SUCCEEDED if phase is Phase.ENDED else None,
        final=True,
    )


def _by_whom(state: str) -> str:
    match = _CANCELLED_BY.match(state)
    if match is None:
        return ""
    try:
        return f"by {pwd.getpwuid(int(match[1])).pw_name}"
    except (KeyError, OverflowError):
        return f"by user {match[1]}"


def _text(text: str) -> str:
    return "" if text in _NOTHING else text


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT else None
