"""Request bodies: strict JSON into structs, with the member at fault in the error."""

import re
from asyncio import to_thread
from collections.abc import AsyncGenerator
from typing import Any, BinaryIO, TypeVar, get_type_hints

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from snakeway.api.grouped import Grouped
from snakeway.api.lanes import Lane
from snakeway.api.problems import UnsupportedMediaType, with_values
from snakeway.errors import BodyTooLarge, Invalid, Unavailable
from snakeway.model.user import User
from snakeway.service.submissions import Asked, Made

T = TypeVar("T")

SLOW_LANE, TRANSFER_LANE, SUBMISSIONS = "slow_lane", "transfer_lane", "submissions"  # in the application's state
DEEPEST = 64  # levels of objects and arrays in each other

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_WHERE = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`$")


class ApiRequest(Request[User, None, State]):
    """A request whose JSON body is read into the handler's own type of ``data``.

    Litestar reads JSON into plain values and converts these leniently, so that "1" would pass for a number.
    """

    @property
    def slow_lane(self) -> Lane:
        """The threads for what may take seconds."""
        lane: Lane = self.app.state[SLOW_LANE]
        return lane

    @property
    def transfer_lane(self) -> Lane:
        """The threads that read what is downloaded from storages."""
        lane: Lane = self.app.state[TRANSFER_LANE]
        return lane

    @property
    def submissions(self) -> Grouped[Asked, Made]:
        """Where submissions are made together that come together."""
        submissions: Grouped[Asked, Made] = self.app.state[SUBMISSIONS]
        return submissions

    async def json(self) -> Any:
        """Return the body as the type that the handler asks for; raises Invalid."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" or self.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMediaType(
                "send the body as JSON, without compression, with 'Content-Type: application/json'"
            )
        field = self.route_handler.parsed_data_field
        assert field is not None, "only handlers with data read a body"
        return read_json(await self.body(), field.annotation)

    async def body(self) -> bytes:
        """Return the body; raises BodyTooLarge by the application's ``request_max_body_size``, and Invalid."""
        try:
            return await super().body()
        except RequestEntityTooLarge as error:
            limit = self.route_handler.resolve_request_max_body_size()
            raise _too_large(limit, "SNAKEWAY_MAX_BODY_BYTES") from error
        except InternalServerException as error:  # Litestar takes a client that hangs up for an error of the server
            raise Invalid("the connection was closed before the end of the body") from error


async def spool(request: ApiRequest, file: BinaryIO, max_bytes: int, setting: str) -> None:
    """Write a request's body to a file as it comes; ``setting`` is where ``max_bytes`` is from.

    Raises BodyTooLarge, Invalid, and Unavailable if it has no room.
    """
    total = 0
    if int(request.headers.get("content-length", "0")) > max_bytes:  # uvicorn has seen that it is a number
        raise _too_large(max_bytes, setting)
    try:
        async for chunk in request.stream():
            total += len(chunk)
            if total > max_bytes:
                raise _too_large(max_bytes, setting)
            await to_thread(_write, file, chunk)
    except InternalServerException as error:  # as in `ApiRequest.body`
        raise Invalid("the connection was closed before the end of the body") from error
    except OSError as error:
        raise Unavailable(f"the body cannot be stored: {error.strerror}; make room in the data folder") from error


async def blocks(request: ApiRequest, size_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield a request's body as it comes, in blocks of about ``size_bytes``, and what came before a break as well.

    Raises Invalid when the connection was closed before the end of the body.
    """
    block = bytearray()
    try:
        async for chunk in request.stream():
            block += chunk
            if len(block) >= size_bytes:
                yield bytes(block)
                block.clear()
    except InternalServerException as error:  # as in `ApiRequest.body`
        if block:
            yield bytes(block)
        raise Invalid("the connection was closed before the end of the body") from error
    if block:
        yield bytes(block)


def _too_large(max_bytes: int | None, setting: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {max_bytes} bytes, the most that this server accepts ({setting}); send less at once, "
        "and data as inputs (POST /api/v1/inputs, 'snakeway upload FILE')"
    )


def _write(file: BinaryIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]  # without a buffer less may be written than is given


def read_json(data: bytes, shape: type[T]) -> T:
    """Return the value of type ``shape`` in a JSON text; raises Invalid with the member at fault."""
    try:
        value: T = _decoder(shape).decode(data)
        if b"\\u0000" in data or data.count(b"{") + data.count(b"[") > DEEPEST:
            _check_plain(msgspec.json.decode(data))
    except msgspec.ValidationError as error:
        text = str(error)
        where = _WHERE.search(text)
        unknown = _UNKNOWN.search(text[: where.start()] if where else text)
        parts = [where[1].replace("[...]", "") if where else "", unknown[1] if unknown else ""]
        field = ".".join(filter(None, parts)) or None
        what = "there is no such member" if unknown else (text[: where.start()] if where else text)
        what = with_values(what, get_type_hints(shape).get((field or "").partition("[")[0]))
        raise Invalid(f"{field}: {what}" if field else what, field=field) from error
    except RecursionError as error:
        raise Invalid(f"the body is nested more than {DEEPEST} levels deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is not JSON: {error}") from error
    return value


def _decoder(shape: type[T]) -> msgspec.json.Decoder[T]:
    if shape not in _decoders:
        _decoders[shape] = msgspec.json.Decoder(shape)
    return _decoders[shape]


def _check_plain(document: Any) -> None:
    """Raise Invalid for NUL, which databases refuse, and for nesting that the recursion of others cannot follow."""
    members = document.items() if isinstance(document, dict) else [("", document)]
    for member, value in members:
        level = [member, value]
        for _ in range(DEEPEST):
            if any(isinstance(item, str) and "\0" in item for item in level):
                raise Invalid(
                    f"{member}: a text must not hold the character NUL", field=member.replace("\0", "") or None
                )
            level = [
                inner
                for item in level
                if isinstance(item, (dict, list))
                for inner in ([*item.keys(), *item.values()] if isinstance(item, dict) else item)
            ]
            if not level:
                break
        else:
            raise Invalid(f"{member}: nested more than {DEEPEST} levels deep", field=member or None)
