"""Sending objects of the object storage: whole, or one range of them, in chunks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from litestar import Request
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from snakeway.api import ranges
from snakeway.api.files import POLICY
from snakeway.blobs import Chunks


def respond(
    request: Request[Any, Any, Any],
    opened: Callable[[int, int | None], Chunks],
    size_bytes: int,
    etag: str,
    headers: Mapping[str, str],
) -> ASGIResponse:
    """Answer with an object that never changes. ``opened`` opens it, from a byte on, and as many bytes as wanted.

    Raises RangeNotSatisfiable, and what ``opened`` raises, before anything is sent.
    """
    common = {"Cache-Control": "private, no-cache", "Content-Security-Policy": POLICY, "Accept-Ranges": "bytes"}
    common |= {"Content-Type": "application/octet-stream", "ETag": etag, **headers}
    if ranges.none_match(request.headers.get("if-none-match"), etag):
        kept = {name: common[name] for name in ("Cache-Control", "ETag")}
        return ASGIResponse(status_code=304, headers=kept, media_type=common["Content-Type"])
    asked = request.headers.get("range") if request.method == "GET" else None
    span = ranges.part(asked, size_bytes) if ranges.range_applies(request.headers.get("if-range"), etag) else None
    if span is None:
        return _ChunksResponse(request, opened(0, None), 200, common)
    common["Content-Range"] = f"bytes {span[0]}-{span[0] + span[1] - 1}/{size_bytes}"
    return _ChunksResponse(request, opened(*span), 206, common)


class _ChunksResponse(ASGIStreamingResponse):
    """Streams an open object and closes it, also when the client goes away."""

    def __init__(self, request: Request[Any, Any, Any], chunks: Chunks, status: int, headers: dict[str, str]) -> None:
        self._chunks = chunks
        super().__init__(
            iterator=_each(chunks),
            status_code=status,
            headers={**headers, "Content-Length": str(chunks.size_bytes)},
            media_type=headers["Content-Type"],
            is_head_response=request.method == "HEAD",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(asyncio.to_thread(self._chunks.close))


async def _each(chunks: Chunks) -> AsyncGenerator[bytes, None]:
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk
