"""Bundles over HTTP: workflows that somebody has packed and sends."""

from asyncio import to_thread
from dataclasses import dataclass
from typing import Annotated

from litestar import Controller, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import QueryParameter

from snakeway import errors
from snakeway.api.body import ApiRequest, spool
from snakeway.api.document import answer
from snakeway.api.problems import UnsupportedMediaType, documented
from snakeway.api.shared import EXAMPLE_DIGEST, TheCommands
from snakeway.api.workflow import EXAMPLE, Workflow

TYPES = ("application/gzip", "application/x-tar", "application/x-bzip2", "application/zip", "application/octet-stream")

_EXAMPLE = Workflow(
    name="penguins",
    description=EXAMPLE.description,
    digest=EXAMPLE_DIGEST,
    schema=EXAMPLE.schema,
    defaults=EXAMPLE.defaults,
    source={"kind": "bundle", "name": "penguins", "digest": EXAMPLE_DIGEST},
    error=None,
)


@dataclass
class _Archive(Operation):
    """An operation whose body is an archive."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, examples=["the bytes of penguins.tgz"])
        self.request_body = RequestBody({name: OpenAPIMediaType(schema=schema) for name in TYPES}, required=True)


class BundleController(Controller):
    """Bundles."""

    path = "/bundles"
    tags = ("workflows",)

    @post(
        operation_id="add_bundle",
        operation_class=_Archive,
        request_max_body_size=None,  # counted as it comes, against a setting of its own
        summary="Send a workflow",
        responses={
            201: answer(Workflow, _EXAMPLE, "It is kept."),
            **documented(errors.InvalidWorkflow, errors.Unavailable, body=True, database=False),
        },
    )
    async def add(
        self,
        request: ApiRequest,
        commands: TheCommands,
        name: Annotated[str, QueryParameter(description="What the workflow is called.")],
    ) -> Workflow:
        """Takes a tar (plain, gzip or bzip2) or zip archive of a workflow's folder.

        The answer's `digest` is what a submission names: `{"workflow": {"bundle": {"digest": ..., "name": ...}}}`. The
        same files have the same digest, however they are packed, and are kept once.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in TYPES or request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMediaType(f"send the archive with one of the types {', '.join(TYPES)}")
        file = await to_thread(commands.new_archive)
        try:
            await spool(request, file, commands.max_bundle_bytes, "SNAKEWAY_MAX_BUNDLE_BYTES")
            return Workflow.of(await request.slow_lane.run(commands.add_bundle, request.user, file, name))
        finally:
            await to_thread(file.close)
