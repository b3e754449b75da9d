"""The spans of one attempt: one for each try of a job, and those above it unless somebody else tells of them.

Imported only when spans are wanted.
"""

import signal
import uuid
from collections.abc import Callable
from pathlib import Path

from snakemake_logger_plugin_snakeway.identity import Identity
from snakemake_logger_plugin_snakeway.watch import Try
from snakeway.telemetry import Result, SpanRef, Spans, attempt_ref, names
from snakeway.telemetry.spans import Attribute
from snakeway.wire import Event, workflow_name


class Tracing:
    """Tells of jobs as spans below the attempt's span.

    Snakeway names that span in TRACEPARENT when it starts the attempt. By hand TRACEPARENT is whatever called us, such
    as a script or another run's job, and run and attempt are told here, at the end.
    """

    def __init__(
        self,
        identity: Identity,
        run_id: str,
        started: float,
        directory: Path,
        snakefile: str,
        version: str,
        complain: Callable[[str], None],
    ) -> None:
        self._spans = Spans(complain)
        self._identity = identity
        self._run_id = run_id
        self._started = started
        self._directory = directory
        self._version = version
        self._workflow = workflow_name(str(directory), snakefile)
        self._caller = SpanRef.parse(identity.traceparent)
        if identity.outside or self._caller is None:
            self._attempt = attempt_ref(run_id, identity.attempt_id, self._caller)
        else:
            self._attempt = self._caller

    def job_finished(self, tried: Try, end: float) -> None:
        """The job did what it should."""
        self._job(tried, end, Result.SUCCESS, {})

    def job_failed(self, tried: Try, end: float, failure: Event) -> None:
        """``failure`` holds the members of the event of the failure."""
        attributes: dict[str, Attribute] = {names.ERROR_TYPE: _error_type(failure)}
        if failure["exit_code"] is not None:
            attributes[names.EXIT_CODE] = failure["exit_code"]
        if failure["external_id"] is not None:
            attributes[names.EXTERNAL_ID] = failure["external_id"]
        self._job(tried, end, Result.FAILURE, attributes, failure["message"], failure["log_tail"])

    def job_cut_off(self, tried: Try, end: float) -> None:
        """The job had not ended when snakemake did."""
        self._job(tried, end, Result.CANCELLATION, {}, "snakemake ended before the job did")

    def end(self, ended: float, *, failed: bool, cut_off: bool) -> None:
        """Tell of attempt and run if nobody else does, and wait a moment until everything is sent.

        A run by hand has no end of its own: each of its attempts tells of the run as it is by then, under one id.
        """
        if self._identity.outside:
            result = Result.FAILURE if failed else Result.CANCELLATION if cut_off else Result.SUCCESS
            begun = min(_created(self._run_id) or self._started, self._started)
            where: dict[str, Attribute] = {names.DIRECTORY: str(self._directory), names.VERSION: self._version}
            attempt, caller = self._identity.attempt_id, self._caller
            self._spans.attempt(self._run_id, attempt, self._started, ended, result, caller=caller, attributes=where)
            self._spans.run(self._run_id, self._workflow, begun, ended, result, caller=caller, attributes=where)
        self._spans.close()

    def _job(
        self,
        tried: Try,
        end: float,
        result: Result,
        attributes: dict[str, Attribute],
        message: str = "",
        log_tail: str = "",
    ) -> None:
        job = tried.members
        attributes[names.THREADS] = job["threads"]
        attributes[names.REASON] = job["reason"]
        if tried.external_id is not None:
            attributes[names.EXTERNAL_ID] = tried.external_id
        if tried.started is not None and not job["local"]:
            attributes[names.QUEUE_S] = max(0.0, tried.started - tried.since)
            times = (tried.since, max(tried.since, tried.started))
            self._spans.queued(self._attempt, self._identity.attempt_id, job["job"], job["try"], job["rule"], times)
        for name, value in job["wildcards"].items():
            attributes[names.WILDCARD + name] = value
        for name, value in job["resources"].items():
            attributes[names.RESOURCE + name] = value
        self._spans.job(
            self._attempt,
            self._identity.attempt_id,
            job["job"],
            job["try"],
            job["rule"],
            tried.since if tried.started is None else tried.started,
            end,
            result,
            message=message,
            log_tail=log_tail,
            attributes=attributes,
        )


def _error_type(failure: Event) -> str:
    if failure["signal"] is not None:
        return signal.Signals(failure["signal"]).name
    return "unknown" if failure["exit_code"] is None else str(failure["exit_code"])


def _created(run_id: str) -> float | None:
    """When a run by hand began: its id tells (UUID version 7)."""
    run = uuid.UUID(run_id)
    return (run.int >> 80) / 1000 if run.version == 7 else None
