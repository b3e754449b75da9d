"""The server that the command line talks to, and the run that an argument means."""

import os
import re
from itertools import islice
from typing import TYPE_CHECKING

from snakeway import ids
from snakeway.errors import Invalid, RunNotFound

if TYPE_CHECKING:
    from snakeway.client import Client, Run

DEFAULT_URL = "http://127.0.0.1:8642"
SHORT = 8  # characters of an id that tables show; the end, because ids begin with the time
_SHORTEST = 4
_SEARCHED = 10_000  # newest runs among which the end of an id is looked for
_END_OF_ID = re.compile(r"[0-9a-f-]{1,36}", re.ASCII)


def connect(timeout_s: float = 30) -> "Client":
    """Return a client of the server at SNAKEWAY_URL; the token comes from SNAKEWAY_TOKEN only, never from arguments."""
    from snakeway.client import Client

    return Client(server_url(), os.environ.get("SNAKEWAY_TOKEN") or None, timeout_s)


def server_url() -> str:
    """Return the address that is talked to."""
    return os.environ.get("SNAKEWAY_URL") or DEFAULT_URL


def short(run_id: str) -> str:
    """Return the part of an id that tables show, and that commands accept."""
    return run_id[-SHORT:]


def find_run(client: "Client", text: str) -> "Run":
    """Return the run that ``text`` means: a whole id, the end of one, or ``last``.

    Raises:
        RunNotFound: there is none.
        Invalid: it means more than one, or is no part of an id.

    """
    text = text.strip().lower()
    if ids.is_id(text):
        return client.run(text)
    if text == "last":
        newest = client.runs_page(limit=1)["items"]
        if not newest:
            raise RunNotFound("there are no runs yet; 'snakeway submit WORKFLOW' makes one")
        return newest[0]
    if not _END_OF_ID.fullmatch(text) or len(text) < _SHORTEST:
        raise Invalid(
            f"{text!r} is neither the id of a run, nor the end of one ({_SHORTEST} characters or more), nor 'last'",
            field="RUN",
        )
    found = [run for run in islice(client.runs(), _SEARCHED) if run["id"].endswith(text)]
    if not found:
        raise RunNotFound(f"there is no run whose id ends with {text!r}; 'snakeway runs' lists those there are")
    if len(found) > 1:
        which = ", ".join(run["id"] for run in found[:3])
        raise Invalid(f"{text!r} is the end of {len(found)} ids ({which} ...); give more of it", field="RUN")
    return found[0]


def run_id(client: "Client", text: str) -> str:
    """Return the id of the run that ``text`` means, without asking the server when it is a whole id."""
    return text if ids.is_id(text) else find_run(client, text)["id"]
