"""Where a span is (`SpanRef`), whether spans are wanted (`configured`), and the sender of finished spans (`Spans`)."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from snakeway import ids
from snakeway.telemetry import names

if TYPE_CHECKING:
    from snakeway.telemetry.sender import Sender

CLOSE_S = 3.0  # longest time that the end of a run waits for a slow collector

Attribute = str | int | float | bool

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class Result(StrEnum):
    """How a run, attempt or job ended, in the words of the CI/CD conventions."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"  # the machinery failed, not the work: a lost process or node
    CANCELLATION = "cancellation"


@dataclass(frozen=True)
class SpanRef:
    """Which span, in which trace: what W3C Trace Context sends as ``traceparent``."""

    trace_id: int
    span_id: int
    sampled: bool = True

    @classmethod
    def parse(cls, traceparent: str | None) -> "SpanRef | None":
        """Read a traceparent; None for anything malformed, which the specification tells us to ignore.

        Versions after 00 may add parts at the end; these are passed over.
        """
        match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
        if match is None or (match[1] == "00" and match[5] is not None):
            return None
        trace_id, span_id, flags = (int(match[group], 16) for group in (2, 3, 4))
        return cls(trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None

    def traceparent(self) -> str:
        """The text for the environment variable ``TRACEPARENT`` or the header ``traceparent``."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    def beside(self, *parts: str | int) -> "SpanRef":
        """The span of the thing that ``parts`` name, in the same trace."""
        return SpanRef(self.trace_id, ids.span_id(*parts), self.sampled)


def run_ref(run_id: str, caller: SpanRef | None = None) -> SpanRef:
    """The span of a run: in the caller's trace if there is one, else in a trace of its own."""
    if caller is not None:
        return caller.beside(run_id)
    return SpanRef(ids.trace_id(run_id), ids.span_id(run_id))


def attempt_ref(run_id: str, attempt_id: str, caller: SpanRef | None = None) -> SpanRef:
    """The span of an attempt. Its traceparent is what snakemake is started with."""
    return run_ref(run_id, caller).beside(attempt_id)


def job_ref(attempt: SpanRef, attempt_id: str, job: int, try_: int) -> SpanRef:
    """The span of one try of a job."""
    return attempt.beside(attempt_id, job, try_)


def configured(signal: str = "TRACES") -> bool:
    """Whether ``signal`` (TRACES or METRICS) is to be sent: an endpoint is set and nothing turns it off.

    Without an endpoint OpenTelemetry sends to localhost. Where snakemake runs there is seldom a collector, and trying
    would delay the end of every run, so unset means off.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name, "").strip() for name in endpoints)


class Spans:
    """Sends finished spans, with ids and times given by the caller; does nothing unless `configured`.

    Nothing is imported or started before the first span, so an instance may be made before a fork and used after it.
    Sending never raises and never waits, `close` apart. With ``complain`` the first trouble with the collector is told
    there and OpenTelemetry's own log messages are held back; without, they go where logging sends them.

    Times are in seconds since the epoch. ``message`` says why when the result is not a success.
    """

    def __init__(self, complain: Callable[[str], None] | None = None) -> None:
        self.on = configured()
        self._complain = complain
        self._sender: Sender | None = None

    def open(self) -> None:
        """Get ready to send now rather than at the first span; imports OpenTelemetry, which takes a while."""
        if self.on and self._sender is None:
            from snakeway.telemetry.sender import Sender  # 0.3 s of CPU

            self._sender = Sender(self._complain)

    def request(
        self, ref: SpanRef, caller: SpanRef | None, method: str, route: str, times: tuple[float, float], status: int
    ) -> None:
        """Tell of a request that the API answered with ``status``; only the server's own faults are errors."""
        known: dict[str, Attribute] = {names.HTTP_METHOD: method, names.HTTP_ROUTE: route, names.HTTP_STATUS: status}
        outcome = (Result.ERROR, f"status {status}") if status >= 500 else (Result.SUCCESS, "")
        self._send(ref, caller, f"{method} {route}", times, outcome, known, of_server=True)

    def run(
        self,
        run_id: str,
        workflow: str,
        start: float,
        end: float,
        result: Result,
        *,
        caller: SpanRef | None = None,
        message: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Tell of a run, below the caller's span if there is one."""
        known = {names.WORKFLOW: workflow, names.RUN_ID: run_id, names.RUN_RESULT: result.value, **(attributes or {})}
        name = f"{names.SPAN_RUN} {workflow}"
        self._send(run_ref(run_id, caller), caller, name, (start, end), (result, message), known)

    def gate(
        self, run: SpanRef, decision_id: str, gate: str, times: tuple[float, float], verdict: str, decided_by: str
    ) -> None:
        """Tell of a decision about a gate, from the question to the answer, below the span ``run``."""
        known: dict[str, Attribute] = {names.GATE: gate, names.VERDICT: verdict, names.DECIDED_BY: decided_by}
        ref = run.beside(decision_id)
        self._send(ref, run, f"{names.SPAN_GATE} {gate}", times, (Result.SUCCESS, ""), known)

    def attempt(
        self,
        run_id: str,
        attempt_id: str,
        start: float,
        end: float,
        result: Result,
        *,
        caller: SpanRef | None = None,
        message: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Tell of an attempt, below its run; ``caller`` is the caller of the run."""
        known = {names.RUN_ID: run_id, names.ATTEMPT_ID: attempt_id, **(attributes or {})}
        parent = run_ref(run_id, caller)
        self._send(
            attempt_ref(run_id, attempt_id, caller), parent, names.SPAN_ATTEMPT, (start, end), (result, message), known
        )

    def queued(
        self, attempt: SpanRef, attempt_id: str, job: int, try_: int, rule: str, times: tuple[float, float]
    ) -> None:
        """Tell how long a try of a job has waited for a cluster, below the span ``attempt`` and beside its own."""
        known: dict[str, Attribute] = {
            names.RULE: rule,
            names.ATTEMPT_ID: attempt_id,
            names.JOB_ID: job,
            names.TRY: try_,
        }
        ref = attempt.beside(attempt_id, job, try_, names.SPAN_QUEUE)
        self._send(ref, attempt, f"{names.SPAN_QUEUE} {rule}", times, (Result.SUCCESS, ""), known)

    def job(
        self,
        attempt: SpanRef,
        attempt_id: str,
        job: int,
        try_: int,
        rule: str,
        start: float,
        end: float,
        result: Result,
        *,
        message: str = "",
        log_tail: str = "",
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Tell of one try of a job, below the span ``attempt``; ``log_tail`` becomes an event of the span."""
        known: dict[str, Attribute] = {
            names.TASK_NAME: rule,
            names.TASK_ID: f"{attempt_id}/{job}/{try_}",
            names.TASK_RESULT: result.value,
            names.RULE: rule,
            names.ATTEMPT_ID: attempt_id,
            names.JOB_ID: job,
            names.TRY: try_,
            **(attributes or {}),
        }
        ref = job_ref(attempt, attempt_id, job, try_)
        self._send(ref, attempt, f"{names.SPAN_JOB} {rule}", (start, end), (result, message), known, log_tail)

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Send what is left and stop; return whether everything was sent within ``timeout_s``.

        A collector that is down is given up on sooner.
        """
        sender, self._sender, self.on = self._sender, None, False
        return sender is None or sender.close(timeout_s)

    def _send(
        self,
        ref: SpanRef,
        parent: SpanRef | None,
        name: str,
        times: tuple[float, float],
        outcome: tuple[Result, str],
        attributes: Mapping[str, Attribute],
        log_tail: str = "",
        *,
        of_server: bool = False,
    ) -> None:
        self.open()
        if self._sender is not None:
            self._sender.send(ref, parent, name, times, outcome, attributes, log_tail, of_server=of_server)
