"""Commands that run the server side: serve, supervise, migrate."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway.cli import output
from snakeway.errors import Invalid

if TYPE_CHECKING:
    from snakeway.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of the database and the runs. [SNAKEWAY_DATA_DIR; ./snakeway-data]"
    ),
]
WorkflowsDir = Annotated[
    Path | None,
    typer.Option(
        "--workflows-dir", metavar="DIR", help="Folder of the workflows. [SNAKEWAY_WORKFLOWS_DIR; ./workflows]"
    ),
]
ProfilesDir = Annotated[
    Path | None,
    typer.Option("--profiles-dir", metavar="DIR", help="Folder of the targets. [SNAKEWAY_PROFILES_DIR; ./profiles]"),
]
MaxActiveRuns = Annotated[
    int | None,
    typer.Option(
        "--max-active-runs", metavar="N", help="Runs that are executed at a time. [SNAKEWAY_MAX_ACTIVE_RUNS; 4]"
    ),
]


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. [SNAKEWAY_HOST; 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", "-p", metavar="PORT", help="Port to listen on; 0 takes a free one. [SNAKEWAY_PORT; 8642]"
        ),
    ] = None,
    data_dir: DataDir = None,
    workflows_dir: WorkflowsDir = None,
    profiles_dir: ProfilesDir = None,
    max_active_runs: MaxActiveRuns = None,
    supervisor: Annotated[
        bool,
        typer.Option("--supervisor/--no-supervisor", help="Also execute runs; without, 'snakeway supervise' does."),
    ] = True,
) -> None:
    """Serve the API and execute runs.

    Until Ctrl-C or SIGTERM; runs that are under way then go on, and are found again by the next server.

    Everything else is set by environment variables SNAKEWAY_*; the token (SNAKEWAY_TOKEN) and the database's URL
    (SNAKEWAY_DATABASE_URL) by them only. Without a token the server listens on this machine's loopback only.
    """
    bootstrap = server_part("bootstrap")
    settings = read_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        workflows_dir=workflows_dir,
        profiles_dir=profiles_dir,
        max_active_runs=max_active_runs,
    )
    bootstrap.serve(settings, embedded=supervisor, ready=_say_ready)


def supervise(
    data_dir: DataDir = None,
    workflows_dir: WorkflowsDir = None,
    profiles_dir: ProfilesDir = None,
    max_active_runs: MaxActiveRuns = None,
) -> None:
    """Execute runs that a server elsewhere accepts.

    Until Ctrl-C or SIGTERM. Needs the same database and data folder as the server. Any number of supervisors can
    share a Postgres database (SNAKEWAY_DATABASE_URL).
    """
    bootstrap = server_part("bootstrap")
    bootstrap.supervise(
        read_settings(
            data_dir=data_dir, workflows_dir=workflows_dir, profiles_dir=profiles_dir, max_active_runs=max_active_runs
        )
    )


def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to this version's schema.

    Needed for Postgres; SQLite is brought up to date by 'serve'.
    """
    server_part("bootstrap").migrate(read_settings(data_dir=data_dir))


def server_part(name: str) -> ModuleType:
    """Import a module of the server; raises Invalid when the installation has the client only."""
    try:
        return importlib.import_module(f"snakeway.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "snakeway":
            raise
        raise Invalid(
            f"this needs the server ({error.name} is not installed); install Snakeway with its extra 'server'"
        ) from error


def read_settings(**given: Any) -> "Settings":
    """Return the settings: what is given, else the environment. Raises Invalid, which names what is at fault."""
    settings = server_part("settings")
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        result: Settings = settings.Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        # Never the value: one of the settings is the token.
        found = error.errors(include_input=False, include_url=False)
        wrong = [(each["loc"], each["msg"].removeprefix("Value error, ")) for each in found]
        said = "; ".join(f"{_place(*where)}: {message[:1].lower()}{message[1:]}" for where, message in wrong)
        raise Invalid(said, field=str(wrong[0][0][0])) from None
    except SettingsError as error:
        raise Invalid(f"{error}; lists are written as JSON") from None
    return result


def _place(name: str | int, *members: str | int) -> str:
    """Return where in the settings something is: the second webhook's URL is SNAKEWAY_WEBHOOKS[1].url."""
    inside = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in members)
    return f"SNAKEWAY_{str(name).upper()}{inside}"


def _say_ready(url: str) -> None:
    output.hint(f"snakeway serves on {url} (Ctrl-C ends the server; runs go on)")
