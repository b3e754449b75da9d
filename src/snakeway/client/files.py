"""Files of a run: logs read from any byte on, and artifacts brought here whole or not at all."""

import base64
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from snakeway.client.transport import Broken, Params, Transport
from snakeway.errors import SnakewayError, Unavailable

_PARTIAL = 206
_OUTSIDE = 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_REPR_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):", re.ASCII)
_BLOCK_BYTES = 1024 * 1024

Progress = Callable[[int], None]


class DigestMismatch(SnakewayError):
    """What arrived is not the file that the run has; nothing was kept."""

    code = "digest_mismatch"
    title = "The file arrived damaged"


def read_from(transport: Transport, path: str, params: Params, start: int) -> Iterator[bytes]:
    """Yield a file's bytes from byte ``start`` on; nothing when it ends there."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with transport.stream(path, params=params, headers=headers, accept=(_OUTSIDE,)) as response:
        if response.status_code == _OUTSIDE:
            return
        skip = start - _first_byte(response)
        for chunk in response.iter_raw():
            yield chunk[skip:] if skip > 0 else chunk
            skip -= len(chunk)


def size(transport: Transport, path: str, params: Params) -> int:
    """Return the number of bytes that a file has by now."""
    with transport.stream(path, params=params, headers={"Range": "bytes=0-0"}, accept=(_OUTSIDE,)) as response:
        if response.status_code == _OUTSIDE:
            return 0
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found:
            return int(found[3])
        # A server that ignores ranges sends all of it.
        return sum(len(chunk) for chunk in response.iter_raw())


@dataclass(slots=True)
class Download:
    """Brings one file to ``destination``: through a file beside it that gets the name once its content is checked.

    When the digest is known beforehand, what arrived stays beside the destination if the download fails, and the next
    one goes on from there.
    """

    transport: Transport
    path: str
    destination: Path
    sha256: str | None
    progress: Progress

    def run(self) -> None:
        """Raises DigestMismatch, Unavailable when the connection breaks too often, and OSError from the disk."""
        with self._part() as part:
            self._fetch(part)
            found = _digest(part)
            if self.sha256 is not None and found != self.sha256:
                Path(part.name).unlink()
                raise DigestMismatch(f"{self.destination.name} arrived damaged (sha256 {found}, not {self.sha256}); try again")
            part.flush()
            Path(part.name).replace(self.destination)

    @contextmanager
    def _part(self) -> Iterator[BinaryIO]:
        """Open the file that grows; whoever else downloads the same file at this time gets another."""
        folder = self.destination.parent
        folder.mkdir(parents=True, exist_ok=True)
        if self.sha256 is not None:
            name = hashlib.sha256(f"{self.destination.name}/{self.sha256}".encode(errors="surrogateescape")).hexdigest()
            path = folder / f".snakeway-{name[:24]}.part"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            with os.fdopen(fd, "r+b") as part:
                if _is_ours(part, path):
                    named = os.fdopen(os.dup(fd), "r+b", closefd=True)
                    named.close()
                    yield _Named(part, path)  # type: ignore[misc]
                    return
        raise NotImplementedError
