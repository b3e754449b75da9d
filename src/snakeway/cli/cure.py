"""What can be done about a failed run, in the words of the command line."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from snakeway.cli import output
from snakeway.cli.connect import short

if TYPE_CHECKING:
    from snakeway.client import Attempt, Run


def cure(attempt: "Attempt") -> str:
    """Return what a re-run would do differently to succeed; nothing if that is not known."""
    suggestion = attempt["suggestion"]
    if suggestion is None:
        return ""
    resources = suggestion["set_resources"].items()
    asked = [f"{rule}:{name}={value}" for rule, values in resources for name, value in values.items()]
    return ", ".join(asked) or "the same again"


def hint_at_gates(name: str) -> None:
    """Tell how to let the run ``name`` go on, which waits for a person."""
    output.hint(f"snakeway gates {name}    what it waits for, and what to look at")
    output.hint(f"snakeway approve {name} GATE    let it go on; 'snakeway reject' fails it")


def hint_at_rerun(run: "Run", attempts: "Sequence[Attempt]") -> None:
    """Tell which re-run may help a run that did not succeed; of a dry run, which question may be asked again.

    ``attempts`` are the run's, oldest first. One that only asked about the run is passed over.
    """
    name, sent = short(run["id"]), run["source"].get("kind") == "bundle"
    attempt = next((attempt for attempt in reversed(attempts) if attempt["dry_run"] == run["dry_run"]), None)
    kind = attempt["failure"]["kind"] if attempt is not None and attempt["failure"] else ""
    asked = " --dry-run" if run["dry_run"] else ""
    if attempt is not None and attempt["gates_only"]:
        output.hint(f"snakeway gates {name}    what was decided\nsnakeway approve {name} GATE    decide otherwise")
    elif attempt is not None and attempt["suggestion"] is not None:
        output.hint(f"snakeway rerun {name} --apply-suggestions    execute what is missing, with {cure(attempt)}")
    elif kind == "missing_input":
        again = "snakeway submit ./FOLDER" if sent else f"snakeway rerun {name} --update-workflow"
        output.hint(f"{again}{asked}    try again when the file is among the workflow's")
        output.hint(
            f"snakeway submit WORKFLOW --input KEY=FILE{asked}    "
            "or upload a file of yours, for a workflow that takes it"
        )
    elif sent and kind != "invalid_config":
        output.hint(f"snakeway submit ./FOLDER{asked}    send the workflow again, when it is mended")
    elif kind == "invalid_workflow":
        output.hint(f"snakeway rerun {name} --update-workflow{asked}    try again with the workflow as it is by then")
    elif kind == "invalid_config":
        output.hint(f"snakeway rerun {name} --config KEY=VALUE{asked}    try again with another configuration")
    else:
        does = "ask again" if asked else "execute what is missing"
        output.hint(f"snakeway rerun {name}{asked}    {does}, when that is mended")
        if kind != "cancelled":
            output.hint(
                f"snakeway rerun {name} --update-workflow{asked}    likewise, when it was mended in the workflow"
            )


def hint_at_names(attempt: "Attempt") -> None:
    """Tell of rules that the attempt's resources or threads were given to and that are not in its rule graph.

    Snakemake says nothing of them. One may also be a rule whose jobs a checkpoint adds later.
    """
    graph = attempt["rulegraph"]
    if graph is None:
        return
    known = {node["rule"] for node in graph["nodes"]}
    overrides = attempt["overrides"]
    for rule in sorted({*overrides["set_resources"], *overrides["set_threads"]} - known):
        near = get_close_matches(rule, known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else " (a checkpoint may add it)"
        output.hint(f"resources or threads are set for rule {rule!r}, which the rule graph does not have{meant}")
