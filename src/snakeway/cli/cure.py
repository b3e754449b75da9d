"""What can be done about a failed run, in the words of the command line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snakeway.cli import output

if TYPE_CHECKING:
    from snakeway.client import Attempt


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


def hint_at_rerun(name: str, attempt: "Attempt | None", source: Mapping[str, Any]) -> None:
    """Tell which re-run may help; ``attempt`` is the newest of the run ``name``, ``source`` its workflow's."""
    kind = attempt["failure"]["kind"] if attempt is not None and attempt["failure"] else ""
    if attempt is not None and attempt["gates_only"]:
        output.hint(f"snakeway gates {name}    what was decided\nsnakeway approve {name} GATE    decide otherwise")
    elif attempt is not None and attempt["suggestion"] is not None:
        output.hint(f"snakeway rerun {name} --apply-suggestions    execute what is missing, with {cure(attempt)}")
    elif kind == "missing_input":
        sent = source.get("kind") == "bundle"
        again = "snakeway submit ./FOLDER" if sent else f"snakeway rerun {name} --update-workflow"
        output.hint(f"{again}    try again when the file is among the workflow's")
        output.hint(
            "snakeway submit WORKFLOW --input KEY=FILE    or upload a file of yours, for a workflow that takes it"
        )
    elif source.get("kind") == "bundle" and kind != "invalid_config":
        output.hint("snakeway submit ./FOLDER    send the workflow again, when it is mended")
    elif kind == "invalid_workflow":
        output.hint(f"snakeway rerun {name} --update-workflow    try again with the workflow as it is by then")
    elif kind == "invalid_config":
        output.hint(f"snakeway rerun {name} --config KEY=VALUE    try again with another configuration")
    else:
        output.hint(f"snakeway rerun {name}    execute what is missing, when that is mended")
        if kind != "cancelled":
            output.hint(f"snakeway rerun {name} --update-workflow    likewise, when it was mended in the workflow")
