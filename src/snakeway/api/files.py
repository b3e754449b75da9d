"""Sending files: whole, one range, or the last lines; in chunks, so that memory stays flat whatever the size."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Request
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send
from msgspec import json

from snakeway.api import problems, ranges
from snakeway.errors import RangeNotSatisfiable, SnakewayError
from snakeway.plainfile import lies_below

CHUNK_BYTES = 512 * 1024

# Nothing there, a link, not for us to read; anything else, such as too many open files, is the server's trouble.
_NOT_A_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO, errno.ENAMETOOLONG})

# A file may be a page that a workflow wrote. Should a browser show one all the same, it may do nothing.
POLICY = "sandbox; default-src 'none'"


class OpenFile:
    """A file that is open for reading from any thread, with the size that it had when it was opened."""

    def __init__(self, path: Path, missing: SnakewayError, root: Path) -> None:
        """Open ``path``, a regular file below ``root`` and not a link; raises ``missing`` if it is not."""
        try:
            self._fd: int | None = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NOT_A_FILE:
                raise missing from error
            raise
        self._lock = threading.Lock()
        status = os.fstat(self._fd)
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        if not (stat.S_ISREG(status.st_mode) and lies_below(self._fd, root)):
            self.close()
            raise missing

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; none once the file is closed."""
        with self._lock:
            return b"" if self._fd is None else os.pread(self._fd, length, offset)

    def close(self) -> None:
        """Close the file; waits for a read that is under way."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def respond(
    request: Request[Any, Any, Any],
    file: OpenFile,
    media_type: str,
    *,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
    tail: int | None = None,
) -> ASGIResponse:
    """Answer with ``file``, and close it in the end.

    Sends as many bytes as the file had when it was opened: one that is written meanwhile may grow, not shrink.
    ``etag`` replaces a tag made of size and time; ``tail`` asks for the last lines instead of ranges.
    """
    try:
        return _respond(request, file, media_type, etag, headers or {}, tail)
    except BaseException:
        file.close()
        raise


def _respond(
    request: Request[Any, Any, Any],
    file: OpenFile,
    media_type: str,
    etag: str | None,
    headers: Mapping[str, str],
    tail: int | None,
) -> ASGIResponse:
    common = headers_of(media_type, etag or f'"{file.mtime_ns:x}-{file.size:x}"', headers)
    if tail is not None:
        start = ranges.tail_start(file.read, file.size, tail)
        del common["ETag"], common["Accept-Ranges"]
        return _FileResponse(request, file, 200, common, (start, file.size - start))
    found = choose(request, common, file.size)
    if isinstance(found, ASGIResponse):
        file.close()
        return found
    return _FileResponse(request, file, found.status, found.headers, found.span)


class Part(NamedTuple):
    """What of a file is sent: (first byte, number of bytes), and what is said of it."""

    status: int
    headers: dict[str, str]
    span: tuple[int, int]


def headers_of(media_type: str, tag: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a file, ``headers`` among them."""
    common = {"Cache-Control": "private, no-cache", "Content-Security-Policy": POLICY, "Content-Type": media_type}
    return common | {"Accept-Ranges": "bytes", "ETag": tag, **headers}


def choose(request: Request[Any, Any, Any], common: dict[str, str], size: int) -> Part | ASGIResponse:
    """Return what of a file of ``size`` bytes is to be sent, or the answer when that is nothing of it.

    ``common`` are its headers, as `headers_of` makes them.
    """
    tag = common["ETag"]
    if ranges.none_match(request.headers.get("if-none-match"), tag):
        kept = {name: common[name] for name in ("Cache-Control", "ETag")}
        return ASGIResponse(status_code=304, headers=kept, media_type=common["Content-Type"])
    asked = request.headers.get("range") if request.method == "GET" else None
    try:
        span = ranges.part(asked, size) if ranges.range_applies(request.headers.get("if-range"), tag) else None
    except RangeNotSatisfiable as error:
        return _outside(request, error, size)
    if span is None:
        return Part(200, common, (0, size))
    return Part(206, {**common, "Content-Range": f"bytes {span[0]}-{span[0] + span[1] - 1}/{size}"}, span)


def _outside(request: Request[Any, Any, Any], error: RangeNotSatisfiable, size: int) -> ASGIResponse:
    kind = problems.kind_of(error)
    body = json.encode(problems.problem(kind, problems.instance_of(request), error.detail, error.field))
    headers = {"Content-Range": f"bytes */{size}"}
    return ASGIResponse(body=body, status_code=kind.status, headers=headers, media_type=problems.MEDIA_TYPE)


class _FileResponse(ASGIStreamingResponse):
    """Streams a part of an open file and closes it, also when the client goes away."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        file: OpenFile,
        status: int,
        headers: dict[str, str],
        span: tuple[int, int],
    ) -> None:
        self._file = file
        super().__init__(
            iterator=chunks(file, *span),
            status_code=status,
            headers={**headers, "Content-Length": str(span[1])},
            media_type=headers["Content-Type"],
            is_head_response=request.method == "HEAD",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not awaited: a read that a slow disk holds up must not hold up the loop.
            asyncio.get_running_loop().run_in_executor(None, self._file.close)


async def chunks(file: OpenFile, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    """Yield ``length`` bytes. When the file has become shorter, fewer: the server then breaks the connection off."""
    end = offset + length
    while offset < end:
        chunk = await asyncio.to_thread(file.read, offset, min(CHUNK_BYTES, end - offset))
        if not chunk:
            return
        offset += len(chunk)
        yield chunk
