"""Commands that make room: remove ended runs by a rule, and show what was removed."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from snakeway.cli import complete, options, output, times, values
from snakeway.cli.connect import connect, short
from snakeway.cli.output import Column
from snakeway.errors import Invalid
from snakeway.model.duration import parse_duration
from snakeway.model.run import RunState

if TYPE_CHECKING:
    from snakeway.client import AuditLine, PrunedRun, PruneRule

_RUNS: list[Column["PrunedRun"]] = [
    Column("RUN", lambda run: run["id"], lambda run: short(run["id"]), whole=True),
    Column("STATE", lambda run: run["state"], state=True),
    Column("WORKFLOW", lambda run: run["workflow"]),
    Column("OWNER", lambda run: run["owner"]),
    Column("ENDED", lambda run: run["ended_at"], lambda run: times.ago(run["ended_at"]), whole=True),
    Column("SIZE", lambda run: run["size_bytes"], lambda run: times.size(run["size_bytes"]), right=True),
    Column("REMOVED", lambda run: run["removed"]),
]
_LINES: list[Column["AuditLine"]] = [
    Column("WHEN", lambda line: line["at"], lambda line: times.local(line["at"]), whole=True),
    Column("WHO", lambda line: line["actor"]),
    Column("WHAT", lambda line: line["action"]),
    Column("RUN", lambda line: line["run_id"], lambda line: short(line["run_id"]), whole=True),
    Column("WORKFLOW", lambda line: line["workflow"]),
    Column("OWNER", lambda line: line["owner"]),
    Column("STATE", lambda line: line["details"].get("state"), state=True),
    Column(
        "SIZE",
        lambda line: line["details"].get("size_bytes"),
        lambda line: times.size(line["details"].get("size_bytes") or 0),
        right=True,
    ),
]


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Runs that ended so long ago: 12h, 30d, 8w.")
    ],
    state: Annotated[
        list[RunState] | None, typer.Option("--state", "-s", help="Only runs that ended like this. Can be repeated.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", "-w", metavar="NAME", help="Only runs of this workflow.", autocompletion=complete.workflows
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only runs with this label. Can be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Remove ended runs with all their files.

    Those that all options name; never one with the label "keep" (the server can call it otherwise). Shows them first
    and asks. This cannot be undone; 'snakeway audit' tells what was removed. When the output is not a terminal, the
    columns are: id, state, workflow, owner, ended, bytes, removed.
    """
    try:
        parse_duration(older_than)
    except Invalid as error:
        raise Invalid(error.detail, field="--older-than") from error
    rule: PruneRule = {
        "older_than": older_than,
        "states": [str(each) for each in state or []],
        "labels": values.labels(label or []),
        "workflow": workflow,
    }
    with connect() as client:
        if not dry_run and not yes:
            _confirm(list(client.prune(rule, dry_run=True)))
        found = client.prune(rule, dry_run=dry_run)
        if as_json:
            output.document(list(found))
            return
        runs = list(found)
    output.table(_RUNS, runs, empty="No such runs.")
    if output.is_terminal() and runs:
        done = runs if dry_run else [run for run in runs if run["removed"]]
        output.hint(f"\n{_summary(done)} {'would be removed' if dry_run else 'removed'}.")


def audit(
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run, by its whole id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Show this many.")] = 20,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Show all, not only the newest.")] = False,
    as_json: options.Json = False,
) -> None:
    """List runs that were removed, and by whom.

    The last one first; for administrators. When the output is not a terminal, the columns are: time, who, what (delete,
    prune, or expire if a rule of the settings did it), run, workflow, owner, state, bytes.
    """
    with connect() as client:
        lines = client.audit(run)
        found = lines if all_ else islice(lines, limit)
        if as_json:
            output.document(list(found))
        else:
            output.table(_LINES, found, empty="Nothing was removed.")


def _confirm(runs: "list[PrunedRun]") -> None:
    if not runs:
        return
    if not (output.is_terminal(stderr=True) and output.stdin_is_terminal()):
        raise Invalid("removing runs needs --yes when nobody can be asked; --dry-run shows which they are")
    output.table(_RUNS, runs, empty="")
    typer.confirm(f"Remove {_summary(runs)} and all their files?", abort=True, err=True)


def _summary(runs: "list[PrunedRun]") -> str:
    size = times.size(sum(run["size_bytes"] for run in runs))
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} ({size})"
