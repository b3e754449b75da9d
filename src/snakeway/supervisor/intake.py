"""Takes an attempt's events into the database: idempotent, so a crash between two steps repeats work but no effect.

The offset of the events taken is stored in the same transaction as what they changed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakeway import wire
from snakeway.directory import AttemptDirectory
from snakeway.gatefile import request_from
from snakeway.model import complaint
from snakeway.model import job as rules
from snakeway.model.attempt import AttemptReason
from snakeway.model.failure import Failure, FailureKind
from snakeway.model.job import UNSUCCESSFUL, Job, JobState
from snakeway.model.storage import StorageTrouble
from snakeway.rows import AttemptRow
from snakeway.store import Transaction, artifacts, attempts, gates, jobs
from snakeway.wire import Event, EventType

_NAME_CHARACTERS = 255  # what the columns of names hold
CHUNK_BYTES = 2 * 1024 * 1024  # of events in one transaction
_LONGEST_END = 4096  # bytes that hold the last event, if it is the one of the end
PLAN_JOBS = 500  # jobs a plan lists one by one; it counts all of them
_JOB_EVENTS = frozenset(
    {
        EventType.JOB,
        EventType.JOB_SUBMITTED,
        EventType.JOB_HELD,
        EventType.JOB_STARTED,
        EventType.JOB_FINISHED,
        EventType.JOB_FAILED,
    }
)

Judge = Callable[[Job, Event], Failure]


class LeaseLost(Exception):
    """Another supervisor holds the attempt now."""


@dataclass(slots=True)
class Taken:
    """What one intake changed."""

    events: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)  # the touched ones
    ended: list[Job] = field(default_factory=list)  # those that succeeded or failed just now
    values: dict[str, Any] = field(default_factory=dict)  # of the attempt


def read(attempt: AttemptRow, directory: AttemptDirectory) -> tuple[list[Event], int]:
    """Return the next events of the attempt and the offset behind them; empty when there is nothing new."""
    return wire.read_events(directory.events, attempt.events_offset, CHUNK_BYTES, directory.root())


def take(tx: Transaction, attempt: AttemptRow, events: list[Event], offset: int, judge: Judge) -> Taken:
    """Merge ``events`` into the attempt's jobs; ``judge`` says why a job failed.

    Cost: proportional to the events, not to the attempt's jobs.
    """
    taken = Taken(events=len(events))
    wanted = {event["job"] for event in events if event["type"] in _JOB_EVENTS and "job" in event}
    taken.jobs = jobs.load(tx, attempt.id, wanted)
    before = {number: job.state for number, job in taken.jobs.items()}
    for event in events:
        if event["type"] == EventType.REQUESTED:
            artifacts.request(tx, attempt.run_id, event.get("files") or ())
        elif event["type"] not in _JOB_EVENTS:
            _about_attempt(taken.values, event)
        elif "job" in event:
            job = taken.jobs.setdefault(event["job"], Job(event["job"]))
            rules.merge(job, event)
            if job.state is JobState.FAILED and job.failure is None and event["type"] == EventType.JOB_FAILED:
                rules.blame(job, judge(job, event))
            if event.get("gate") and job.failure_kind in (None, FailureKind.REJECTED):
                _ask(tx, attempt, job, event["gate"])
    jobs.save(tx, attempt.run_id, attempt.id, taken.jobs.values())
    _pass_gates(tx, attempt, taken.jobs.values())
    taken.ended = [
        job
        for job in taken.jobs.values()
        if job.state in (JobState.SUCCEEDED, JobState.FAILED) and before.get(job.number) != job.state
    ]
    taken.values |= _counts(attempt, before, taken.jobs) | {"events_offset": offset}
    if "events_lost" in taken.values:  # some may have been passed over
        taken.values["events_lost"] = max(attempt.events_lost, taken.values["events_lost"])
    assert attempt.lease_owner is not None
    if not attempts.note(tx, attempt.id, attempt.lease_owner, **taken.values):
        raise LeaseLost(attempt.id)  # rolls everything back: the new holder takes these events in
    return taken


def _ask(tx: Transaction, attempt: AttemptRow, job: Job, told: dict[str, Any]) -> None:
    request = request_from(told)
    if request is not None and job.state in UNSUCCESSFUL:
        by = told.get("rejected")
        rejected = (str(by.get("by") or ""), str(by.get("reason") or "")) if isinstance(by, dict) else None
        gates.ask(tx, attempt.run_id, attempt.id, job, request, rejected)


def _pass_gates(tx: Transaction, attempt: AttemptRow, touched: Iterable[Job]) -> None:
    """Note gates that let the run pass: their evidence is again what was approved before, or was approved by hand."""
    made = {output for job in touched if job.state is JobState.SUCCEEDED for output in job.outputs}
    for gate in gates.closed(tx, attempt.run_id) if made else ():
        if gate.name in made:
            gates.restore(tx, gate)


def _about_attempt(values: dict[str, Any], event: Event) -> None:
    match event["type"]:
        case EventType.ATTEMPT_STARTED:
            values["snakemake_version"] = str(event.get("snakemake") or "")[:32]
            values["host"] = str(event.get("host") or "")[:_NAME_CHARACTERS]
        case EventType.STATS:
            values["jobs_total"] = int(event.get("total") or 0)
        case EventType.PROGRESS:  # a checkpoint makes the number of jobs grow
            values["jobs_total"] = int(event.get("total") or 0)
        case EventType.RULEGRAPH:
            values["rulegraph"] = {"nodes": event.get("nodes") or [], "links": event.get("links") or []}
        case EventType.ERROR:
            exception, message = str(event.get("exception") or ""), str(event.get("message") or "")
            values["error"] = message or exception
            storage = StorageTrouble.from_json(event.get("storage"))
            values["failure"] = complaint.diagnose(exception, message, storage).to_json()
        case EventType.ATTEMPT_ENDED:
            values["events_lost"] = int(event.get("lost") or 0)


def _counts(attempt: AttemptRow, before: dict[int, JobState], after: dict[int, Job]) -> dict[str, int]:
    def grown(state: JobState) -> int:
        return sum(job.state is state for job in after.values()) - sum(old is state for old in before.values())

    return {
        "jobs_done": attempt.jobs_done + grown(JobState.SUCCEEDED),
        "jobs_failed": attempt.jobs_failed + grown(JobState.FAILED),
    }


def nothing_sent(tx: Transaction, attempt: AttemptRow, directory: AttemptDirectory) -> bool:
    """Whether an attempt that ended in order is known to have sent no job to its scheduler.

    That is so if its events are complete and none of its jobs got an id of the scheduler. All events must be taken in.
    Of a recovery it is not known: it may have been about to take up jobs of the attempt before.

    Cost: proportional to the attempt's jobs.
    """
    if attempt.reason is AttemptReason.RECOVERY:
        return False
    end = wire.read_end(directory.events, _LONGEST_END, directory.root()).rpartition(b"\n{")
    last = next(wire.parse_lines(b"{" + end[2]), None)
    if attempt.events_lost or last is None or last["type"] != EventType.ATTEMPT_ENDED or last.get("lost") != 0:
        return False
    return not jobs.any_sent(tx, attempt.id)


def plan_of(events: Iterable[Event]) -> dict[str, Any] | None:
    """Make a plan from the events of a dry run: how many jobs of which rules, and the first of them with reasons.

    None when the dry run did not come so far as to know.
    """
    listed: list[dict[str, Any]] = []
    by_rule: dict[str, int] = {}
    ended = failed = False
    for event in events:
        if event["type"] == EventType.JOB:
            rule = str(event.get("rule"))
            by_rule[rule] = by_rule.get(rule, 0) + 1
            if len(listed) < PLAN_JOBS:
                names = ("rule", "wildcards", "reason", "output", "threads", "resources")
                listed.append({name: event.get(name) for name in names})
        elif event["type"] == EventType.ERROR:
            failed = True
        elif event["type"] == EventType.ATTEMPT_ENDED:
            ended = True
    if failed or not ended:
        return None
    return {
        "total": sum(by_rule.values()),
        "by_rule": by_rule,
        "jobs": listed,
        "truncated": sum(by_rule.values()) > len(listed),
    }


def read_plan(directory: AttemptDirectory) -> dict[str, Any]:
    """Return what the attempt's ended dry run says of it: ``plan`` and ``rulegraph``, or ``error`` and ``failure``.

    Nothing if it said nothing.
    """
    values: dict[str, Any] = {}
    plan = plan_of(_noting(_all_events(directory.plan, directory.root()), values))
    if plan is None:
        return {name: values[name] for name in ("error", "failure") if name in values}
    return {"plan": plan, **values}


def _noting(events: Iterable[Event], values: dict[str, Any]) -> Iterator[Event]:
    for event in events:
        if event["type"] in {EventType.ERROR, EventType.RULEGRAPH}:
            _about_attempt(values, event)
        yield event


def _all_events(path: Path, root: Path) -> Iterator[Event]:
    offset, behind = -1, 0
    while behind != offset:
        offset = behind
        events, behind = wire.read_events(path, offset, CHUNK_BYTES, root)
        yield from events
