"""Completion of values. A server that is slow or away means no suggestions; the shell's prompt must not suffer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from snakeway.cli import times
from snakeway.cli.connect import connect, short

if TYPE_CHECKING:
    from snakeway.client import Client

_TIMEOUT_S = 1
_RUNS = 50

Suggestions = list[tuple[str, str]]


def runs(incomplete: str) -> Suggestions:
    """Suggest recent runs by the end of their id."""
    del incomplete  # typer leaves out what does not fit
    return [("last", "the newest run"), *_asked(_runs)]


def workflows(incomplete: str) -> Suggestions:
    """Suggest the catalog's workflows."""
    del incomplete
    return _asked(lambda client: [(found["name"], found["description"]) for found in client.workflows()])


def targets(incomplete: str) -> Suggestions:
    """Suggest targets."""
    del incomplete
    return _asked(lambda client: [(found["name"], found["description"]) for found in client.targets()])


def inputs(incomplete: str) -> Suggestions:
    """Suggest recent inputs."""
    del incomplete
    return _asked(lambda client: [(each["id"], each["name"]) for each in client.inputs.page(limit=_RUNS)["items"]])


def _runs(client: "Client") -> Suggestions:
    found = client.runs_page(limit=_RUNS)["items"]
    return [(short(run["id"]), f"{run['workflow']} {run['state']} {times.ago(run['created_at'])}") for run in found]


def _asked(ask: Callable[["Client"], Suggestions]) -> Suggestions:
    try:
        with connect(_TIMEOUT_S) as client:
            return ask(client)
    except Exception:  # noqa: BLE001  whatever it is, a completion must not print it into the prompt
        return []
