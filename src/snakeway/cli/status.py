"""The command that shows what the event files in a directory tell, where there is no server."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from snakeway.cli import options, output, times
from snakeway.cli.byhand import Attempt, Life, attempts_in
from snakeway.cli.failures import FAILED, INTERRUPTED
from snakeway.cli.output import Column
from snakeway.model.job import ENDED, Job, JobState, last_words
from snakeway.wire import Event, EventType

_LOOK_S = 0.5
_SHOWN_FAILURES = 20

_COLUMNS: list[Column[Attempt]] = [
    Column("ATTEMPT", lambda attempt: attempt.id, lambda attempt: attempt.id[-8:], whole=True),
    Column("STATE", lambda attempt: attempt.life().value, state=True),
    Column("EXIT", lambda attempt: attempt.exit_code(), right=True),
    Column("DONE", lambda attempt: f"{attempt.done}/{attempt.total}", right=True),
    Column("JOBS", lambda attempt: _jobs(attempt)),
    Column("STARTED", lambda attempt: times.moment(attempt.started["t"]), lambda attempt: _local(attempt), whole=True),
    Column("TOOK", lambda attempt: round(_took_s(attempt), 1), lambda attempt: times.duration(_took_s(attempt))),
    Column("HOST", lambda attempt: attempt.started.get("host")),
]

Directory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Directory in which snakemake runs, or ran.", show_default="this directory"),
]


def status(
    directory: Directory = Path(),
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Watch the newest attempt until it ends; the exit code is its own.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what was run by hand in a directory, from its event files alone.

    Needs no server. A state is alive, ended, lost (gone without a word), or unknown (on another host).

    When the output is not a terminal, the columns are: attempt, state, exit code, done/total, jobs by state, started,
    seconds, host. Lines that begin with "failed" have: attempt, job, rule, wildcards, exit code, last words.
    """
    found = attempts_in(directory)
    if follow:
        raise typer.Exit(_follow(found[-1], as_json=as_json))
    if as_json:
        output.document([_document(attempt) for attempt in found])
        return
    output.table(_COLUMNS, found, empty="")
    for attempt in found if not output.is_terminal() else found[-1:]:
        _show_failures(attempt)


def _follow(attempt: Attempt, *, as_json: bool) -> int:
    """Print what happens until the attempt has ended; returns the exit code of its snakemake."""
    for job in attempt.jobs.values() if not as_json else ():
        if job.state not in ENDED:
            output.line(times.moment(job.started_at or job.submitted_at), *_fields(job))
    try:
        while True:
            life = attempt.life()  # before the events: so those written before its end are read
            for event in attempt.read():
                _tell(attempt, event, as_json=as_json)
            if attempt.ended is not None or life is Life.LOST:
                break
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return INTERRUPTED
    if as_json:
        output.json_line(_document(attempt))
    else:
        _show_failures(attempt)
        output.line(*(column.value(attempt) for column in _COLUMNS))
    code = attempt.exit_code()
    return FAILED if code is None else code


def _tell(attempt: Attempt, event: Event, *, as_json: bool) -> None:
    if as_json:
        output.json_line(event)
        return
    at = times.moment(event["t"])
    job = attempt.jobs.get(event.get("job", -1))
    if event["type"] == EventType.PROGRESS:
        output.line(at, f"{attempt.done}/{attempt.total}", "done")
    elif event["type"] == EventType.ERROR:
        output.line(at, "error", attempt.error)
    elif job is not None and event["type"] in (EventType.JOB, EventType.JOB_FINISHED, EventType.JOB_FAILED):
        output.line(at, *_fields(job))


def _fields(job: Job) -> tuple[str, ...]:
    return f"job {job.number}", job.state.value, _named(job)


def _show_failures(attempt: Attempt) -> None:
    failed = [job for job in attempt.jobs.values() if job.state is JobState.FAILED]
    terminal = output.is_terminal()
    for job in failed if not terminal else failed[:_SHOWN_FAILURES]:
        words = last_words(job.log_tail, job.message)
        if terminal:
            output.write(output.clean(f"job {job.number} {_named(job)}: {words}") + "\n")
        else:
            output.line("failed", attempt.id, job.number, job.rule, _wildcards(job), job.exit_code, words)
    if attempt.error is not None and not failed:
        output.line("error", attempt.id, attempt.error)
    if terminal and len(failed) > _SHOWN_FAILURES:
        output.hint(f"and {len(failed) - _SHOWN_FAILURES} more failed jobs; --json has them all")


def _document(attempt: Attempt) -> dict[str, Any]:
    failed = [job for job in attempt.jobs.values() if job.state is JobState.FAILED]
    return {
        "run_id": attempt.run_id,
        "attempt_id": attempt.id,
        "state": attempt.life().value,
        "exit_code": attempt.exit_code(),
        "done": attempt.done,
        "total": attempt.total,
        "jobs": {state.value: count for state, count in sorted(attempt.states().items())},
        "failed": [
            {
                "job": job.number,
                "rule": job.rule,
                "wildcards": job.wildcards,
                "exit_code": job.exit_code,
                "last_words": last_words(job.log_tail, job.message),
                "logs": job.logs,
            }
            for job in failed
        ],
        "error": attempt.error,
        "host": attempt.started.get("host"),
        "started_at": times.moment(attempt.started["t"]),
        "ended_at": times.moment(attempt.ended["t"]) if attempt.ended else None,
    }


def _jobs(attempt: Attempt) -> str:
    return ", ".join(f"{count} {state.value}" for state, count in sorted(attempt.states().items()))


def _named(job: Job) -> str:
    return f"{job.rule} {_wildcards(job)}".rstrip()


def _wildcards(job: Job) -> str:
    return " ".join(f"{name}={value}" for name, value in job.wildcards.items())


def _local(attempt: Attempt) -> str:
    return times.local(times.moment(attempt.started["t"]))


def _took_s(attempt: Attempt) -> float:
    end = time.time() if attempt.life() is Life.ALIVE else attempt.last_t
    return max(0.0, (end or 0.0) - float(attempt.started["t"]))
