"""Workflows over HTTP: what can be run."""

from typing import Annotated, Any

from litestar import Controller, get
from litestar.params import PathParameter
from msgspec import Meta, Struct

from snakeway import catalog
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.shared import EXAMPLE_DIGEST, TheReads
from snakeway.errors import WorkflowNotFound


class Workflow(Struct, frozen=True):
    """A workflow of the catalog."""

    name: str
    description: str
    digest: Annotated[str, Meta(description="Its version of now: `sha256:…` of its files.")]
    schema: Annotated[dict[str, Any] | None, Meta(description="JSON Schema of its configuration; null if it has none.")]
    defaults: Annotated[dict[str, Any], Meta(description="Its own configuration.")]
    source: Annotated[dict[str, Any], Meta(description="Where it came from.")]
    error: Annotated[str | None, Meta(description="Why it cannot be run; null if it can.")]

    @classmethod
    def of(cls, known: catalog.Workflow) -> "Workflow":
        """Make the one shape of a workflow."""
        return cls(
            name=known.name,
            description=known.description,
            digest=known.digest,
            schema=known.schema,
            defaults=known.defaults,
            source=known.source,
            error=known.error,
        )


class WorkflowPage(Struct, frozen=True):
    """All workflows, by name."""

    items: list[Workflow]
    next: None = None


EXAMPLE = Workflow(
    name="quickstart",
    description="Fits a line to every species and gathers the results.",
    digest=EXAMPLE_DIGEST,
    schema={"type": "object", "properties": {"species": {"type": "array", "items": {"type": "string"}}}},
    defaults={"species": ["Adelie", "Chinstrap", "Gentoo"]},
    source={"kind": "catalog", "name": "quickstart"},
    error=None,
)


class WorkflowController(Controller):
    """Workflows."""

    path = "/workflows"
    tags = ("workflows",)

    @get(
        sync_to_thread=True,
        operation_id="list_workflows",
        summary="List the workflows",
        responses={200: answer(WorkflowPage, WorkflowPage([EXAMPLE])), **documented(database=False)},
    )
    def list_(self, reads: TheReads) -> WorkflowPage:
        """The workflows of the catalog, also those that are broken."""
        return WorkflowPage([Workflow.of(known) for known in reads.workflows()])

    @get(
        "/{name:str}",
        sync_to_thread=True,
        operation_id="get_workflow",
        summary="Get a workflow",
        responses={200: answer(Workflow, EXAMPLE), **documented(WorkflowNotFound, database=False)},
    )
    def one(
        self,
        reads: TheReads,
        name: Annotated[str, PathParameter(description="Name of the workflow.")],
    ) -> Workflow:
        """One workflow of the catalog."""
        return Workflow.of(reads.workflow(name))
