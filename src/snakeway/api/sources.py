"""What is sent in pieces: a file, an object in a storage, a whole archive. Memory stays flat whatever the size."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable

from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from snakeway.api.files import CHUNK_BYTES, OpenFile
from snakeway.api.lanes import Lane
from snakeway.blobs import Blob, Blobs, Chunks
from snakeway.errors import BlobsUnavailable, SnakewayError, Unavailable

log = logging.getLogger(__name__)


class FileSource:
    """A file, read once from its begin to the end that it had when it was opened."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._offset = 0
        self.size_bytes = file.size
        self.mtime = file.mtime_ns // 10**9

    def read(self) -> bytes:
        """Return the next piece; none at the end, or when the file has become shorter."""
        chunk = self._file.read(self._offset, min(CHUNK_BYTES, self.size_bytes - self._offset))
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ObjectSource:
    """An object or a part of one, read once. From any thread, and closed from another while it is read."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._lock = threading.Lock()
        self._closed = False
        self.size_bytes = chunks.size_bytes
        self.mtime = int(chunks.blob.modified.timestamp())

    @classmethod
    def of(cls, storage: Blobs, blob: Blob, span: tuple[int, int]) -> "ObjectSource":
        """Open (first byte, number of bytes) of an object that is not empty.

        Raises BlobNotFound, BlobsRefused, and BlobsUnavailable when it is not the object any more that it was.
        """
        chunks = storage.stream(blob.key, first=span[0], length=None if span == (0, blob.size_bytes) else span[1])
        if chunks.blob.etag != blob.etag:
            chunks.close()
            raise BlobsUnavailable(f"the object {blob.key} was replaced just now; try again")
        return cls(chunks)

    def read(self) -> bytes:
        """Return the next piece; none at the end or once it is closed. Raises BlobsUnavailable."""
        with self._lock:
            return b"" if self._closed else next(self._chunks, b"")

    def close(self) -> None:
        """Let go of the connection; waits for a read that is under way."""
        with self._lock:
            self._closed = True
            self._chunks.close()


Source = FileSource | ObjectSource


async def pieces(source: Source, lane: Lane) -> AsyncGenerator[bytes, None]:
    """Yield all of a source, and close it at its end. Raises Unavailable when it ends too early."""
    left = source.size_bytes
    if not left:
        await lane.run(source.close)
    while left:
        chunk = await lane.run(source.read)
        if not chunk:
            raise Unavailable("a file has become shorter while it was sent")
        left -= len(chunk)
        if not left:
            await lane.run(source.close)
        yield chunk


def let_go(lane: Lane, close: Callable[[], object]) -> None:
    """Close something without waiting for it: a read that the storage holds up must not hold up the loop."""
    lane.submit(close)


class StreamResponse(ASGIStreamingResponse):
    """Sends what a generator yields; whether it ends, fails or the client leaves, ``closed`` is called.

    A generator that fails leaves the answer without an end, so that the server breaks the connection off: a client
    sees that something is missing.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        closed: Callable[[], Awaitable[object]],
        *,
        what: str,
        status: int,
        headers: dict[str, str],
    ) -> None:
        self._chunks = chunks
        self._closed = closed
        self._what = what
        super().__init__(
            iterator=chunks,
            status_code=status,
            headers=headers,
            media_type=headers["Content-Type"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except* SnakewayError as errors:
            log.warning("%s was broken off: %s", self._what, errors.exceptions[0])
        finally:
            await asyncio.shield(self._end())

    async def _end(self) -> None:
        await self._chunks.aclose()
        await self._closed()
