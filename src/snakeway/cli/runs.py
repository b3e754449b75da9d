"""Commands about runs: list them, cancel one, remove one."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from snakeway.cli import complete, options, output, times, values
from snakeway.cli.connect import connect, find_run, run_id, short
from snakeway.cli.output import Column
from snakeway.errors import Invalid
from snakeway.model.run import ACTIVE, RunState

if TYPE_CHECKING:
    from snakeway.client import Client, Run
    from snakeway.client.http import RunFilter

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0

_COLUMNS: list[Column["Run"]] = [
    Column("RUN", lambda run: run["id"], lambda run: short(run["id"]), whole=True),
    Column("STATE", lambda run: run["state"], state=True),
    Column("WORKFLOW", lambda run: run["workflow"], lambda run: _workflow(run)),
    Column("TARGET", lambda run: run["target"], lambda run: f"{run['target']}{', by hand' if run['outside'] else ''}"),
    Column("JOBS", lambda run: f"{run['jobs']['done']}/{run['jobs']['total']}", right=True),
    Column("FAILED", lambda run: run["jobs"]["failed"], lambda run: str(run["jobs"]["failed"] or ""), right=True),
    Column("CREATED", lambda run: run["created_at"], lambda run: times.ago(run["created_at"]), whole=True),
    Column("TOOK", lambda run: run["ended_at"], times.took, whole=True),
    Column("LABELS", lambda run: _labels(run)),
    Column("NOTE", lambda run: run["note"]),
]


def runs(
    state: Annotated[
        list[RunState] | None, typer.Option("--state", "-s", help="Only runs in this state. Can be repeated.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", "-w", metavar="NAME", help="Only runs of this workflow.", autocompletion=complete.workflows
        ),
    ] = None,
    target: options.TargetOption = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only runs with this label. Can be repeated."),
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="USER", help="Only runs of this user.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs made since: 30m, 2h, 7d, or a date.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Show this many.")] = 20,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Show all, not only the newest.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")] = False,
    as_json: options.Json = False,
) -> None:
    """List runs, newest first.

    When the output is not a terminal, the columns are: id, state, workflow, target, jobs done/total, failed jobs,
    created, ended, labels, note.
    """
    where: RunFilter = {
        "states": state or [],
        "workflow": workflow,
        "target": target,
        "labels": values.labels(label or []),
        "owner": owner,
        "created_after": values.point_in_time(since, datetime.now(UTC)) if since else None,
    }
    with connect() as client:
        found = client.runs(**where) if all_ else _first(client, limit, where)
        if as_json:
            output.document(list(found))
        elif quiet:
            for run in found:
                output.line(run["id"])
        else:
            output.table(_COLUMNS, found, empty="No runs. 'snakeway submit WORKFLOW' makes one.")


def cancel(
    run: options.RunArgument,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the run has ended and none of its processes is left.")
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Cancel a run and its jobs.

    Its snakemake process is stopped, and with it the jobs on the cluster. What is finished stays; 'snakeway rerun'
    goes on from there.
    """
    with connect() as client:
        found = client.cancel(run_id(client, run))
        if wait:
            found = _wait(client, found)
    if as_json:
        output.document(found)
    elif not quiet:
        ending = found["state"] in ACTIVE
        output.line(found["id"], "stopping" if ending else found["state"])


def rm(
    run: options.RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Remove an ended run with all its files.

    Outputs, logs and history: this cannot be undone.
    """
    with connect() as client:
        found = find_run(client, run)
        if not yes:
            _confirm(found)
        client.delete(found["id"])
    if as_json:
        output.document({"id": found["id"], "removed": True})
    elif not quiet:
        output.line(found["id"], "removed")


def _first(client: "Client", limit: int, where: "RunFilter") -> Iterator["Run"]:
    if limit <= 500:  # the server's largest page
        return iter(client.runs_page(limit=limit, **where)["items"])
    return islice(client.runs(**where), limit)


def _wait(client: "Client", run: "Run") -> "Run":
    pause = _FIRST_PAUSE_S
    while run["state"] in ACTIVE:
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        run = client.run(run["id"])
    return run


def _confirm(run: "Run") -> None:
    if not (output.is_terminal(stderr=True) and output.stdin_is_terminal()):
        raise Invalid("removing a run needs --yes when nobody can be asked")
    what = f"{run['workflow']}, {run['state']}, made {times.local(run['created_at'])}"
    typer.confirm(output.clean(f"Remove run {short(run['id'])} ({what}) and all its files?"), abort=True, err=True)


def _workflow(run: "Run") -> str:
    return f"{run['workflow']}, dry run" if run["dry_run"] else run["workflow"]


def _labels(run: "Run") -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(run["labels"].items()))
