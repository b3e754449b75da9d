"""The request's place in a trace: request -> run -> attempt -> job.

Without a collector there is no span of the request, and a run hangs below whatever the caller sent.
"""

import logging
import secrets
import time

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from snakeway.telemetry import SpanRef, Spans

log = logging.getLogger(__name__)

UNTRACED = "untraced"  # opt of the routes that machines ask every few seconds
CLOSE_S = 2.0

_KEY = "snakeway.traceparent"


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
        self._spans = Spans(log.warning)

    def open(self) -> None:
        """Get ready to send."""
        self._spans.open()

    def close(self) -> None:
        """Send what is left, for at most `CLOSE_S` seconds."""
        self._spans.close(CLOSE_S)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Time one request."""
        caller = _caller(scope)
        unwanted = scope["route_handler"].opt.get(UNTRACED) or (caller is not None and not caller.sampled)
        if not self._spans.on or scope["type"] != ScopeType.HTTP or unwanted:
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
            times = (start, time.time())
            self._spans.request(span, caller, scope["method"], scope["path_template"], times, status)
