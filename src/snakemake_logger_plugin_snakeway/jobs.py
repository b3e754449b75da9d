"""From Snakemake's log records to events and spans: the jobs."""

import signal
import time
from collections import Counter
from collections.abc import Iterable
from logging import LogRecord
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from snakemake_logger_plugin_snakeway.evidence import (
    directories_of,
    end_of_scheduler_log,
    exit_status_of,
    file_names,
    log_of,
    oom_killed,
    stderr_of,
)
from snakemake_logger_plugin_snakeway.gate import request_for
from snakemake_logger_plugin_snakeway.guard import Guard
from snakemake_logger_plugin_snakeway.markers import Markers
from snakemake_logger_plugin_snakeway.scheduler import Hold, Start, Submission
from snakemake_logger_plugin_snakeway.watch import Try, Watch
from snakeway.wire import LIST_ITEMS, TEXT_BYTES, EventType, EventWriter, exit_on_node, started_on_node

if TYPE_CHECKING:
    from snakemake_logger_plugin_snakeway.tracing import Tracing


class _GroupFailure(NamedTuple):
    """What Snakemake tells once for a failed group, before it lists the group's jobs as failed."""

    reason: str
    said: tuple[str, str] | None
    external_id: str | None


class Jobs:
    """Records the jobs of one attempt. The tries of a job are counted by its submissions."""

    def __init__(
        self, writer: EventWriter, directory: Path, tracing: "Tracing | None", guard: Guard, *, dry_run: bool
    ) -> None:
        self.remote = False  # jobs run elsewhere, but for those of local rules
        self._writer = writer
        self._directory = directory
        self._markers = Markers(directory)
        self._watch = Watch(writer, self._markers, guard)
        self._tracing = tracing
        self._dry_run = dry_run
        self._tries: Counter[int] = Counter()
        self._open: dict[int, Try] = {}
        self._groups: dict[int, _GroupFailure] = {}  # by job
        self._failed: set[int] = set()

    @property
    def open(self) -> bool:
        """Whether some job has begun, or waits on a cluster, and has not ended."""
        return bool(self._open)

    @property
    def failed(self) -> bool:
        """Whether the last try of some job failed."""
        return bool(self._failed)

    def submitted(self, record: LogRecord) -> None:
        """JOB_INFO: the job is handed to the executor, for the first time or again."""
        told = record.__dict__
        job = told["jobid"]
        if job in self._open:
            self._fail(job, record.created, "The job was started again; Snakemake did not tell how its try ended.")
        self._tries[job] += 1
        members = {
            "job": job,
            "try": self._tries[job],
            "rule": told["rule_name"],
            "wildcards": {name: str(value) for name, value in told["wildcards"].items()},
            "input": file_names(told["input"]),
            "output": file_names(told["output"]),
            "directories": directories_of(record)[:LIST_ITEMS],
            "log": file_names(told["log"]),
            "benchmark": str(told["benchmark"]) if told["benchmark"] else None,
            "reason": cut(told["reason"]),
            "threads": told["threads"] if isinstance(told["threads"], int) else 1,  # a dry run may not know yet
            "resources": _resources(told["resources"].items()),
            "shell": cut(told["shellcmd"] or ""),
            "checkpoint": bool(told.get("is_checkpoint")),
            "local": not self._dry_run and (bool(told.get("local")) or not self.remote),
        }
        self._writer.write(EventType.JOB, record.created, **members)
        if not self._dry_run:
            tried = self._open[job] = Try(record.created, members)
            self._failed.discard(job)
            if members["local"]:
                tried.started = tried.since
            elif members["output"]:
                self._watch.add(tried)

    def told_by_scheduler(self, told: Submission | Hold | Start) -> None:
        """The executor plugin says that a scheduler has a job, does not take it for now, or has started it."""
        for job in told.jobs:
            tried = self._open.get(job)
            if tried is None:
                continue
            names = {"job": job, "try": tried.members["try"]}
            if isinstance(told, Hold):
                self._writer.write(EventType.JOB_HELD, told.t, **names, reason=told.reason)
            elif isinstance(told, Start):
                self._watch.drop(tried)
                tried.started = told.started
                self._writer.write(EventType.JOB_STARTED, told.t, **names, started_at=told.started)
            else:
                tried.external_id, tried.scheduler_log = told.external_id, told.log
                self._writer.write(EventType.JOB_SUBMITTED, told.t, **names, external_id=told.external_id, log=told.log)

    def finished(self, record: LogRecord) -> None:
        """JOB_FINISHED: the job's outputs have been checked and its metadata written."""
        self._finish(record.__dict__["job_id"], record.created)

    def failed_with(self, record: LogRecord, reason: str) -> None:
        """JOB_ERROR; ``reason`` is the ERROR that came before it, if one did."""
        told = record.__dict__
        job = told["jobid"]
        group = self._groups.pop(job, None)
        code = _code(record, in_group=group is not None)
        message = told["rule_msg"] or reason or (group.reason if group is not None else "")
        if not message and group is not None:
            message = "Its group of jobs failed; Snakemake does not tell which of them did."
        elif not message and code is not None:  # `run:` is executed by another snakemake, which has said why
            message = f"The job's process ended with exit code {code}; the reason is in Snakemake's output."
        external_id = told["aux"].get("external_jobid") or (group.external_id if group is not None else None)
        logs = (log_of(record), group.said if group is not None else None)
        tried = self._open.get(job)
        elsewhere = tried.scheduler_log if tried is not None else None
        stderr_tail = end_of_scheduler_log(self._directory, elsewhere) if elsewhere else stderr_of(record)
        if elsewhere and code is None:  # its command was not started here
            code = exit_on_node(stderr_tail)
        self._fail(
            job,
            record.created,
            cut(message),
            said=next((said for said in logs if said and said[1]), logs[0] or logs[1]),
            code=code,
            external_id=external_id,
            stderr_tail=stderr_tail,
            oom_killed=oom_killed(record),
        )

    def group_failed(self, record: LogRecord, reason: str) -> None:
        """GROUP_ERROR; a JOB_ERROR for each job of the group follows."""
        told = record.__dict__
        external_id = told.get("external_jobid")
        for info in told["job_error_info"]:
            self._groups[info["jobid"]] = _GroupFailure(reason, log_of(record), external_id)

    def failed_afterwards(self, job: int, record: LogRecord, message: str, said: tuple[str, str] | None) -> None:
        """The job ran through and ``said`` this, but its outputs are not what they should be."""
        self._fail(job, record.created, message, said=said)

    def end(self, t: float, *, look_for_ends: bool) -> bool:
        """Settle the jobs that are still open at the attempt's end; return whether some were cut off.

        With ``--quiet progress`` Snakemake tells of no finished job (``look_for_ends``). Then the records that it has
        written since they were submitted show which have finished.
        """
        self._watch.stop()
        for job, tried in list(self._open.items()):
            output = next(iter(tried.members["output"]), None)
            finished = self._markers.finished(output, tried.since) if look_for_ends and output else None
            if finished is not None:
                self._finish(job, finished)
        if self._tracing is not None:
            for tried in self._open.values():
                self._tracing.job_cut_off(tried, t)
        return bool(self._open)

    def _finish(self, job: int, t: float) -> None:
        tried = self._close(job)
        started = {} if tried is None or tried.started is None else {"started_at": tried.started}
        self._writer.write(EventType.JOB_FINISHED, t, job=job, **{"try": max(1, self._tries[job])}, **started)
        if self._tracing is not None and tried is not None:
            self._tracing.job_finished(tried, t)

    def _close(self, job: int) -> Try | None:
        tried = self._open.pop(job, None)
        if tried is not None:
            self._watch.drop(tried)
            self._look_for_start(tried)
        return tried

    def _look_for_start(self, tried: Try) -> None:
        """The watch misses the start of a short job, but the job may have noted it itself."""
        if tried.started is None and tried.scheduler_log is not None:
            noted = started_on_node(self._directory / tried.scheduler_log)
            if noted is not None:
                tried.started = max(tried.since, min(noted, time.time()))  # the node's clock may be wrong
                names = {"job": tried.members["job"], "try": tried.members["try"]}
                self._writer.write(EventType.JOB_STARTED, tried.started, **names, started_at=tried.started)

    def _fail(
        self,
        job: int,
        t: float,
        message: str,
        *,
        said: tuple[str, str] | None = None,
        code: int | None = None,
        external_id: object = None,
        stderr_tail: str = "",
        oom_killed: bool | None = None,
    ) -> None:
        tried = self._close(job)
        exit_code, signal_number = _shell_status(code)
        gate = request_for(self._directory, tried.members["output"], exit_code) if tried is not None else {}
        log, log_tail = said or (next(iter(tried.members["log"]), None) if tried is not None else None, "")
        members = {
            "job": job,
            "try": max(1, self._tries[job]),
            "rule": tried.members["rule"] if tried is not None else "",
            "exit_code": exit_code,
            "signal": signal_number,
            "message": message,
            "log": log,
            "log_tail": log_tail,
            "stderr_tail": stderr_tail,
            "oom_killed": oom_killed,
            "external_id": str(external_id) if external_id else (tried.external_id if tried is not None else None),
            **gate,
        }
        self._failed.add(job)
        self._writer.write(EventType.JOB_FAILED, t, **members)
        if self._tracing is not None and tried is not None:
            self._tracing.job_failed(tried, t, members)


def cut(text: str) -> str:
    """Return ``text``, shortened to what an event may hold."""
    return text if len(text) <= TEXT_BYTES else text[:TEXT_BYTES] + " […]"


def _resources(told: Iterable[tuple[str, Any]]) -> dict[str, int | str]:
    return {
        name: value if isinstance(value, int) else str(value)
        for name, value in told
        if name not in ("_cores", "_nodes")  # told as threads, or of no meaning outside
    }


def _code(record: LogRecord, *, in_group: bool) -> int | None:
    """Return how the job's command ended. Of a group's jobs all have the exception of the one that failed."""
    status = exit_status_of(record)
    shell = (record.__dict__["shellcmd"] or "").strip()
    if status is None or (in_group and not (shell and shell in status.command)):
        return None
    return status.returncode


def _shell_status(code: int | None) -> tuple[int | None, int | None]:
    """Return exit code and signal in the way of a shell, which ends with 128 + signal when its command was killed.

    Python gives -9 if the shell itself was killed and 137 if its command was; both become (137, 9).
    """
    if code is None:
        return None, None
    number = -code if code < 0 else code - 128
    return (128 + number, number) if number in signal.valid_signals() else (code, None)
