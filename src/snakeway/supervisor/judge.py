"""Has failed jobs judged: collects the facts about each and asks the target's diagnosis."""

from collections.abc import Sequence
from dataclasses import replace

from snakeway.catalog import Catalog
from snakeway.errors import SnakewayError
from snakeway.model import gate as gate_rules
from snakeway.model.failure import Bounds, Facts, Failure, FailureKind
from snakeway.model.gate import GateState
from snakeway.model.job import Job
from snakeway.model.scheduled import Scheduled
from snakeway.rows import AttemptRow
from snakeway.settings import Settings
from snakeway.supervisor.intake import Judge
from snakeway.targets import Diagnosis, diagnosis_for
from snakeway.wire import Event, EventType


def diagnosis_of(catalog: Catalog, attempt: AttemptRow) -> Diagnosis:
    """Return who knows the place where the attempt's jobs run."""
    try:
        executor = attempt.executor or catalog.target(attempt.target).executor
    except SnakewayError:  # the target was removed, or was never here; what is known without it has to do
        executor = ""
    return diagnosis_for(executor)


def judge_for(diagnosis: Diagnosis, settings: Settings, attempt: AttemptRow, events: Sequence[Event]) -> Judge:
    """Return who judges the failures among ``events``."""
    started = (event for event in events if event["type"] == EventType.ATTEMPT_STARTED)
    host = attempt.host or next((str(event["host"]) for event in started if event.get("host")), None)

    def judge(job: Job, event: Event) -> Failure:
        gate = event.get("gate")
        if gate:  # one that waits has not failed; this one was rejected
            told = gate["rejected"] if isinstance(gate.get("rejected"), dict) else {}
            by, reason = str(told.get("by") or "Somebody"), str(told.get("reason") or "")
            said = gate_rules.sentence([(str(gate.get("gate")), GateState.REJECTED, by, reason)])
            return Failure(FailureKind.REJECTED, said, job.exit_code, host=host)
        oom = event.get("oom_killed")
        return judge_job(
            diagnosis,
            settings,
            job,
            host,
            log_tail=str(event.get("log_tail") or ""),
            stderr_tail=str(event.get("stderr_tail") or ""),
            oom_killed=oom if isinstance(oom, bool) else None,
        )

    return judge


def judge_job(
    diagnosis: Diagnosis,
    settings: Settings,
    job: Job,
    host: str | None,
    *,
    log_tail: str,
    stderr_tail: str,
    oom_killed: bool | None = None,
) -> Failure:
    """Judge a failed job by its record, and by the ends of its log and of what it wrote to standard error."""
    scheduled = Scheduled.from_json(job.scheduled)
    if job.scheduler_log is not None and job.logs[:1] == [job.scheduler_log]:  # the only log that holds something
        log_tail, stderr_tail = "", stderr_tail or log_tail
    facts = Facts(
        rule=job.rule,
        exit_code=job.exit_code,
        signal=job.signal,
        message=job.message or "",
        log_tail=log_tail,
        stderr_tail=stderr_tail,
        shell=job.shell or "",
        threads=job.threads,
        resources=job.resources,
        host=(scheduled.host if scheduled else None) or host,
        oom_killed=oom_killed,
        scheduler=scheduled,
    )
    failure = diagnosis.diagnose(facts, Bounds(settings.suggest_mem_mb_max, settings.suggest_runtime_min_max))
    return replace(failure, stderr=failure.stderr or job.scheduler_log)
