"""What several nouns have in common."""

from datetime import UTC, datetime
from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import PathParameter, SkipValidation
from msgspec import Meta, Struct

from snakeway.service import Commands, Reads

# What the application hands to handlers as ``reads`` and ``commands``. Litestar starts a task for each of several
# dependencies, which costs more than the rest of a small request; so a handler takes one, and the user off the request.
TheReads = NamedDependency[SkipValidation[Reads]]
TheCommands = NamedDependency[SkipValidation[Commands]]

RunId = Annotated[str, PathParameter(description="Id of the run.")]

# Examples of the OpenAPI document tell of one run.
EXAMPLE_RUN_ID = "0198c5b2-7d30-7c4e-9a55-0f6a3f1c2d10"
EXAMPLE_TIME = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EXAMPLE_DIGEST = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class JobCounts(Struct, frozen=True):
    """How many jobs there are, as far as known."""

    total: Annotated[int, Meta(description="Jobs that Snakemake means to run; 0 until it has said so.")]
    done: int
    failed: int


class RunInput(Struct, frozen=True):
    """An uploaded file that a run uses: exactly these bytes, also if it is run again."""

    id: str
    path: Annotated[str, Meta(description="Where jobs find it, and what the configuration says in its place.")]
    name: str
    sha256: str
    size_bytes: int
