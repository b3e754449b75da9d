"""Why a job or an attempt failed, as the API shows it."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from snakeway.model.failure import Failure as Judged
from snakeway.model.failure import FailureKind


class Suggestion(Struct, frozen=True):
    """What a re-run has to do differently to succeed; all empty: nothing, the same again may succeed."""

    set_resources: Annotated[
        dict[str, dict[str, int]], Meta(description="By rule and resource.", examples=[{"fit": {"mem_mb": 8000}}])
    ] = {}

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> "Suggestion | None":
        """Make the one shape of a suggestion."""
        return None if data is None else cls(data.get("set_resources") or {})


class Failure(Struct, frozen=True):
    """Why something failed."""

    kind: FailureKind
    summary: Annotated[str, Meta(description="One sentence.")]
    exit_code: Annotated[int | None, Meta(description="128 + signal when a signal ended it.")]
    signal: int | None
    host: Annotated[str | None, Meta(description="Where it ran.")]
    scheduler: Annotated[str | None, Meta(description="What the scheduler says, in its own words.")]
    stderr: Annotated[str | None, Meta(description="Where the scheduler keeps the job's standard error.")]
    file: Annotated[str | None, Meta(description="File of the workflow that is at fault, if one is.")]
    line: int | None
    suggestion: Annotated[
        Suggestion | None,
        Meta(description="What would cure it; null: something has to be mended first, or it was a dry run."),
    ]

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> "Failure | None":
        """Make the one shape of a failure from what was stored."""
        if data is None:
            return None
        return cls(
            kind=FailureKind(data["kind"]),
            summary=data["summary"],
            exit_code=data.get("exit_code"),
            signal=data.get("signal"),
            host=data.get("host"),
            scheduler=data.get("scheduler"),
            stderr=data.get("stderr"),
            file=data.get("file"),
            line=data.get("line"),
            suggestion=Suggestion.of(data.get("suggestion")),
        )


EXAMPLE = Failure.of(
    Judged(
        FailureKind.OUT_OF_MEMORY,
        "Out of memory (it had 400 MB): MemoryError",
        exit_code=1,
        host="node7",
        suggestion={"set_resources": {"fit": {"mem_mb": 800}}},
    ).to_json()
)
