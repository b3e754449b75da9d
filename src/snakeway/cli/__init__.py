"""The command line.

Results go to stdout, everything said about them to stderr. What goes wrong is one line, and the exit code says what
kind of thing it was (`snakeway.cli.failures`). A command is a function in the module of its group; this module only
puts them together, in the order in which the help shows them.

Start-up is kept short, because shells start this program for every completion: a command imports what it needs, and
whatever takes long to import (httpx, rich, the server) is imported inside a function.
"""

import sys
from typing import Annotated

import typer

from snakeway import __version__
from snakeway.cli import (
    artifacts,
    catalog,
    cost,
    deliveries,
    doctor,
    efficiency,
    failures,
    gate,
    gates,
    housekeeping,
    inputs,
    jobs,
    logs,
    outside,
    runs,
    server,
    show,
    status,
    submit,
)

_EPILOG = """
Exit codes: 0 done; 1 the run, or the command, failed; 2 the request is not valid; 3 the followed run was cancelled;
4 not found; 5 the server does not answer; 6 not allowed; 7 not possible in this state; 8 the followed run is paused;
130 interrupted.

Environment: SNAKEWAY_URL (default http://127.0.0.1:8642), SNAKEWAY_TOKEN, SNAKEWAY_DEBUG=1 for tracebacks, NO_COLOR.
"""

app = typer.Typer(
    name="snakeway",
    help="Run Snakemake workflows as a service: submit, watch, re-run only what is missing.",
    epilog=_EPILOG,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"snakeway {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # its callback has done the work
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("submit")(submit.submit)
app.command("runs")(runs.runs)
app.command("show")(show.show)
app.command("jobs")(jobs.jobs)
app.command("logs")(logs.logs)
app.command("efficiency")(efficiency.efficiency)
app.command("cost")(cost.cost)
app.command("rerun")(submit.rerun)
app.command("cancel")(runs.cancel)
app.command("gates")(gates.gates)
app.command("approve")(gates.approve)
app.command("reject")(gates.reject)
app.command("artifacts")(artifacts.artifacts)
app.command("get")(artifacts.get)
app.command("upload")(inputs.upload)
app.command("inputs")(inputs.inputs)
app.command("rm")(runs.rm)
app.command("prune")(housekeeping.prune)
app.command("audit")(housekeeping.audit)
app.command("deliveries")(deliveries.deliveries)
app.command("status")(status.status)
app.command("import")(outside.import_)
app.command("workflows")(catalog.workflows)
app.command("targets")(catalog.targets)
app.command("doctor")(doctor.doctor)
app.command("gate")(gate.gate)
app.command("serve")(server.serve)
app.command("supervise")(server.supervise)
app.command("migrate")(server.migrate)


def commands() -> list[str]:
    """Return the name of every command, in the order of the help."""
    return [command.name for command in app.registered_commands if command.name]


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing that a command raises gets past."""
    args = sys.argv[1:] if args is None else args
    return failures.guarded(lambda: app(args, prog_name="snakeway", standalone_mode=False), args)
