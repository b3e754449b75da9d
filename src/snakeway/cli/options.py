"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from snakeway.cli import complete

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of the run, the end of it (4 characters or more), or 'last' for the newest run.",
        autocompletion=complete.runs,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the result.")]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow", "-f", help="Watch the run until it ends; the exit code is the run's. Ctrl-C only stops watching."
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Where jobs run; see 'snakeway targets'.",
        autocompletion=complete.targets,
    ),
]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="KEY=VALUE",
        help="Set a value of the configuration. A dot leads into an object: model.seed=1. The value is read as YAML. "
        "Can be repeated; stronger than --configfile.",
    ),
]
ConfigFile = Annotated[
    list[Path] | None,
    typer.Option("--configfile", metavar="FILE", help="Take configuration from a JSON or YAML file. Can be repeated."),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="KEY=FILE",
        help="Upload a file of this machine and set a value of the configuration to it. Can be repeated; stronger than "
        "--config.",
    ),
]
SetResources = Annotated[
    list[str] | None,
    typer.Option(
        "--set-resources",
        metavar="RULE:NAME=VALUE",
        help="Resource of a rule, as in align:mem_mb=8000. Can be repeated.",
    ),
]
SetThreads = Annotated[
    list[str] | None, typer.Option("--set-threads", metavar="RULE=N", help="Threads of a rule. Can be repeated.")
]
Until = Annotated[
    list[str] | None,
    typer.Option("--until", metavar="RULE|FILE", help="Stop after this rule or file. Can be repeated."),
]
ForceRun = Annotated[
    list[str] | None,
    typer.Option(
        "--forcerun", "-R", metavar="RULE|FILE", help="Execute this rule, or make this file, again. Can be repeated."
    ),
]
ForceAll = Annotated[bool, typer.Option("--forceall", "-F", help="Execute everything again.")]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="TAG",
        help="Image for the jobs, where they run in containers: a tag of the target's image, or another image.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only find out what would be executed.")]
AttemptOption = Annotated[
    int | None,
    typer.Option("--attempt", min=1, metavar="N", help="Number of an attempt; the newest, if none is named."),
]
