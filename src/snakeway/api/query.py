"""Query parameters that several listings share, and the check that nobody sends others."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Request
from litestar.enums import ParamType
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg, QueryParameter
from msgspec import ValidationError, convert

from snakeway.errors import Invalid
from snakeway.store.page import MAX_LIMIT

LARGEST_NUMBER = 2**31 - 1  # of an attempt or a job: what an integer column takes
DEFAULT_LIMIT = 50
MOST_VALUES = 32  # of one repeatable parameter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # ids cannot tell of times before it

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Most items in one answer.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=8192, description="Where to go on: `next` of the page before, with the same filters."),
]
Time = Annotated[str, QueryParameter(format="date-time")]  # for `moment`: Litestar would take a number for a time too
AttemptNumber = Annotated[
    int | None,
    QueryParameter(
        ge=1, le=LARGEST_NUMBER, description="Number of the attempt; by default the newest that is not a dry run."
    ),
]


class RefuseUnknown:
    """Raises Invalid for a parameter that the route does not know: ``?stat=failed`` must not list every run."""

    def __init__(self) -> None:
        self._known: dict[BaseRouteHandler, frozenset[str]] = {}

    async def __call__(self, request: Request[Any, Any, Any]) -> None:
        """Check one request."""
        if not request.scope["query_string"]:
            return
        handler = request.scope["route_handler"]
        known = self._known.get(handler)
        if known is None:
            known = self._known[handler] = _names(handler)
        for name, value in request.query_params.multi_items():
            if name not in known:
                there_are = ", ".join(sorted(known)) or "none"
                raise Invalid(f"{name!r} is not a parameter of this address; there are: {there_are}", field=name)
            if "\0" in value:
                raise Invalid(f"{name}: a text must not hold the character NUL", field=name)


def _names(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the names of the handler's query parameters."""
    dependencies = handler.resolve_dependencies()
    return frozenset(
        kwarg.name or name
        for name, parameter in handler.parsed_fn_signature.parameters.items()
        if isinstance(kwarg := parameter.kwarg_definition, ParameterKwarg)
        and kwarg.param_type is ParamType.QUERY
        and name not in dependencies
    )


def parse_labels(texts: list[str]) -> dict[str, str]:
    """Return the labels of ``key=value`` texts; raises Invalid."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"label: {text!r} is not of the form key=value", field="label")
        if labels.setdefault(key, value) != value:
            raise Invalid(f"label: {key} cannot have two values at once", field="label")
    return labels


def moment(text: str | None, field: str) -> datetime | None:
    """Return the time in ``text``, or the epoch if that is later; raises Invalid unless it is one of RFC 3339."""
    if text is None:
        return None
    try:
        found = convert(text, datetime)
    except ValidationError:
        found = None
    if found is None or found.tzinfo is None:
        raise Invalid(
            f"{field}: {text!r} is not a time with its offset from UTC (RFC 3339), such as 2026-03-02T09:30:00Z",
            field=field,
        )
    return max(found, _EPOCH)
