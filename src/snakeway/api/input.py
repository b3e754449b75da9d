"""Inputs over HTTP: files that are uploaded, in one go or in pieces, for runs to use."""

import base64
from asyncio import to_thread
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from litestar import Controller, Response, delete, get, patch, post, route
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import BodyKwarg, HeaderParameter, PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api import objects
from snakeway.api.body import ApiRequest, blocks
from snakeway.api.document import answer, example, with_head
from snakeway.api.events import Stopping
from snakeway.api.problems import UnsupportedMediaType, documented
from snakeway.api.query import DEFAULT_LIMIT, MOST_VALUES, Cursor, Limit
from snakeway.api.shared import EXAMPLE_DIGEST, EXAMPLE_RUN_ID, EXAMPLE_TIME, TheCommands
from snakeway.model.input import InputState, reference_to
from snakeway.service import Commands
from snakeway.service.inputs import Known
from snakeway.spool import Spool

TYPES = ("application/offset+octet-stream", "application/octet-stream")
_BLOCK_BYTES = 1024 * 1024  # written at a time, and held in memory
_LARGEST = 2**62  # bytes that any number in here can be; a setting says how large an input may be

InputId = Annotated[str, PathParameter(description="Id of the input.")]


class InputRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What is going to be sent."""

    name: Annotated[str, Meta(max_length=255, description="What the file is called.", examples=["samples.csv"])]
    size_bytes: Annotated[int, Meta(ge=0, le=_LARGEST)]
    sha256: Annotated[str, Meta(max_length=64, description="Of the content: 64 hexadecimal digits.")]


class Input(Struct, frozen=True):
    """A file that was uploaded, or is being uploaded."""

    id: str
    name: str
    state: InputState
    reference: Annotated[str, Meta(description="What stands for it in the configuration of a run.")]
    size_bytes: int
    offset: Annotated[int, Meta(description="How many of its bytes are here: where to go on.")]
    sha256: str
    owner: str
    created_at: datetime
    completed_at: datetime | None
    expires_at: Annotated[
        datetime | None, Meta(description="When it is removed unless more of it comes; null when complete.")
    ]

    @classmethod
    def of(cls, known: Known) -> "Input":
        """Make the one shape of an input."""
        row = known.row
        return cls(
            id=row.id,
            name=row.name,
            state=row.state,
            reference=reference_to(row.id),
            size_bytes=row.size_bytes,
            offset=known.offset,
            sha256=row.sha256,
            owner=row.owner,
            created_at=row.created_at,
            completed_at=row.completed_at,
            expires_at=known.expires_at,
        )


class InputPage(Struct, frozen=True):
    """Inputs, newest first."""

    items: list[Input]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = Input(
    id=EXAMPLE_RUN_ID,
    name="samples.csv",
    state=InputState.COMPLETE,
    reference=reference_to(EXAMPLE_RUN_ID),
    size_bytes=2048,
    offset=2048,
    sha256=EXAMPLE_DIGEST.removeprefix("sha256:"),
    owner="local",
    created_at=EXAMPLE_TIME,
    completed_at=EXAMPLE_TIME,
    expires_at=None,
)
_REQUEST = InputRequest(EXAMPLE.name, EXAMPLE.size_bytes, EXAMPLE.sha256)


@dataclass
class _Piece(Operation):
    """An operation whose body is a piece of a file."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, examples=["the bytes from there on"])
        self.request_body = RequestBody({name: OpenAPIMediaType(schema=schema) for name in TYPES}, required=True)


class InputController(Controller):
    """Inputs."""

    path = "/inputs"
    tags = ("inputs",)

    @post(
        operation_id="announce_input",
        summary="Announce an input",
        responses={
            201: answer(Input, EXAMPLE, "Its bytes are to be sent to the address in the header Location."),
            200: answer(Input, EXAMPLE, "You have that content, or have begun to send it: `state` and `offset` tell."),
            **documented(errors.InputTooLarge, errors.QuotaExceeded, errors.Unavailable, body=True),
        },
    )
    async def announce(
        self,
        request: ApiRequest,
        commands: TheCommands,
        data: Annotated[InputRequest, BodyKwarg(examples=[example(_REQUEST)])],
    ) -> Response[Input]:
        """Says what is going to be sent. May be repeated: the same name and content are the same input.

        A content that you have already is not sent again. What others have does not count, and is not told.
        """
        known, new = await to_thread(commands.inputs.announce, request.user, data.name, data.size_bytes, data.sha256)
        return _response(known, 201 if new else 200, {"Location": f"/api/v1/inputs/{known.row.id}"})

    @patch(
        "/{input_id:str}",
        status_code=200,
        operation_id="send_input",
        operation_class=_Piece,
        request_max_body_size=None,  # counted as it comes, against what was announced
        summary="Send bytes of an input",
        responses={
            200: answer(Input, EXAMPLE, "The bytes are kept; `state` tells whether any are missing."),
            **documented(
                errors.InputNotFound,
                errors.OffsetConflict,
                errors.InputBusy,
                errors.InputDamaged,
                errors.Unavailable,
                errors.BlobsUnavailable,
                errors.BlobsRefused,
                body=True,
            ),
        },
    )
    async def send(
        self,
        request: ApiRequest,
        commands: TheCommands,
        stopping: Stopping,
        input_id: InputId,
        upload_offset: Annotated[
            int,
            HeaderParameter(
                name="Upload-Offset", ge=0, le=_LARGEST, description="Which byte of the file the body begins with."
            ),
        ],
    ) -> Response[Input]:
        """Takes bytes from `Upload-Offset` on, which must be where those that are here end, as many as there are.

        What has arrived when a connection breaks is kept, and counts. The request that brings the last byte stores the
        file, after looking at its digest; one without a body does so again if that was interrupted.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in TYPES or request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMediaType(f"send the bytes with one of the types {', '.join(TYPES)}")
        length = request.headers.get("content-length")  # uvicorn has seen that it is a number
        begin = commands.inputs.begin
        begun = await to_thread(begin, request.user, input_id, upload_offset, None if length is None else int(length))
        if begun is not None:
            await _take(request, commands, begun[0], begun[1], upload_offset)
        known = await request.slow_lane.run(commands.inputs.finish, request.user, input_id, stopping.is_set)
        return _response(known, 200)

    @get(
        sync_to_thread=True,
        operation_id="list_inputs",
        summary="List inputs",
        responses={
            200: answer(InputPage, InputPage([EXAMPLE], next=None)),
            **documented(errors.InvalidCursor, errors.Unavailable),
        },
    )
    def list_(
        self,
        request: ApiRequest,
        commands: TheCommands,
        states: Annotated[
            list[InputState] | None,
            QueryParameter(name="state", max_items=MOST_VALUES, description="In one of these."),
        ] = None,
        owner: Annotated[str | None, QueryParameter(description="Of this owner, as far as you may see them.")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> InputPage:
        """Inputs that you may see, newest first."""
        page = commands.inputs.list_(request.user, owner, states or [], cursor, limit)
        return InputPage([Input.of(known) for known in page.items], page.next)

    @route(
        "/{input_id:str}",
        http_method=["GET", "HEAD"],
        sync_to_thread=True,
        operation_id=with_head("get_input"),
        summary="Get how far an input is",
        responses={
            200: answer(Input, EXAMPLE, "The headers Upload-Offset and Upload-Length tell as well."),
            **documented(errors.InputNotFound, errors.Unavailable),
        },
    )
    def one(self, request: ApiRequest, commands: TheCommands, input_id: InputId) -> Response[Input]:
        """One input."""
        return _response(commands.inputs.get(request.user, input_id), 200)

    @route(
        "/{input_id:str}/content",
        http_method=["GET", "HEAD"],
        operation_id=with_head("get_input_content"),
        summary="Get the content of an input",
        media_type="application/octet-stream",
        responses={
            200: answer(bytes, None, "The file. Repr-Digest has its SHA-256.", "application/octet-stream"),
            206: answer(bytes, None, "The range that was asked for.", "application/octet-stream"),
            304: answer(None, None, "If-None-Match has its tag."),
            **documented(
                errors.InputNotFound,
                errors.BlobNotFound,
                errors.RangeNotSatisfiable,
                errors.Unavailable,
                errors.BlobsUnavailable,
                errors.BlobsRefused,
            ),
        },
    )
    async def content(self, request: ApiRequest, commands: TheCommands, input_id: InputId) -> ASGIResponse:
        """The file itself, once it is complete, always as an attachment."""
        row, storage, key = await to_thread(commands.inputs.content, request.user, input_id)
        blob = await request.transfer_lane.run(storage.stat, key)
        if blob is None:
            raise errors.BlobNotFound(f"the content of input {input_id} is not in the object storage any more")
        tag, media_type = f'"{row.sha256}"', "application/octet-stream"
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(row.name, safe='')}",
            "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(row.sha256)).decode()}:",
        }
        return await objects.respond(request, storage, blob, media_type, etag=tag, headers=headers)

    @delete(
        "/{input_id:str}",
        sync_to_thread=True,
        operation_id="delete_input",
        summary="Delete an input",
        responses={
            204: answer(None, None, "Gone."),
            **documented(errors.InputNotFound, errors.InputInUse, errors.InputBusy, errors.Unavailable),
        },
    )
    def remove(self, request: ApiRequest, commands: TheCommands, input_id: InputId) -> None:
        """Removes an input that no run uses, or gives an upload up."""
        commands.inputs.remove(request.user, input_id)


def _response(known: Known, status: int, headers: dict[str, str] | None = None) -> Response[Input]:
    told = {"Upload-Offset": str(known.offset), "Upload-Length": str(known.row.size_bytes), **(headers or {})}
    return Response(Input.of(known), status_code=status, headers=told)


async def _take(request: ApiRequest, commands: Commands, spool: Spool, size_bytes: int, offset: int) -> None:
    """Write a request's body to the upload's file as it comes; what came before a broken connection is kept."""
    try:
        async for block in blocks(request, _BLOCK_BYTES):
            offset = await to_thread(commands.inputs.write, spool, size_bytes, offset, block)
    finally:
        await to_thread(spool.sync)
