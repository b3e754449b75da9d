"""Who gets in: the checks that come before every handler."""

import re

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from snakeway.auth import Authenticator
from snakeway.errors import Forbidden
from snakeway.model.user import LOCAL

OPEN = "open_to_all"  # opt of the routes that need no token

_LOOPBACK = re.compile(rb"(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access(ASGIMiddleware):
    """Sets the request's user, or raises Unauthorized or Forbidden."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check the headers of one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._authenticator.open:
            check_loopback([value for name, value in scope["headers"] if name == b"host"])
        if scope["type"] != ScopeType.HTTP or scope["method"] not in _SAFE:
            check_same_site(headers)
        is_open = scope["route_handler"].opt.get(OPEN, False)
        scope["user"] = LOCAL if is_open else self._authenticator.user(headers.get(b"authorization"))
        scope["auth"] = None
        await next_app(scope, receive, send)


def check_loopback(hosts: list[bytes]) -> None:
    """Raise Forbidden unless the one ``Host`` header names this machine.

    A server without a token trusts everybody who reaches loopback. A web page of elsewhere whose name was rebound to
    127.0.0.1 reaches it too, but its requests carry its own name.
    """
    if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
        raise Forbidden(
            "a server without a token answers on localhost only; set SNAKEWAY_TOKEN to serve other names", field="Host"
        )


def check_same_site(headers: dict[bytes, bytes]) -> None:
    """Raise Forbidden when a browser sends a request that changes something on behalf of another site's page.

    Every browser of today sends Sec-Fetch-Site; older ones send Origin. Programs send neither.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        if site not in (b"same-origin", b"none"):
            raise Forbidden("this request comes from a page of another site", field="Sec-Fetch-Site")
        return
    origin = headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2].lower() != headers.get(b"host", b"").lower():
        raise Forbidden("this request comes from a page of another site", field="Origin")
