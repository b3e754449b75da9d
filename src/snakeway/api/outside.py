"""Runs by hand over HTTP: how far an attempt is recorded, its next bytes, and the end of its log."""

from asyncio import to_thread
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from litestar import Controller, get, post, put
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import UnsupportedMediaType, documented
from snakeway.api.shared import EXAMPLE_RUN_ID, RunId, TheCommands
from snakeway.model.attempt import AttemptState
from snakeway.service.outside import Recorded
from snakeway.wire import SHIPPED_LOG_BYTES

EVENTS_TYPE = "application/x-ndjson"
LOG_TYPE = "text/plain"

_LARGEST_OFFSET = 2**53
_BODIES = {
    "append_events": (EVENTS_TYPE, '{"seq":9,"t":1772443800.1,"type":"job_finished","job":3,"try":1}\n'),
    "put_outside_log": (LOG_TYPE, "Building DAG of jobs...\nUsing shell: /usr/bin/bash\n"),
}
_EXAMPLE_ATTEMPT_ID = "0198c5b2-7d31-7a02-8c44-6b1f0e2d3c4b"
_REFUSED = (errors.NotOutside, errors.Conflict)

AttemptId = Annotated[str, PathParameter(description="Id of the attempt, as its events name it.")]


class Recording(Struct, frozen=True):
    """How far an attempt by hand is recorded."""

    run_id: str
    attempt_id: str
    attempt: Annotated[int | None, Meta(description="Number of the attempt; null while nothing is recorded of it.")]
    state: AttemptState | None
    offset: Annotated[int, Meta(description="Where the recorded events end: the next bytes begin there.")]
    max_bytes: Annotated[int, Meta(description="Most bytes that one request may bring.")]


_EXAMPLE = Recording(EXAMPLE_RUN_ID, _EXAMPLE_ATTEMPT_ID, 1, AttemptState.RUNNING, 18_204, 1_048_576)


@dataclass
class _Body(Operation):
    """An operation whose body is not JSON, and so is read by the handler itself."""

    def __post_init__(self) -> None:
        media_type, example = _BODIES[str(self.operation_id)]
        schema = Schema(type=OpenAPIType.STRING, examples=[example])
        self.request_body = RequestBody({media_type: OpenAPIMediaType(schema=schema)}, required=True)


class OutsideController(Controller):
    """Runs by hand."""

    path = "/outside/{run_id:str}/{attempt_id:str}"
    tags = ("outside",)

    @get(
        sync_to_thread=True,
        operation_id="get_recording",
        summary="See how far an attempt by hand is recorded",
        responses={200: answer(Recording, _EXAMPLE), **documented(*_REFUSED)},
    )
    def recorded(self, request: ApiRequest, commands: TheCommands, run_id: RunId, attempt_id: AttemptId) -> Recording:
        """Where the next bytes of its events are to begin: at 0, if neither run nor attempt is known yet."""
        found = commands.outside.recorded(request.user, run_id, attempt_id)
        return _shown(run_id, attempt_id, found, commands.outside.max_bytes)

    @post(
        "/events",
        status_code=200,
        operation_id="append_events",
        summary="Record events of an attempt by hand",
        operation_class=_Body,
        responses={
            200: answer(Recording, _EXAMPLE, "The whole lines are recorded."),
            **documented(*_REFUSED, errors.OffsetConflict, errors.Unavailable, body=True),
        },
    )
    async def append(
        self,
        request: ApiRequest,
        commands: TheCommands,
        run_id: RunId,
        attempt_id: AttemptId,
        offset: Annotated[
            int, QueryParameter(ge=0, le=_LARGEST_OFFSET, description="Where in the attempt's events the bytes begin.")
        ],
        gone: Annotated[bool, QueryParameter(description="The process has ended, and nothing more will come.")] = False,
    ) -> Recording:
        """Takes the bytes of `events.ndjson` from `offset` on, up to the last whole line among them.

        The first bytes make the run and the attempt. Bytes that begin anywhere but where the recorded ones end are
        refused, and the answer says where that is; so nothing is recorded twice. An empty body is a sign of life.
        """
        data = await _read(request, EVENTS_TYPE)
        append = partial(commands.outside.append, request.user, run_id, attempt_id, offset, data, gone=gone)
        return _shown(run_id, attempt_id, await to_thread(append), commands.outside.max_bytes)

    @put(
        "/log",
        status_code=204,
        operation_id="put_outside_log",
        summary="Record what snakemake printed in an attempt by hand",
        operation_class=_Body,
        responses={
            204: answer(None, None, "Recorded."),
            **documented(*_REFUSED, errors.AttemptNotFound, errors.Unavailable, body=True),
        },
    )
    async def put_log(self, request: ApiRequest, commands: TheCommands, run_id: RunId, attempt_id: AttemptId) -> None:
        """Replaces what is recorded of it; the end of the log, 64 KiB at most, is enough."""
        data = (await _read(request, LOG_TYPE))[-SHIPPED_LOG_BYTES:]
        await to_thread(commands.outside.put_log, request.user, run_id, attempt_id, data)


async def _read(request: ApiRequest, wanted: str) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != wanted or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType(f"send the body without compression, with 'Content-Type: {wanted}'")
    return await request.body()


def _shown(run_id: str, attempt_id: str, found: Recorded, max_bytes: int) -> Recording:
    return Recording(run_id, attempt_id, found.number, found.state, found.offset, max_bytes)
