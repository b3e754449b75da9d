"""The request's place in a trace: request -> run -> attempt -> job.

Without a collector there is no span of the request, and a run hangs below whatever the caller sent.
"""

import secrets
import time
from typing import TYPE_CHECKING

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from snakeway.telemetry import Result, SpanRef
from snakeway.telemetry.spans import Attribute

if TYPE_CHECKING:
    from snakeway.telemetry.sender import Sender

UNTRACED = "untraced"  # opt of the routes that machines ask every few seconds
CLOSE_S = 2.0

_KEY = "snakeway.traceparent"
_METHOD = "http.request.method"
_ROUTE = "http.route"
_STATUS = "http.response.status_code"


def traceparent_of(scope: Scope) -> str | None:
    """Return what the request's children name as their parent; a malformed header counts as none."""
    if _KEY in scope:
        known: str = scope[_KEY]  # type: ignore[literal-required]
        return known
    caller = _caller(scope)
    return caller.traceparent() if caller is not None else None


def _caller(scope: Scope) -> SpanRef | None:
    header = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
    return SpanRef.parse(header.decode("latin-1")) if header is not None else None


class RequestSpans(ASGIMiddleware):
    """Sends a span of each request; only installed when a collector is configured."""

    def __init__(self) -> None:
        self._sender: Sender | None = None

    def open(self) -> None:
        """Get ready to send; imports OpenTelemetry, which takes a while."""
        from snakeway.telemetry.sender import Sender

        self._sender = Sender(None)

    def close(self) -> None:
        """Send what is left, for at most `CLOSE_S` seconds."""
        if self._sender is not None:
            self._sender.close(CLOSE_S)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Time one request."""
        caller = _caller(scope)
        sender = self._sender
        unwanted = scope["route_handler"].opt.get(UNTRACED) or (caller is not None and not caller.sampled)
        if sender is None or scope["type"] != ScopeType.HTTP or unwanted:
            await next_app(scope, receive, send)
            return
        span = SpanRef(caller.trace_id if caller else secrets.randbits(128) or 1, secrets.randbits(64) or 1)
        scope[_KEY] = span.traceparent()  # type: ignore[literal-required]
        status = 500  # unless a response is started

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.time()
        try:
            await next_app(scope, receive, watching)
        finally:
            route = scope["path_template"]
            outcome = (Result.ERROR, f"status {status}") if status >= 500 else (Result.SUCCESS, "")
            attributes: dict[str, Attribute] = {_METHOD: scope["method"], _ROUTE: route, _STATUS: status}
            sender.send(span, caller, f"{scope['method']} {route}", (start, time.time()), outcome, attributes, "")
