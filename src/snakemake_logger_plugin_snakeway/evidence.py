"""What only the thread that logs can know, kept on the record for the thread that handles it.

Snakemake says that a job failed from within the ``except`` block that caught the failure, but its log records do not
carry the exception, and logger plugins get them in another thread. A filter on the logger is called in the first one.
"""

import logging
import re
import sys
import threading
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_snakeway.guard import Guard
from snakemake_logger_plugin_snakeway.host import OomKiller, StandardError
from snakemake_logger_plugin_snakeway.logs import Logs
from snakemake_logger_plugin_snakeway.requested import Requested, caller, directories
from snakemake_logger_plugin_snakeway.storage import Storage, Told
from snakeway.wire import LIST_ITEMS, SCHEDULER_LOG_BYTES, SCHEDULER_LOG_LINES, tail

_WANTED = frozenset({LogEvent.WORKFLOW_STARTED, LogEvent.ERROR, LogEvent.JOB_ERROR})
_KILLED = (-9, 137)  # the command itself, or the last program of a shell
_TRACEBACK = "Traceback (most recent call last)"
_LONGEST_CHAIN = 10  # of exceptions raised while handling exceptions
# What Snakemake adds to the name of a file that it treats specially.
_ANNOTATION = re.compile(
    r" \((?:pipe|service|nodelocal|update|before update|cached|access: [^()]*|retrieve from storage"
    r"|only provide storage uri|send to storage)(?:, (?:retrieve from|only provide|send to) storage(?: uri)?)?\)$"
)


class ExitStatus(NamedTuple):
    """How a command ended, as `subprocess` gives it: negative means killed by that signal."""

    returncode: int
    command: str


class Evidence(logging.Filter):
    """Lets every record pass; some get additional attributes, read by the functions below."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard
        self.stderr = StandardError()
        self.requested = Requested()
        self._said: dict[int, str] = {}  # by thread: on standard error before an ERROR, which may announce a JOB_ERROR
        self._logs = Logs()
        self._oom = OomKiller()
        self._storage = Storage()

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", None)
        self.stderr.begin()
        if event is LogEvent.JOB_INFO:
            with self._guard():
                record.__dict__["snakeway_directories"] = directories(getattr(caller("log_info"), "output", ()))
        elif event is LogEvent.RULEGRAPH:
            with self._guard():
                record.__dict__["snakeway_requested"] = self.requested.fresh()
        elif event is LogEvent.GROUP_ERROR:
            with self._guard():
                record.__dict__["snakeway_log"] = self._logs.end_of(file_names(record.__dict__["aux_logs"]))
        elif isinstance(event, LogEvent) and event in _WANTED:
            with self._guard():
                if event is LogEvent.WORKFLOW_STARTED:
                    self._logs.begin()
                    self.requested.begin()
                _, error, trace = sys.exc_info()
                found = record.__dict__
                found["snakeway_directory"] = self._logs.directory or Path.cwd()
                found["snakeway_exit"] = status = _exit_status(error)
                if event is LogEvent.JOB_ERROR:
                    found["snakeway_log"] = self._logs.end_of(file_names(found["log"]), caller("log_error"))
                    found["snakeway_stderr"] = self._said.pop(threading.get_ident(), "") or self.stderr.tail()
                    killed = status is not None and status.returncode in _KILLED
                    found["snakeway_oom"] = self._oom.claim() if killed else None
                elif event is LogEvent.ERROR:
                    self._said[threading.get_ident()] = self.stderr.tail()
                    found["snakeway_bare"] = _without_traceback(error, record.getMessage())
                    jobs = _jobs_in_postprocessing(trace)
                    found["snakeway_jobs"] = {job.jobid: self._logs.end_of(job.log, job) for job in jobs}
                    # at last: it may take seconds, and may break
                    found["snakeway_storage"] = self._storage.told(error, record.getMessage())
        return True


def directory_of(record: logging.LogRecord) -> Path:
    """The workflow's directory; before it is known, the working directory when ``record`` was made.

    What the WORKFLOW_STARTED event itself says is not it: its ``rundir`` is where snakemake was imported, its ``cwd``
    is not yet changed by ``workdir:``.
    """
    found = getattr(record, "snakeway_directory", None)
    return found if isinstance(found, Path) else Path.cwd()


def directories_of(record: logging.LogRecord) -> list[str]:
    """Those of a job's outputs that are folders."""
    return getattr(record, "snakeway_directories", [])


def requested_of(record: logging.LogRecord) -> list[str]:
    """The files that the attempt is asked for, as far as they were known when ``record`` was made."""
    return getattr(record, "snakeway_requested", [])


def exit_status_of(record: logging.LogRecord) -> ExitStatus | None:
    """How the failed job's command ended; None where Snakemake did not run it itself."""
    return getattr(record, "snakeway_exit", None)


def log_of(record: logging.LogRecord) -> tuple[str, str] | None:
    """The first of the logs of a failed job, or group, that held something when it failed, and its end.

    If none did, the first and nothing; None without logs. Nobody is to look again later: it may be another try's.
    """
    return getattr(record, "snakeway_log", None)


def stderr_of(record: logging.LogRecord) -> str:
    """The end of what jobs had written to standard error when the job failed."""
    return getattr(record, "snakeway_stderr", "")


def oom_killed(record: logging.LogRecord) -> bool | None:
    """Whether the kernel killed the job for want of memory; None where it is not known or makes no sense."""
    return getattr(record, "snakeway_oom", None)


def file_names(told: Iterable[str]) -> list[str]:
    """The names of files that Snakemake tells, without what it adds to some in parentheses."""
    names = (str(name) for name in islice(told, LIST_ITEMS))
    return [_ANNOTATION.sub("", name) if name.endswith(")") else name for name in names]


def end_of_scheduler_log(directory: Path, log: str) -> str:
    """The end of a log that a scheduler keeps; longer than others, for Snakemake's own words are in it as well."""
    return tail(directory / log, SCHEDULER_LOG_LINES, SCHEDULER_LOG_BYTES)


def failed_in_postprocessing(record: logging.LogRecord) -> dict[int, tuple[str, str] | None]:
    """The jobs that ran through but whose outputs are missing or wrong, and of each what `log_of` says.

    Snakemake logs no JOB_ERROR for these.
    """
    return getattr(record, "snakeway_jobs", {})


def complaint_of(record: logging.LogRecord) -> tuple[str, str]:
    """The class and the words of the exception that an ERROR tells; of a group of exceptions those of the first."""
    bare = getattr(record, "snakeway_bare", None)
    if isinstance(bare, BaseException):
        return type(bare).__name__, f"{type(bare).__name__}:\n{bare}"
    return str(record.__dict__.get("exception", "")), record.getMessage()


def storage_of(record: logging.LogRecord) -> Told | None:
    """What object storage said, if it is the reason of an ERROR."""
    return getattr(record, "snakeway_storage", None)


def _without_traceback(error: BaseException | None, message: str) -> BaseException | None:
    """The exception that says in words what Snakemake tells as a traceback; None if it tells it in words."""
    if _TRACEBACK not in message:
        return None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _exit_status(error: BaseException | None) -> ExitStatus | None:
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            break
        returncode = getattr(error, "returncode", None)
        if isinstance(returncode, int):
            return ExitStatus(returncode, str(getattr(error, "cmd", "")))
        error = error.__cause__ or error.__context__
    return None


def _jobs_in_postprocessing(trace: TracebackType | None) -> list[Any]:
    """The jobs that the scheduler was about to finish: the variable ``job`` of the function that caught the error."""
    job: Any = trace.tb_frame.f_locals.get("job") if trace is not None else None
    if job is None or not hasattr(job, "jobid"):
        return []
    return list(job.jobs) if job.is_group() else [job]
