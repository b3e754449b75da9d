"""Errors on the wire: every error is an ``application/problem+json`` document (RFC 9457) with a stable ``code``."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import EnumType
from typing import Annotated, Any, get_args
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition
from msgspec import Meta, Struct, to_builtins
from msgspec.structs import replace

from snakeway import errors
from snakeway.errors import SnakewayError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_LONGEST_DETAIL = 2_000  # details repeat what the client sent, which may be large

# One status for each class of errors.py; a test fails when a class has none.
STATUS: dict[type[SnakewayError], int] = {
    errors.SnakewayError: 500,
    errors.Invalid: 400,
    errors.InvalidConfig: 422,
    errors.InvalidWorkflow: 422,
    errors.InvalidTarget: 422,
    errors.InvalidCursor: 400,
    errors.BodyTooLarge: 413,
    errors.InputTooLarge: 413,
    errors.InputDamaged: 422,
    errors.NotFound: 404,
    errors.RunNotFound: 404,
    errors.AttemptNotFound: 404,
    errors.JobNotFound: 404,
    errors.ArtifactNotFound: 404,
    errors.LogNotFound: 404,
    errors.WorkflowNotFound: 404,
    errors.TargetNotFound: 404,
    errors.BlobNotFound: 404,
    errors.InputNotFound: 404,
    errors.Conflict: 409,
    errors.RunActive: 409,
    errors.RunEnded: 409,
    errors.GateNotFound: 404,
    errors.GateExpired: 409,
    errors.GateDecided: 409,
    errors.EvidenceChanged: 409,
    errors.NoSuggestion: 409,
    errors.IdempotencyConflict: 409,
    errors.OutsideRun: 409,
    errors.NotOutside: 409,
    errors.OffsetConflict: 409,
    errors.BlobExists: 409,
    errors.InputBusy: 409,
    errors.InputInUse: 409,
    errors.QuotaExceeded: 409,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.RangeNotSatisfiable: 416,
    errors.Unavailable: 503,
    errors.StoreBusy: 503,
    errors.StoreOutdated: 503,
    errors.StoreBroken: 503,
    errors.SourceUnreachable: 502,
    errors.ServerUnreachable: 503,
    errors.BlobsUnavailable: 503,
    errors.BlobsRefused: 503,
}
_HEADERS: dict[type[SnakewayError], dict[str, str]] = {
    errors.Unauthorized: {"WWW-Authenticate": 'Bearer realm="snakeway"'},
    errors.InputBusy: {"Retry-After": "2"},
    errors.Unavailable: {"Retry-After": "5"},
    errors.StoreBusy: {"Retry-After": "2"},
    errors.StoreOutdated: {"Retry-After": "60"},
    errors.StoreBroken: {"Retry-After": "60"},
    errors.ServerUnreachable: {"Retry-After": "5"},
    errors.BlobsUnavailable: {"Retry-After": "5"},
    errors.BlobsRefused: {"Retry-After": "60"},
}


class Problem(Struct, omit_defaults=True, frozen=True):
    """What went wrong. Programs compare ``code``; ``detail`` is for people."""

    type: Annotated[str, Meta(description="Path of this server that documents this kind of problem.")]
    title: Annotated[str, Meta(description="The same for every occurrence of the code.")]
    status: Annotated[int, Meta(description="The status of the response.")]
    detail: Annotated[str, Meta(description="What happened, where, and what to do next.")]
    instance: Annotated[str, Meta(description="The path of the request.")]
    code: Annotated[str, Meta(description="Stable name of this kind of problem.")]
    field: Annotated[str | None, Meta(description="The member, parameter or header at fault, if there is one.")] = None
    offset: Annotated[int | None, Meta(description="Of `offset_conflict`: where the bytes are to go on.")] = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem."""

    code: str
    title: str
    status: int
    meaning: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is documented."""
        return f"/problems/{self.code}"


def _kind(cls: type[SnakewayError]) -> Kind:
    return Kind(cls.code, cls.title, STATUS[cls], " ".join((cls.__doc__ or "").split()), _HEADERS.get(cls, {}))


OF_ERRORS: dict[type, Kind] = {cls: _kind(cls) for cls in STATUS}
METHOD_NOT_ALLOWED = Kind(
    "method_not_allowed",
    "This address does not take that method",
    405,
    "There is something at this address, but the method is not one it takes; the header Allow lists those it does.",
)
UNSUPPORTED_MEDIA_TYPE = Kind(
    "unsupported_media_type",
    "The body's type is not accepted",
    415,
    "Request bodies are JSON without compression: send them with Content-Type: application/json.",
)
INTERNAL_ERROR = Kind(
    "internal_error",
    "Unexpected error",
    500,
    "Something happened that Snakeway did not expect: a bug, or a machine in trouble. The server's log has the "
    "particulars under the id that the detail names.",
)
_OF_STATUS: dict[int, Kind] = {
    400: OF_ERRORS[errors.Invalid],
    401: OF_ERRORS[errors.Unauthorized],
    403: OF_ERRORS[errors.Forbidden],
    404: OF_ERRORS[errors.NotFound],
    405: METHOD_NOT_ALLOWED,
    413: OF_ERRORS[errors.BodyTooLarge],
    415: UNSUPPORTED_MEDIA_TYPE,
}
EVERY_KIND: dict[str, Kind] = {
    kind.code: kind for kind in (*OF_ERRORS.values(), METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, INTERNAL_ERROR)
}


class UnsupportedMediaType(HTTPException):
    """The request's body is of a type that is not read."""

    status_code = 415


def kind_of(error: SnakewayError) -> Kind:
    """Return the kind of an error; one of a class that is not in the table is of its nearest base's kind."""
    for cls in type(error).__mro__:
        kind = OF_ERRORS.get(cls)
        if kind is not None:
            return kind
    raise AssertionError("the base of all errors is in the table")


def problem(kind: Kind, instance: str, detail: str, field: str | None = None) -> Problem:
    """Make the document of one occurrence; ``instance`` is the path of the request."""
    text = detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]} …"
    plain = text.encode(errors="replace").decode()  # file names may hold bytes that are not UTF-8
    return Problem(kind.address, kind.title, kind.status, plain, instance, kind.code, field)


def instance_of(request: Request[Any, Any, Any]) -> str:
    """Return the path of a request as it was sent, without its query."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return raw.partition(b"?")[0].decode(errors="replace")


def _response(
    request: Request[Any, Any, Any], kind: Kind, detail: str, field: str | None = None, offset: int | None = None
) -> Response[Problem]:
    document = replace(problem(kind, instance_of(request), detail, field), offset=offset)
    return Response(document, status_code=kind.status, media_type=MEDIA_TYPE, headers=dict(kind.headers))


def from_error(request: Request[Any, Any, Any], error: SnakewayError) -> Response[Problem]:
    """Answer with an error of ours."""
    offset = error.offset if isinstance(error, errors.OffsetConflict) else None
    return _response(request, kind_of(error), error.detail, error.field, offset)


def from_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer with an error that Litestar found: no such route or method, a parameter that does not fit."""
    kind = _OF_STATUS.get(error.status_code)
    if kind is None:
        return from_exception(request, error)
    field, detail = _fault(request, error)
    response = _response(request, kind, detail, field)
    response.headers.update(error.headers or {})
    return response


def from_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer with what nobody expected. The client learns an id, the log everything else."""
    error_id = secrets.token_hex(6)
    log.error("error %s at %s %s", error_id, request.scope["method"], instance_of(request), exc_info=error)
    return _response(request, INTERNAL_ERROR, f"an unexpected error; the server's log has it under {error_id}")


HANDLERS: dict[int | type[Exception], Any] = {
    SnakewayError: from_error,
    HTTPException: from_http,
    Exception: from_exception,
}


def _fault(request: Request[Any, Any, Any], error: HTTPException) -> tuple[str | None, str]:
    """Return the name of what is at fault, as the client sent it, and what is wrong with it."""
    match error.extra:
        case [{"message": str(message), **first}, *_]:
            key = str(first.get("key", ""))
            if key == "data":
                return None, "the request needs a JSON body"
            definition = _definition(request, key)
            kwarg = definition.kwarg_definition if definition is not None else None
            name = (isinstance(kwarg, ParameterKwarg) and kwarg.name) or key or None
            if definition is not None:
                message = with_values(message, definition.annotation)
            return name, f"{name}: {message}" if name else message
        case _:
            return None, _SAID.get(error.status_code, error.detail)


_SAID = {
    404: "there is nothing at this address; /schema lists the addresses there are",
    405: "this address does not take that method; the header Allow lists those it does",
}


def _definition(request: Request[Any, Any, Any], key: str) -> FieldDefinition | None:
    """Return the handler's parameter ``key``."""
    handler = request.scope.get("route_handler")
    return handler.parsed_fn_signature.parameters.get(key) if handler is not None else None


def with_values(message: str, annotation: Any) -> str:
    """Return msgspec's ``message``, with the values there are if it is about one of an enum in ``annotation``."""
    values = _values(annotation) if message.startswith("Invalid enum value") else []
    return f"{message}; there are: {', '.join(values)}" if values else message


def _values(annotation: Any) -> list[str]:
    if isinstance(annotation, EnumType):
        return list(map(str, annotation.__members__.values()))
    return [value for part in get_args(annotation) for value in _values(part)]


_EVERYWHERE: tuple[type[SnakewayError], ...] = (errors.Invalid, errors.Unauthorized, errors.Forbidden)
_EXAMPLE_PATH = "/api/v1/runs"


def documented(*classes: type[SnakewayError], body: bool = False, database: bool = True) -> dict[int, ResponseSpec]:
    """Describe a route's problems for the OpenAPI document: ``classes`` and what can happen on every route.

    ``body``: the route reads a request body; ``database``: it needs the database.
    """
    kinds = [OF_ERRORS[cls] for cls in (*_EVERYWHERE, *classes)]
    if body:
        kinds += [OF_ERRORS[errors.BodyTooLarge], UNSUPPORTED_MEDIA_TYPE]
    if database:
        kinds += [OF_ERRORS[cls] for cls in (errors.StoreBusy, errors.StoreOutdated, errors.StoreBroken)]
    by_status: dict[int, list[Kind]] = {}
    for kind in (*kinds, INTERNAL_ERROR):
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _spec(of_status) for status, of_status in sorted(by_status.items())}


def _spec(kinds: list[Kind]) -> ResponseSpec:
    headers = sorted({header for kind in kinds for header in kind.headers})
    said = [f"- `{kind.code}`: {kind.meaning}" for kind in kinds] + [f"- header `{name}`" for name in headers]
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description="\n".join(said),
        media_type=MEDIA_TYPE,
        examples=[
            Example(id=kind.code, summary=kind.title, value=to_builtins(problem(kind, _EXAMPLE_PATH, kind.meaning)))
            for kind in kinds
        ],
    )
