"""The event format: one JSON object per line in ``events.ndjson``, written by the logger plugin, read by the intake.

Standard library only: snakemake imports this at every start. Every event has ``seq`` (0, 1, 2 … within its file),
``t`` (seconds since the epoch) and ``type``; the first is always ``attempt_started`` and names run and attempt. A
reader ignores types and members it does not know, so that plugin and server may be of different versions.

Files are named as in the workflow, relative to the working directory; what a storage plugin keeps is named by its
address there, such as s3://BUCKET/KEY, wherever snakemake has its copy.

    type              members
    attempt_started   v, run_id, attempt_id, snakemake, host, user, pid, directory, command, snakefile, dry_run,
                      outside, profile (name of its folder), log (path), traceparent
    rulegraph         nodes [{rule}], links [{source, target}]  (indices into nodes)
    stats             jobs {rule: count}, total
    requested         files (what the attempt is asked for: files by name, the outputs of a rule by name, the inputs of
                      one that makes no file; in several events, and more when a checkpoint has added some)
    job               job, try, rule, wildcards, input, output, directories (those of its outputs that are folders),
                      log, benchmark, reason, threads, resources, shell, checkpoint, local (runs beside snakemake, so it
                      has started)
    job_submitted     job, try, external_id, log (the scheduler's own, if it is known): the scheduler has the job (not
                      of local jobs, nor where nobody can tell)
    job_held          job, try, reason: the scheduler does not accept the job for now; it will be submitted again
    job_started       job, try, started_at: the job runs (likewise)
    job_finished      job, try, started_at (absent when not known)
    job_failed        job, try, rule, exit_code (128 + signal when killed), signal, message, external_id,
                      log (path), log_tail (the end of that log), stderr_tail (the end of what jobs beside snakemake
                      wrote to standard error, where that is a file, or of the scheduler's log), oom_killed (whether the
                      kernel ended a process of the host for want of memory; null: not known), gate (its request; a gate
                      that waits for a decision has one, see gatefile.py, and `rejected` {by, reason} if it was)
    progress          done, total
    error             exception, message, storage (what S3 said, if that is the reason, or null)
    attempt_ended     lost (events that could not be written)
"""

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from snakeway.plainfile import open_plain

VERSION = 1
EVENTS_FILE = "events.ndjson"
STATE_FOLDER = ".snakeway"  # below the working directory of a run; attempts/<name>/events.ndjson below that

# Environment of an attempt, set by whoever starts snakemake.
ENV_RUN = "SNAKEWAY_RUN_ID"
ENV_ATTEMPT = "SNAKEWAY_ATTEMPT_ID"  # also marks every process of the attempt, for finding what is left behind
ENV_RESUME = "SNAKEWAY_RESUME_SINCE"  # in a recovery: since when its chain of attempts does the same, since the epoch
ENV_EVENTS = "SNAKEWAY_EVENTS_FILE"  # where the plugin writes; below STATE_FOLDER when unset

# Environment of whoever talks to a server: the command line, and a run by hand that is to be recorded there.
ENV_URL = "SNAKEWAY_URL"
ENV_TOKEN = "SNAKEWAY_TOKEN"  # noqa: S105  the name of the variable

LOG_TAIL_LINES = 50
LOG_TAIL_BYTES = 8 * 1024
SCHEDULER_LOG_LINES = 200  # of the log that a scheduler keeps of a job, when the job has failed
SCHEDULER_LOG_BYTES = 16 * 1024
LOG_START_BYTES = 4 * 1024  # where a job on a node has noted its start; a prologue may have written before it
TEXT_BYTES = 16 * 1024  # shell commands and messages are cut at this length
LIST_ITEMS = 1000  # inputs of one job; a gather of 10,000 files would make one event of a megabyte
REQUESTED_FILES = 100_000  # that one attempt tells

SHIPPED_LOG_BYTES = 64 * 1024  # the end of Snakemake's own log that goes to the server

_INT_LIMIT = 2**31  # what an integer column holds
_NUMBERS = ("job", "try", "total", "done", "lost", "threads")
_CODES = ("exit_code", "signal")
_LISTS = ("input", "output", "directories", "files", "nodes", "links")
_TIMES = ("started_at", "ended_at")
_OBJECTS = ("wildcards", "resources", "gate", "storage")
_TEXTS = (
    "rule",
    "reason",
    "shell",
    "message",
    "exception",
    "host",
    "external_id",
    "benchmark",
    "log_tail",
    "stderr_tail",
    "snakemake",
)
_TEXT_LIMIT = TEXT_BYTES + 100  # with the mark of what was cut
_TIME_LIMIT = 1e11  # seconds since the epoch: some 3,000 years
_SEQ_LIMIT = 2**53  # a larger one is not the plugin's

Event = dict[str, Any]


class EventType(StrEnum):
    """The ``type`` of an event; see the module's table."""

    ATTEMPT_STARTED = "attempt_started"
    RULEGRAPH = "rulegraph"
    STATS = "stats"
    REQUESTED = "requested"
    JOB = "job"
    JOB_SUBMITTED = "job_submitted"
    JOB_HELD = "job_held"
    JOB_STARTED = "job_started"
    JOB_FINISHED = "job_finished"
    JOB_FAILED = "job_failed"
    PROGRESS = "progress"
    ERROR = "error"
    ATTEMPT_ENDED = "attempt_ended"


class EventWriter:
    """Appends events to a file, from any thread. Trouble is counted, said once through ``complain``, and never raised.

    Each event is one ``write`` of one line (two where a disk's room ends), so a crash leaves at most one broken line,
    at the end. After a failed write the next event begins with a newline, so that the broken line cannot swallow it.
    """

    def __init__(self, path: Path, complain: "Complain") -> None:
        self._path = path
        self._complain = complain
        self._fd: int | None = None
        self._seq = 0
        self._broken = False
        self._lock = threading.Lock()
        self.lost = 0

    def write(self, type_: EventType, t: float | None = None, **members: Any) -> None:
        """Append one event; ``t`` replaces the clock."""
        with self._lock:
            self._write(type_, t, members)

    def _write(self, type_: EventType, t: float | None, members: Event) -> None:
        event = {"seq": self._seq, "t": time.time() if t is None else t, "type": type_.value, **members}
        self._seq += 1
        try:
            line = _ENCODER.encode(event).encode(errors="replace") + b"\n"
            self._append(b"\n" + line if self._broken else line)
            self._broken = False
        except (OSError, ValueError, TypeError) as error:
            self.lost += 1
            self._broken = True
            self._complain(f"cannot write events to {self._path}: {error}; the run goes on without them")

    def _append(self, data: bytes) -> None:
        if self._fd is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        written = os.write(self._fd, data)
        if written != len(data):  # the disk is full, as the next call says, or there is room again
            written += os.write(self._fd, data[written:])
        if written != len(data):
            raise OSError(f"wrote {written} of {len(data)} bytes")

    def close(self) -> None:
        """Close the file; a later ``write`` opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Complain:
    """Says a text on stderr the first time it is called, and nothing after that."""

    def __init__(self, prefix: str = "snakeway: ") -> None:
        self._prefix = prefix
        self._said = False

    def __call__(self, text: str) -> None:
        if not self._said:
            line = f"{self._prefix}{text}\n".encode(errors="replace")
            with contextlib.suppress(OSError):  # a full disk: the next complaint tries again
                self._said = os.write(2, line) == len(line)


def read_events(path: Path, offset: int, max_bytes: int, root: Path | None = None) -> tuple[list[Event], int]:
    """Return the whole events that begin at byte ``offset``, and the offset behind the last of them.

    Reads at most ``max_bytes``. A line that is not an event is passed over, and so is one that is longer than that: it
    is the trace of a full disk, a crash or somebody else's writing, and the gap in ``seq`` tells. What is not a plain
    file has no events, and neither has one that does not exist, or that lies outside of ``root``.
    """
    data = read_lines(path, offset, max_bytes, root)
    return list(parse_lines(data)), offset + len(data)


def read_lines(path: Path, offset: int, max_bytes: int, root: Path | None = None) -> bytes:
    """Return the whole lines that begin at byte ``offset``, at most ``max_bytes``; the broken head of a longer line."""
    try:
        with open_plain(path, root) as file:
            file.seek(offset)
            data = file.read(max_bytes)
    except FileNotFoundError:
        return b""
    end = data.rfind(b"\n") + 1
    return data[:end] if end or len(data) < max_bytes else data


def read_batch(path: Path, offset: int, max_bytes: int) -> bytes:
    """Return the whole lines that begin at byte ``offset``, to be sent somewhere that keeps the offsets.

    A line that is longer than ``max_bytes`` is no event; blank lines of the same length take its place.
    """
    data = read_lines(path, offset, max_bytes)
    return data if not data or data.endswith(b"\n") else b" " * (len(data) - 1) + b"\n"


def parse_lines(data: bytes) -> Iterator[Event]:
    """Yield the events in ``data``, whole lines, passing over those that are not events.

    The file lies where the workflow's own jobs can write, so a line may hold anything. What is yielded has a ``type``,
    ``seq`` and ``t`` of the right kind, and nothing that a database refuses: NUL, half a surrogate pair, NaN.
    """
    for line in data.splitlines():
        try:
            event = _DECODER.decode(line.decode())
            if b"\\u" in line:  # the only way to NUL and surrogates; rare: the writer escapes control characters only
                plain = _ENCODER.encode(event).encode(errors="replace")
                event = _DECODER.decode(_NUL.sub(rb"\1\\ufffd", plain).decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and _is_event(event):
            if len(line) > TEXT_BYTES:  # the writer cuts texts; a job that writes here does not
                event |= {name: event[name][:_TEXT_LIMIT] for name in _TEXTS if event.get(name)}
            yield event


def _is_event(event: Event) -> bool:
    """Whether the members that are counted and compared are of their kinds: jobs can write to the file as well."""
    seq, t = event.get("seq"), event.get("t")
    return (
        isinstance(event.get("type"), str)
        and type(seq) is int
        and 0 <= seq < _SEQ_LIMIT
        and type(t) in (int, float)
        and -_TIME_LIMIT < (t or 0) < _TIME_LIMIT
        and all(type(event[name]) is int and 0 <= event[name] < _INT_LIMIT for name in _NUMBERS if name in event)
        and all(
            type(event[name]) is int and abs(event[name]) < _INT_LIMIT for name in _CODES if event.get(name) is not None
        )
        and all(isinstance(event[name], list) for name in _LISTS if event.get(name) is not None)
        and all(
            type(event[name]) in (int, float) and abs(event[name]) < _TIME_LIMIT
            for name in _TIMES
            if event.get(name) is not None
        )
        and all(isinstance(event[name], dict) for name in _OBJECTS if event.get(name) is not None)
        and all(isinstance(event[name], str) for name in _TEXTS if event.get(name) is not None)
    )


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":"))  # json.dumps makes one per call
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # not the text \u0000, in which the backslash is itself escaped


def workflow_name(directory: str, snakefile: str) -> str:
    """Return the workflow's folder in the standard layout NAME/workflow/Snakefile, or the Snakefile's own folder."""
    folder = (Path(directory) / snakefile).parent
    return (folder.parent if folder.name == "workflow" else folder).name or "snakemake"


def tail(path: Path, lines: int = LOG_TAIL_LINES, max_bytes: int = LOG_TAIL_BYTES, root: Path | None = None) -> str:
    """Return the last ``lines`` lines of a text file, at most ``max_bytes`` of it; empty when it cannot be read."""
    return "\n".join(read_end(path, max_bytes, root).decode(errors="replace").splitlines()[-lines:])


def read_end(path: Path, max_bytes: int, root: Path | None = None) -> bytes:
    """Return the last bytes of a file; none when it cannot be read."""
    try:
        with open_plain(path, root) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            return file.read(max_bytes)
    except OSError:
        return b""


def start_on_node(t: float) -> str:
    """Return the line at the beginning of a job's log that says when it started on its node."""
    return f"{_STARTED_ON_NODE}{t:.3f}"


def started_on_node(log: Path) -> float | None:
    """Return when a job started on its node, as the beginning of its log says; None if that cannot be read there."""
    try:
        with open_plain(log) as file:
            found = _START_ON_NODE.search(file.read(LOG_START_BYTES))
    except OSError:
        return None
    return float(found[1]) if found else None


def exit_on_node(log: str) -> int | None:
    """Return how a job's command ended, as the log of the snakemake tells that ran it on its node; None if it does not.

    In the way of `subprocess`, whose words these are: negative means killed by that signal.
    """
    ends = _EXIT_ON_NODE.findall(log)
    if not ends:
        return None
    code, number = ends[-1]
    return int(code) if code else -int(number)


_STARTED_ON_NODE = "snakeway: the job starts at "
_START_ON_NODE = re.compile(rf"^{_STARTED_ON_NODE}(\d{{1,10}}\.\d{{3}})$".encode(), re.MULTILINE)
_EXIT_ON_NODE = re.compile(r"returned non-zero exit status (\d{1,3})\b|died with <Signals\.\w+: (\d{1,2})>")
