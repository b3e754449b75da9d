"""What the supervisor tells the outside world about runs: spans of runs and attempts, and metrics."""

from collections.abc import Sequence

from snakeway.model.attempt import AttemptState
from snakeway.model.job import Job
from snakeway.model.run import ENDED, RunState
from snakeway.rows import AttemptRow, DecisionRow, RunRow
from snakeway.store import Store, jobs, runs
from snakeway.telemetry import Result, SpanRef, Spans, attempt_ref, names, run_ref
from snakeway.telemetry.metrics import Metrics

_RUN_RESULTS = {
    RunState.SUCCEEDED: Result.SUCCESS,
    RunState.FAILED: Result.FAILURE,
    RunState.CANCELLED: Result.CANCELLATION,
}
_ATTEMPT_RESULTS = {
    AttemptState.SUCCEEDED: Result.SUCCESS,
    AttemptState.FAILED: Result.FAILURE,
    AttemptState.CANCELLED: Result.CANCELLATION,
    AttemptState.LOST: Result.ERROR,
}


class Report:
    """Spans and metrics of one supervisor. Nothing here waits for a collector but ``close``, for a few seconds."""

    def __init__(self, store: Store, spans: Spans, metrics: Metrics) -> None:
        self._store = store
        self._spans = spans
        self._metrics = metrics

    def attempt_traceparent(self, run: RunRow, attempt: AttemptRow) -> str:
        """Return what snakemake gets as TRACEPARENT: the attempt's span, which its job spans hang below."""
        return attempt_ref(run.id, attempt.id, SpanRef.parse(run.traceparent)).traceparent()

    def active_runs(self, count: int) -> None:
        """Say how many attempts this supervisor holds."""
        self._metrics.active_runs(count)

    def jobs_ended(self, ended: list[Job]) -> None:
        """Count jobs that succeeded or failed just now."""
        for job in ended:
            queue_s = _between(job.submitted_at, job.started_at)
            self._metrics.job_ended(job.state, job.rule, queue_s, _between(job.started_at, job.ended_at))

    @property
    def on(self) -> bool:
        """Whether spans are sent."""
        return self._spans.on

    def decided(self, decisions: Sequence[DecisionRow]) -> None:
        """Send the spans of decisions about gates: from the question to the answer, below the span of the run."""
        for decision in decisions:
            with self._store.read() as tx:
                run = runs.get(tx, decision.run_id)
            if run is not None:
                ref = run_ref(run.id, SpanRef.parse(run.traceparent))
                times = (decision.asked_at.timestamp(), decision.decided_at.timestamp())
                self._spans.gate(ref, decision.id, decision.gate, times, decision.verdict, decision.decided_by)

    def run_settled(self, run: RunRow) -> None:
        """Count the run if it has ended."""
        if run.state in ENDED and run.ended_at is not None:
            started = run.started_at.timestamp() if run.started_at else None
            queue_s = _between(run.created_at.timestamp(), started)
            self._metrics.run_ended(run.state, queue_s, _between(started, run.ended_at.timestamp()))

    def spans_of(self, attempt: AttemptRow) -> None:
        """Send the spans of an ended attempt and of its run, as it stands now.

        A run that is re-run is told again with its new end. Jobs are told by the logger plugin; those of a lost attempt
        are told again here, with the same ids, because the plugin may have been killed before it sent them.
        """
        if not self._spans.on:
            return
        with self._store.read() as tx:
            run = runs.get(tx, attempt.run_id)
            lost = jobs.load_all(tx, attempt.id) if attempt.state is AttemptState.LOST else []
        if run is None or attempt.ended_at is None:
            return
        caller = SpanRef.parse(run.traceparent)
        started = (attempt.started_at or attempt.created_at).timestamp()
        self._spans.attempt(
            run.id,
            attempt.id,
            started,
            attempt.ended_at.timestamp(),
            _ATTEMPT_RESULTS[attempt.state],
            caller=caller,
            message=attempt.error or "",
            attributes={
                names.ATTEMPT_NUMBER: attempt.number,
                names.TARGET: attempt.target,
                names.ATTEMPT_REASON: attempt.reason.value,
            },
        )
        ref = attempt_ref(run.id, attempt.id, caller)
        for job in lost:
            if job.submitted_at is not None and job.ended_at is not None:
                result = Result.SUCCESS if job.exit_code == 0 else Result.ERROR
                start = job.started_at or job.submitted_at
                if job.external_id is not None and job.started_at is not None:
                    times = (job.submitted_at, max(job.submitted_at, job.started_at))
                    self._spans.queued(ref, attempt.id, job.number, job.try_number, job.rule, times)
                self._spans.job(ref, attempt.id, job.number, job.try_number, job.rule, start, job.ended_at, result)
        if run.state in ENDED and run.ended_at is not None:
            end = run.ended_at.timestamp()
            self._spans.run(
                run.id,
                run.workflow,
                run.created_at.timestamp(),
                end,
                _RUN_RESULTS[run.state],
                caller=caller,
                message=run.error or "",
                attributes={names.TARGET: run.target, names.OWNER: run.owner},
            )

    def close(self) -> None:
        """Send what is left, for a few seconds at the most."""
        self._spans.close()


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
