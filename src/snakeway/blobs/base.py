"""The interface of object storage, and what all backends share."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from snakeway.errors import Invalid, RangeNotSatisfiable

CHUNK_BYTES = 1024 * 1024
LONGEST_EXPIRY_S = 7 * 24 * 3600  # S3 signs for no longer


class Readable(Protocol):
    """A binary stream, as far as it is needed."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        ...


Data = bytes | Readable | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known of an object without reading it. ``etag`` changes when the content does; it is not a digest."""

    key: str
    size_bytes: int
    modified: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was stored: its size, and its SHA-256 as 64 hexadecimal digits."""

    size_bytes: int
    sha256: str


class Chunks(Iterator[bytes]):
    """The bytes of an object, or of a part of it, in pieces. Close it, or use it in ``with``, if it is not read out.

    ``size_bytes`` is what all pieces have together. Iterating raises BlobsUnavailable when the storage breaks off.
    """

    def __init__(self, blob: Blob, size_bytes: int, chunks: Generator[bytes], close: Callable[[], object]) -> None:
        self.blob = blob
        self.size_bytes = size_bytes
        self._chunks = chunks
        self._close = close

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file or the connection; may be repeated."""
        self._chunks.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Blobs(ABC):
    """Object storage. Safe to share between threads; every method blocks until it is done.

    Every method raises BlobsUnavailable when the storage does not answer (a later try may succeed), BlobsRefused when
    it will not serve us as it is configured, and Invalid for what cannot be a key.
    """

    @abstractmethod
    def put(self, key: str, data: Data, *, only_new: bool = False) -> Written:
        """Store ``data`` under ``key``, whole or not at all, in the place of what was there.

        It may be bytes, a binary stream, or anything that gives bytes, of any length; what is held in memory of it is
        bounded. What ``data`` raises goes through, and nothing is stored.

        Raises:
            BlobExists: ``only_new``, and there is something under the key. Of several writers at a time one succeeds;
                where a server of S3 has no conditional end of uploads in parts, only for objects of one part.

        """

    @abstractmethod
    def stream(self, key: str, *, first: int = 0, length: int | None = None) -> Chunks:
        """Open an object: all of it, or at most ``length`` bytes from byte ``first`` on.

        Raises, before anything is read:
            BlobNotFound: there is none.
            RangeNotSatisfiable: it has no byte ``first``, unless that is 0.

        """

    @abstractmethod
    def stat(self, key: str) -> Blob | None:
        """Return what is known of an object; None if there is none."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Blob]:
        """Yield the objects whose keys begin with ``prefix``, which may end within a name, by key as bytes.

        They are looked for as they are asked for. What is written or deleted meanwhile may be there or not.
        """

    @abstractmethod
    def delete(self, keys: str | Iterable[str]) -> None:
        """Delete an object, or many; those that are not there are deleted already."""

    @abstractmethod
    def presigned_url(self, key: str, expires_s: int, download_name: str | None = None) -> str | None:
        """Return a URL from which anybody can get the object for ``expires_s`` seconds, at most seven days.

        Browsers save it as ``download_name``. None where the backend has no such URLs: its objects have to be sent by
        us. Whether there is such an object is not looked at.
        """

    def get(self, key: str, max_bytes: int = 1024 * 1024) -> bytes:
        """Return the content of a small object.

        Raises:
            BlobNotFound: there is none.
            Invalid: it has more than ``max_bytes``.

        """
        with self.stream(key) as chunks:
            if chunks.size_bytes > max_bytes:
                raise Invalid(f"{key} has {chunks.size_bytes} bytes, and at most {max_bytes} are read at once")
            return b"".join(chunks)

    def digest(self, key: str) -> str:
        """Return the SHA-256 of an object, by reading it; raises BlobNotFound."""
        with self.stream(key) as chunks:
            hash_ = hashlib.sha256()
            for chunk in chunks:
                hash_.update(chunk)
            return hash_.hexdigest()


class Measured:
    """The pieces of what is to be stored, none larger than `CHUNK_BYTES`; measured and hashed as they go by."""

    def __init__(self, data: Data) -> None:
        self._pieces = _pieces(data)
        self._hash = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[memoryview]:
        for piece in self._pieces:
            whole = memoryview(piece)
            for start in range(0, len(whole), CHUNK_BYTES):
                part = whole[start : start + CHUNK_BYTES]
                self._hash.update(part)
                self._size += len(part)
                yield part

    @property
    def written(self) -> Written:
        """What has gone by so far."""
        return Written(self._size, self._hash.hexdigest())


def _pieces(data: Data) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
    elif isinstance(data, Iterable) and not hasattr(data, "read"):
        yield from data
    else:
        yield from iter(lambda: data.read(CHUNK_BYTES), b"")


def part_of(blob: Blob, first: int, length: int | None) -> int:
    """Return how many bytes of an object are meant; raises RangeNotSatisfiable as `Blobs.stream` does."""
    if first < 0 or (length is not None and length < 1) or (first > 0 and first >= blob.size_bytes):
        raise out_of_range(blob.key, first)
    rest = blob.size_bytes - first
    return rest if length is None else min(length, rest)


def out_of_range(key: str, first: int) -> RangeNotSatisfiable:
    """The error for a part that an object does not have."""
    return RangeNotSatisfiable(f"{key} has no byte {first}, or none were asked for; ask for a part that it has")


def check_expiry(expires_s: int) -> int:
    """Return a time for which a URL can be signed; raises Invalid."""
    if not 1 <= expires_s <= LONGEST_EXPIRY_S:
        raise Invalid(f"a URL can be signed for 1 to {LONGEST_EXPIRY_S} seconds", field="expires_s")
    return expires_s
