"""Targets over HTTP: where jobs can run."""

from typing import Annotated

from litestar import Controller, get
from msgspec import Meta, Struct

from snakeway import catalog
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.shared import TheReads


class Target(Struct, frozen=True):
    """A place where jobs can run: a Snakemake profile."""

    name: str
    description: str
    executor: Annotated[str, Meta(description="Snakemake's executor, such as `local` or `slurm`.")]
    error: Annotated[str | None, Meta(description="Why it cannot be used; null if it can.")]

    @classmethod
    def of(cls, known: catalog.Target) -> "Target":
        """Make the one shape of a target."""
        return cls(known.name, known.description, known.executor, known.error)


class TargetPage(Struct, frozen=True):
    """All targets, by name."""

    items: list[Target]
    next: None = None


EXAMPLE = Target("local", "Jobs run beside the server.", "local", None)


class TargetController(Controller):
    """Targets."""

    path = "/targets"
    tags = ("targets",)

    @get(
        sync_to_thread=True,
        operation_id="list_targets",
        summary="List the targets",
        responses={200: answer(TargetPage, TargetPage([EXAMPLE])), **documented(database=False)},
    )
    def list_(self, reads: TheReads) -> TargetPage:
        """The places where jobs can run, also those whose profile is broken."""
        return TargetPage([Target.of(known) for known in reads.targets()])
