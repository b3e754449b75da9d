"""Documentation of problems: the addresses that their ``type`` names."""

from html import escape
from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.params import PathParameter
from msgspec import Meta, Struct

from snakeway.api.access import OPEN
from snakeway.api.document import answer
from snakeway.api.page import html
from snakeway.api.problems import EVERY_KIND, METHOD_NOT_ALLOWED, Kind, documented
from snakeway.errors import NotFound


class ProblemKind(Struct, frozen=True):
    """One kind of problem."""

    code: str
    title: str
    status: Annotated[int, Meta(description="Status of the responses that carry it.")]
    meaning: str

    @classmethod
    def of(cls, kind: Kind) -> "ProblemKind":
        """Make the one shape of a kind."""
        return cls(kind.code, kind.title, kind.status, kind.meaning)


class ProblemKindPage(Struct, frozen=True):
    """All kinds of problems, by code."""

    items: list[ProblemKind]
    next: None = None


EXAMPLE = ProblemKind.of(METHOD_NOT_ALLOWED)


class ReferenceController(Controller):
    """What the codes of problems mean. Needs no token: who has none is told about it by a problem."""

    path = "/problems"
    tags = ("problems",)
    opt = {OPEN: True}  # noqa: RUF012 - Litestar's own way

    @get(
        "/",
        sync_to_thread=False,
        operation_id="list_problem_kinds",
        summary="List the kinds of problems",
        responses={200: answer(ProblemKindPage, ProblemKindPage([EXAMPLE])), **documented(database=False)},
    )
    def list_(self, request: Request[Any, Any, Any]) -> Response[Any]:
        """All kinds, as JSON, or as a page for browsers."""
        kinds = [ProblemKind.of(kind) for _, kind in sorted(EVERY_KIND.items())]
        return _answer(request, "Problems", kinds, ProblemKindPage(kinds))

    @get(
        "/{code:str}",
        sync_to_thread=False,
        operation_id="get_problem_kind",
        summary="Get a kind of problem",
        responses={200: answer(ProblemKind, EXAMPLE), **documented(NotFound, database=False)},
    )
    def one(
        self, request: Request[Any, Any, Any], code: Annotated[str, PathParameter(description="Code of the problem.")]
    ) -> Response[Any]:
        """One kind, as JSON, or as a page for browsers."""
        known = EVERY_KIND.get(code)
        if known is None:
            raise NotFound(f"there is no kind of problem {code!r}; /problems lists them")
        kind = ProblemKind.of(known)
        return _answer(request, kind.title, [kind], kind)


def _answer(request: Request[Any, Any, Any], title: str, kinds: list[ProblemKind], value: Struct) -> Response[Any]:
    """Answer with a page if the client would rather have one, else with ``value``."""
    if request.accept.best_match(["application/json", "text/html"]) != "text/html":
        return Response(value)
    parts = [
        f"<h2><a href='/problems/{kind.code}'><code>{kind.code}</code></a> {kind.status}: {escape(kind.title)}</h2>"
        f"<p>{escape(kind.meaning)}</p>"
        for kind in kinds
    ]
    return Response(html(title, parts), media_type="text/html", headers={"Vary": "Accept"})
