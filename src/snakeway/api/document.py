"""The OpenAPI document of the API, at /schema as a page, JSON and YAML."""

from dataclasses import dataclass
from typing import Any

from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, Example, Operation, RequestBody, SecurityScheme, Tag
from litestar.types.callable_types import OperationIDCreator
from msgspec import to_builtins

from snakeway import __version__
from snakeway.api.page import PagePlugin

_DESCRIPTION = """\
Snakeway runs Snakemake workflows: submit a run, watch it, and re-run only what failed.

- Lists answer `{"items": [...], "next": cursor}`; send `next` as `cursor` for the next page, with the same filters.
- Times are RFC 3339 in UTC; members that end in `_s` are seconds, in `_bytes` bytes.
- Errors are `application/problem+json` (RFC 9457); compare `code`, read `detail`. `type` leads to its documentation.
- A parameter or member that is not documented is an error, not ignored.
"""
_TAGS = {
    "runs": "What users asked for.",
    "attempts": "The snakemake processes of a run: the first, and one more for each re-run and recovery.",
    "jobs": "Snakemake's jobs within an attempt.",
    "cost": "What jobs had of processors and memory, and what that comes to.",
    "logs": "What snakemake and the jobs wrote, whole, in parts, or the end of it.",
    "events": "A run as it happens.",
    "artifacts": "Output files.",
    "inputs": "Files that are uploaded, for runs to use.",
    "gates": "Where workflows wait for a person, and what was decided.",
    "outside": "Recording runs that somebody started by hand. Sent by the logger plugin and by `snakeway import`.",
    "workflows": "What can be run.",
    "targets": "Where it can run.",
    "deliveries": "What webhooks were told about a run.",
    "audit": "What was removed.",
    "health": "For monitoring.",
    "problems": "Documentation of errors.",
}


def answer(
    container: Any, value: Any, description: str = "Done.", media_type: str = "application/json"
) -> ResponseSpec:
    """Describe a successful answer by its type and an example."""
    examples = None if value is None else [example(value)]
    return ResponseSpec(
        container, generate_examples=False, description=description, media_type=media_type, examples=examples
    )


def example(value: Any) -> Example:
    """Return an example from a value of the type that it is an example of."""
    return Example(summary="Example", value=to_builtins(value))


def with_head(name: str) -> OperationIDCreator:
    """Return the operation ids of a handler that answers GET and HEAD."""

    def operation_id(_handler: object, method: str, _path: object) -> str:
        return name if method == "GET" else f"head_{name.removeprefix('get_')}"

    return operation_id


@dataclass
class OptionalBody(Operation):
    """An operation whose body may be left out; Litestar says of every body that it is needed."""

    def __post_init__(self) -> None:
        if isinstance(self.request_body, RequestBody):
            self.request_body.required = False


def openapi_config() -> OpenAPIConfig:
    """Return how the document is made and shown: without scripts, fonts or styles from other servers."""
    page = PagePlugin()
    return OpenAPIConfig(
        title="Snakeway",
        version=__version__,
        description=_DESCRIPTION,
        tags=[Tag(name=name, description=text) for name, text in _TAGS.items()],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"token": []}, {}],
        use_handler_docstrings=True,
        render_plugins=[page, JsonRenderPlugin(), YamlRenderPlugin()],
        path="/schema",
    )
