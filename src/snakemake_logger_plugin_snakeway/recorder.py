"""From Snakemake's log records to events: what concerns the attempt as a whole. Jobs are in `jobs`."""

import getpass
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from logging import LogRecord
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import OutputSettingsLoggerInterface

from snakemake_logger_plugin_snakeway.evidence import (
    Evidence,
    complaint_of,
    directory_of,
    failed_in_postprocessing,
    requested_of,
    storage_of,
)
from snakemake_logger_plugin_snakeway.guard import Guard
from snakemake_logger_plugin_snakeway.identity import Identity, profile_name
from snakemake_logger_plugin_snakeway.jobs import Jobs, cut
from snakemake_logger_plugin_snakeway.progress import Progress
from snakemake_logger_plugin_snakeway.scheduler import concerns, told
from snakemake_logger_plugin_snakeway.storage import Told
from snakeway.wire import LIST_ITEMS, VERSION, Complain, EventType, EventWriter

if TYPE_CHECKING:
    from snakemake_logger_plugin_snakeway.shipper import Shipper
    from snakemake_logger_plugin_snakeway.tracing import Tracing


class _Complaint(NamedTuple):
    """An ERROR record, which may be the reason of a JOB_ERROR that follows in the same thread."""

    t: float
    exception: str
    message: str
    storage: Told | None


class Recorder:
    """Records one attempt, which begins with ``record``; `take` gets the following ones, and `end` ends it."""

    def __init__(
        self,
        identity: Identity,
        record: LogRecord,
        settings: OutputSettingsLoggerInterface,
        guard: Guard,
        evidence: Evidence,
    ) -> None:
        directory = directory_of(record)
        snakefile = str(getattr(record, "snakefile_main", ""))
        self._quiet_about_progress = any(getattr(kind, "name", "") == "PROGRESS" for kind in settings.quiet or ())
        run_id, events = identity.settle(directory)
        log = _log_file()
        self._writer = EventWriter(events, guard.complain)
        self._writer.write(
            EventType.ATTEMPT_STARTED,
            record.created,
            v=VERSION,
            run_id=run_id,
            attempt_id=identity.attempt_id,
            snakemake=_snakemake_version(),
            host=platform.node(),
            user=_user(),
            pid=os.getpid(),
            directory=str(directory),
            command=" ".join(sys.argv),
            snakefile=snakefile,
            dry_run=settings.dryrun,
            outside=identity.outside,
            profile=profile_name(sys.argv, os.environ),
            log=None if log is None else str(log),
            traceparent=identity.traceparent,
        )
        self._shipper: Shipper | None = None
        if identity.ships:
            with guard():
                self._shipper = _shipper(identity, run_id, events, log)
        self._tracing: Tracing | None = None
        if not settings.dryrun:
            self._tracing = _tracing(identity, run_id, record.created, directory, snakefile)
        self._jobs = Jobs(self._writer, directory, self._tracing, guard, dry_run=settings.dryrun)
        self._dry_run = settings.dryrun
        self._guard = guard
        self._requested = evidence.requested
        self._complaints: dict[int | None, _Complaint] = {}  # by thread
        self._broken = False  # something failed that was not a job
        self._stats: dict[str, int] = {}
        self._progress = Progress(self._writer)
        self._actions: dict[LogEvent, Callable[[LogRecord], None]] = {
            LogEvent.RULEGRAPH: self._rulegraph,
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.RESOURCES_INFO: self._resources_info,
            LogEvent.PROGRESS: self._progress.take,
            LogEvent.ERROR: self._error,
            LogEvent.JOB_INFO: self._jobs.submitted,
            LogEvent.JOB_FINISHED: self._jobs.finished,
            LogEvent.GROUP_ERROR: self._group_error,
            LogEvent.JOB_ERROR: self._job_error,
        }

    def wait(self, longest_s: float) -> None:
        """Wait while jobs are open, as far as their records were taken, and not all are known to be done."""
        if self._jobs.open:
            self._progress.complete.wait(longest_s)

    def wants(self, record: LogRecord) -> bool:
        """Whether `take` is to get ``record``; to be asked once of each, in their order, from whatever thread."""
        event = getattr(record, "event", None)
        if event is LogEvent.PROGRESS:
            return self._progress.due(record)
        return event in self._actions if event is not None else concerns(record)

    def take(self, record: LogRecord) -> None:
        """Record what ``record`` says, if that is of interest."""
        event = getattr(record, "event", None)
        if event is None:
            said = told(record)
            if said is not None:
                self._jobs.told_by_scheduler(said)
        elif event in self._actions:
            if event is not LogEvent.JOB_ERROR and event is not LogEvent.GROUP_ERROR:
                self._settle_complaint(record.thread)
            self._actions[event](record)

    def end(self) -> None:
        """Record the end. Returns within seconds, whatever the collector does."""
        for thread in list(self._complaints):
            self._settle_complaint(thread)
        now = time.time()
        self._progress.end(now)
        with self._guard():
            self._write_requested(now, self._requested.fresh())
        self._requested.end()
        cut_off = self._jobs.end(now, look_for_ends=self._quiet_about_progress)
        self._writer.write(EventType.ATTEMPT_ENDED, now, lost=self._writer.lost)
        self._writer.close()
        if self._shipper is not None:
            self._shipper.finish()
        if self._tracing is not None:
            self._tracing.end(now, failed=self._broken or self._jobs.failed, cut_off=cut_off)

    def _rulegraph(self, record: LogRecord) -> None:
        graph = record.__dict__["rulegraph"]
        links = [{"source": link["source"], "target": link["target"]} for link in graph["links"]]
        self._writer.write(EventType.RULEGRAPH, record.created, nodes=graph["nodes"], links=links)
        self._write_requested(record.created, requested_of(record))

    def _write_requested(self, t: float, files: list[str]) -> None:
        for start in () if self._dry_run else range(0, len(files), LIST_ITEMS):
            self._writer.write(EventType.REQUESTED, t, files=files[start : start + LIST_ITEMS])

    def _run_info(self, record: LogRecord) -> None:
        stats = dict(record.__dict__["stats"])
        if stats != self._stats:  # a dry run tells them at its beginning and at its end
            self._stats = stats
            jobs = {rule: count for rule, count in stats.items() if rule != "total"}
            self._writer.write(EventType.STATS, record.created, jobs=jobs, total=stats.get("total"))

    def _resources_info(self, record: LogRecord) -> None:
        if hasattr(record, "nodes"):  # told only when jobs are sent elsewhere
            self._jobs.remote = True

    def _error(self, record: LogRecord) -> None:
        exception, words = complaint_of(record)
        message = cut(words)
        jobs = failed_in_postprocessing(record)
        for job, said in jobs.items():
            self._jobs.failed_afterwards(job, record, message, said)
        if not jobs:
            self._complaints[record.thread] = _Complaint(record.created, exception, message, storage_of(record))

    def _group_error(self, record: LogRecord) -> None:
        self._jobs.group_failed(record, self._reason(record))

    def _job_error(self, record: LogRecord) -> None:
        self._jobs.failed_with(record, self._reason(record))

    def _reason(self, record: LogRecord) -> str:
        complaint = self._complaints.pop(record.thread, None)
        return complaint.message if complaint is not None else ""

    def _settle_complaint(self, thread: int | None) -> None:
        complaint = self._complaints.pop(thread, None)
        if complaint is not None:
            self._broken = True
            members = {"exception": complaint.exception, "message": complaint.message, "storage": complaint.storage}
            self._writer.write(EventType.ERROR, complaint.t, **members)


def _tracing(identity: Identity, run_id: str, started: float, directory: Path, snakefile: str) -> "Tracing | None":
    from snakeway import telemetry  # not at every snakemake start

    if not telemetry.configured():
        return None
    from snakemake_logger_plugin_snakeway.tracing import Tracing

    return Tracing(identity, run_id, started, directory, snakefile, _snakemake_version(), Complain())


def _shipper(identity: Identity, run_id: str, events: Path, log: Path | None) -> "Shipper":
    from snakemake_logger_plugin_snakeway.shipper import Shipper  # not at every snakemake start

    shipper = Shipper(run_id, identity.attempt_id, events, log, os.environ)
    shipper.start()
    return shipper


def _log_file() -> Path | None:
    """The file that Snakemake itself logs to: nobody tells of it, but its handler is there."""
    for handler in logging.getLogger("snakemake.logging").handlers:
        if isinstance(handler, logging.FileHandler):
            return Path(handler.baseFilename)
    return None


def _snakemake_version() -> str:
    return str(getattr(sys.modules.get("snakemake.common"), "__version__", ""))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user id without a name
        return str(os.getuid())
