"""The command that lists the jobs of a run."""

from typing import TYPE_CHECKING, Annotated

import typer

from snakeway.cli import options, output, times
from snakeway.cli.connect import connect, run_id, short
from snakeway.cli.output import Column
from snakeway.model.job import JobState, last_words

if TYPE_CHECKING:
    from snakeway.client import Client, Job

_COLUMNS: list[Column["Job"]] = [
    Column("ATTEMPT", lambda job: job["attempt"], right=True),
    Column("JOB", lambda job: job["job"], right=True),
    Column("STATE", lambda job: job["state"], state=True),
    Column("RULE", lambda job: job["rule"]),
    Column("WILDCARDS", lambda job: wildcards(job)),
    Column("TRY", lambda job: job["try"], right=True),
    Column("THREADS", lambda job: job["threads"], right=True),
    Column(
        "WAITED",
        lambda job: job["submitted_at"],
        lambda job: times.span(job["submitted_at"], job["started_at"]),
        whole=True,
    ),
    Column("TOOK", lambda job: job["started_at"], times.took, whole=True),
    Column("EXTERNAL ID", lambda job: job["external_id"]),
    Column("AT", lambda job: place(job)),
    Column("FAILURE", lambda job: kind(job).replace("_", " ")),
]
_PLAIN: list[Column["Job"]] = [
    *_COLUMNS[:7],
    Column("SUBMITTED", lambda job: job["submitted_at"]),
    Column("STARTED", lambda job: job["started_at"]),
    Column("ENDED", lambda job: job["ended_at"]),
    Column("EXTERNAL ID", lambda job: job["external_id"]),
    Column("EXIT CODE", lambda job: job["exit_code"]),
    Column("SIGNAL", lambda job: job["signal"]),
    Column("FAILURE", lambda job: kind(job)),
    Column("MESSAGE", lambda job: summary(job)),
    Column("AT", lambda job: place(job)),
]


def jobs(
    run: options.RunArgument,
    attempt: options.AttemptOption = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Show the jobs of all attempts.")] = False,
    state: Annotated[
        list[JobState] | None, typer.Option("--state", "-s", help="Only jobs in this state. Can be repeated.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only failed and lost jobs, with the end of their logs.")
    ] = False,
    rule: Annotated[str | None, typer.Option("--rule", "-r", metavar="RULE", help="Only jobs of this rule.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the jobs of a run's newest attempt.

    When the output is not a terminal, the columns are: attempt, job, state, rule, wildcards, try, threads, submitted,
    started, ended, external id, exit code, signal, kind of failure, message, and the node or why it waits.
    """
    states = [*(state or []), *((JobState.FAILED, JobState.LOST) if failed else ())]
    with connect() as client:
        id_ = run_id(client, run)
        number = None if all_ else attempt or newest_attempt(client, id_)
        found = list(client.jobs(id_, attempt=number, states=states, rule=rule))
    if as_json:
        output.document(found)
        return
    terminal = output.is_terminal()
    output.table(_COLUMNS if terminal else _PLAIN, found, empty="No such jobs.")
    if terminal and failed:
        for job in found:
            _show_failure(id_, job)


def newest_attempt(client: "Client", id_: str) -> int | None:
    """Return the number of the newest attempt that is not just a dry run, unless there are only such."""
    attempts = client.attempts(id_)
    numbers = [attempt["number"] for attempt in attempts if not attempt["dry_run"]]
    return max(numbers or [attempt["number"] for attempt in attempts], default=None)


def wildcards(job: "Job") -> str:
    """Return the wildcards of a job as Snakemake prints them."""
    return ", ".join(f"{name}={value}" for name, value in job["wildcards"].items())


def place(job: "Job") -> str:
    """Return where a job of a cluster is: the node, or why it waits; nothing if nobody can tell."""
    if job["held"]:
        return job["held"]
    known = job["scheduled"]
    if known is None:
        return ""
    return known["host"] or known["reason"] or known["state"].lower()


def kind(job: "Job") -> str:
    """Return the kind of a job's failure; nothing if it has none."""
    return job["failure"]["kind"] if job["failure"] else ""


def summary(job: "Job") -> str:
    """Return in a sentence why a job failed; nothing if it did not."""
    return job["failure"]["summary"] if job["failure"] else last_words(job["log_tail"], job["message"])


def _show_failure(id_: str, job: "Job") -> None:
    output.write(f"\njob {job['job']} {output.clean(job['rule'])}: {output.clean(summary(job))}\n")
    for line in (job["log_tail"] or "").splitlines():
        output.write(f"    {output.printable(line)}\n")
    kept = job["logs"] or job["scheduler_log"]
    what, where = ("all of it", f"--job {job['job']} ") if kept else ("the run's output", "")
    output.write(f"    {what}: snakeway logs {short(id_)} {where}--attempt {job['attempt']}\n")
