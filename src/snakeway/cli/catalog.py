"""Commands about what can be run, and where: workflows and targets."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from snakeway.cli import complete, options, output
from snakeway.cli.connect import connect
from snakeway.cli.output import Column

if TYPE_CHECKING:
    from snakeway.client import Target, Workflow

_WORKFLOWS: list[Column["Workflow"]] = [
    Column("WORKFLOW", lambda workflow: workflow["name"]),
    Column("DESCRIPTION", lambda workflow: workflow["description"]),
    Column(
        "DIGEST",
        lambda workflow: workflow["digest"],
        lambda workflow: workflow["digest"].removeprefix("sha256:")[:12],
        whole=True,
    ),
    Column("ERROR", lambda workflow: workflow["error"]),
]
_TARGETS: list[Column["Target"]] = [
    Column("TARGET", lambda target: target["name"]),
    Column("EXECUTOR", lambda target: target["executor"]),
    Column("DESCRIPTION", lambda target: target["description"]),
    Column("ERROR", lambda target: target["error"]),
]


class Key(NamedTuple):
    """One key of a workflow's configuration."""

    name: str
    type: str
    default: Any
    required: bool
    description: str


_KEYS: list[Column[Key]] = [
    Column("KEY", lambda key: key.name),
    Column("TYPE", lambda key: key.type),
    Column("DEFAULT", lambda key: _default(key.default)),
    Column("REQUIRED", lambda key: key.required, lambda key: "yes" if key.required else ""),
    Column("DESCRIPTION", lambda key: key.description),
]


def workflows(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show the configuration of this one.", autocompletion=complete.workflows),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the workflows, or show how one is configured.

    When the output is not a terminal, the columns are: name, description, digest, error. With NAME: key, type, default,
    required, description.
    """
    with connect() as client:
        if name is None:
            found = client.workflows()
            if as_json:
                output.document(found)
            else:
                output.table(
                    _WORKFLOWS, found, empty="No workflows: the server's setting workflows_dir names an empty folder."
                )
            return
        workflow = client.workflow(name)
    if as_json:
        output.document(workflow)
        return
    if output.is_terminal():
        output.facts((key, workflow[key]) for key in ("name", "description", "digest", "source"))
        output.write("\n")
    found_keys = list(keys(workflow["schema"] or {}, workflow["defaults"]))
    if workflow["error"]:
        output.hint(f"The workflow is broken: {output.clean(workflow['error'])}")
    if found_keys or not workflow["error"]:
        output.table(_KEYS, found_keys, empty="The workflow has no configuration.")


def targets(as_json: options.Json = False) -> None:
    """List the targets: where jobs can be executed.

    When the output is not a terminal, the columns are: name, executor, description, error.
    """
    with connect() as client:
        found = client.targets()
    if as_json:
        output.document(found)
    else:
        output.table(_TARGETS, found, empty="No targets: the server's setting profiles_dir names an empty folder.")


def keys(schema: Mapping[str, Any], defaults: Any, prefix: str = "") -> Iterator[Key]:
    """Yield the keys that a schema describes or that have defaults, with dots for objects in objects."""
    described = schema.get("properties")
    described = described if isinstance(described, Mapping) else {}
    known = defaults if isinstance(defaults, Mapping) else {}
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    for name in dict.fromkeys([*described, *known]):
        inner = described.get(name)
        inner = inner if isinstance(inner, Mapping) else {}
        default = known.get(name, inner.get("default"))
        if isinstance(inner.get("properties"), Mapping) or (isinstance(default, Mapping) and default):
            yield from keys(inner, default, f"{prefix}{name}.")
        else:
            yield Key(
                f"{prefix}{name}", _type(inner, default), default, name in required, str(inner.get("description", ""))
            )


def _default(value: Any) -> str:
    """Return a default as --config takes it."""
    return value if isinstance(value, str) else "" if value is None else output.as_json(value)


def _type(schema: Mapping[str, Any], default: Any) -> str:
    """Return the type as the schema states it, or as the default has it."""
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(output.clean(value) for value in schema["enum"])
    stated = schema.get("type")
    if isinstance(stated, list):
        return " or ".join(map(str, stated))
    if stated is not None:
        return str(stated)
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(default), "")
