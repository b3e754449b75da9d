"""The command that workflows call to ask a person: it waits by failing, and ends well once there is a decision."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from snakeway.cli import output as screen
from snakeway.errors import Invalid
from snakeway.gatefile import (
    REJECTED,
    WAITING,
    GateError,
    Verdict,
    read_decision,
    request_of,
    write_answer,
    write_request,
)
from snakeway.model.duration import parse_duration


def gate(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="File to write the answer to: the rule's output.")],
    evidence: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EVIDENCE]...", help="Files and folders to look at: the rule's inputs."),
    ] = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What is to be decided.")] = "",
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema of the answer, as JSON or YAML.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="TIME", help="Fail for good after this time: 12h, 14d.")
    ] = None,
) -> None:
    """Wait for a person's decision: the shell command of a rule that is a gate.

    Fails until there is one about the evidence as it is; then writes the answer, as JSON. Needs no server. Exit codes:
    0 approved, 75 nothing decided yet, 77 rejected.
    """
    directory = Path.cwd()
    name = os.path.relpath(output, directory)
    if name.startswith(".."):
        raise Invalid(f"the output of a gate must be below the working directory, not {output}", field="OUTPUT")
    deadline_s = parse_duration(deadline).total_seconds() if deadline else None
    try:
        asked = request_of(name, evidence or [], title=title, schema=schema, now=time.time(), deadline_s=deadline_s)
    except GateError as error:
        raise Invalid(str(error)) from None
    decision = read_decision(directory, name)
    if decision is None or decision.digest != asked.digest:
        write_request(directory, asked)
        changed = "the evidence has changed since the decision; " if decision is not None else ""
        _tell(f"{name} waits for a decision: {changed}{title or 'look at the evidence'}")
        for found in asked.evidence:
            _tell(f"    {found.path}")
        _tell(f"decide with: snakeway approve --directory {directory} {name}")
        raise typer.Exit(WAITING)
    if decision.verdict is Verdict.REJECTED:
        write_request(directory, asked)
        _tell(f"{name} was rejected by {decision.by}: {decision.reason or 'no reason given'}")
        raise typer.Exit(REJECTED)
    write_answer(Path(output), decision.answer)


def _tell(text: str) -> None:
    sys.stderr.write(f"gate: {screen.clean(text)}\n")
