"""Files of a run: logs read from any byte on, and artifacts brought here whole or not at all."""

import base64
import fcntl
import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from snakeway.client.transport import Params, Transport
from snakeway.errors import Unavailable

_PARTIAL = 206
_ELSEWHERE = 307
_OUTSIDE = 416
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)", re.ASCII)
_REPR_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):", re.ASCII)

Progress = Callable[[int], None]


def read_from(transport: Transport, path: str, params: Params, start: int) -> Iterator[bytes]:
    """Yield a file's bytes from byte ``start`` on; nothing when it ends there."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with transport.stream(path, params=params, headers=headers, accept=(_OUTSIDE,)) as response:
        if response.status_code == _OUTSIDE:
            return
        skip = start - _first_byte(response)
        for chunk in response.iter_raw():
            yield chunk[max(skip, 0) :]
            skip -= len(chunk)


def size(transport: Transport, path: str, params: Params) -> int:
    """Return the number of bytes that a file has by now."""
    with transport.stream(path, params=params, headers={"Range": "bytes=0-0"}, accept=(_OUTSIDE,)) as response:
        total = _total(response)
        if total is not None:
            return total
        if response.status_code == _OUTSIDE:
            return 0
        return sum(len(chunk) for chunk in response.iter_raw())  # a server that ignores ranges


@dataclass(slots=True)
class Download:
    """Brings one file to ``destination``: through a file beside it that gets the name once its content is checked.

    If the digest is known beforehand, what arrived of a failed download stays, and the next one goes on from there.
    """

    transport: Transport
    path: str
    destination: Path
    sha256: str | None
    progress: Progress
    _through_server: bool = False  # its content cannot be had from the storage that it is in
    _etag: str | None = None
    _stood: bool = False

    def run(self) -> None:
        """Download, check and rename.

        Raises:
            Unavailable: the connection broke too often, or what arrived is not what the server has.
            OSError: the disk.

        """
        self.destination.parent.mkdir(parents=True, exist_ok=True)
        with _part_file(self.destination, self.sha256) as (part, name):
            leftover = part.seek(0, os.SEEK_END) > 0
            self._fetch(part)
            if leftover and not self._intact(part):  # what an earlier download left was not a part of this file
                part.truncate(0)
                self._fetch(part)
            if not self._intact(part):
                name.unlink(missing_ok=True)
                raise Unavailable(f"{self.destination.name} arrived damaged: its sha256 is not {self.sha256}")
            part.flush()
            name.replace(self.destination)

    def _fetch(self, part: io.BufferedRandom) -> None:
        pauses = self.transport.patience.pauses()
        while True:
            before = part.seek(0, os.SEEK_END)
            try:
                self._fetch_rest(part, before)
                return
            except Unavailable:
                if not self._stood:
                    raise
                if part.seek(0, os.SEEK_END) > before:
                    pauses = self.transport.patience.pauses()
                pause = next(pauses, None)
                if pause is None:
                    raise
            time.sleep(pause)

    def _fetch_rest(self, part: io.BufferedRandom, start: int) -> None:
        if start and self._stood and self._etag is None and self.sha256 is None:
            start = part.truncate(0)  # nothing tells whether the rest would be of the same file
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._etag is not None:
                headers["If-Range"] = self._etag
        with self._open(headers) as response:
            self._stood = True
            self._learn(response)
            if response.status_code == _OUTSIDE:
                if _total(response) == start:
                    return
                part.truncate(0)
                raise Unavailable(f"{self.transport.url} has a shorter file than what arrived before")
            first = _first_byte(response)
            if first > start:
                raise Unavailable(f"{self.transport.url} sent another part of the file than was asked for")
            part.seek(first)
            part.truncate()
            for chunk in response.iter_raw():
                part.write(chunk)
                self.progress(part.tell())

    @contextmanager
    def _open(self, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Ask the server, and the storage that it may send us to; if that does not answer well, the server again."""
        with ExitStack() as stack:
            response: httpx.Response | None = None
            if not self._through_server:
                with self.transport.stream(self.path, headers=headers, accept=(_OUTSIDE, _ELSEWHERE)) as told:
                    if told.status_code != _ELSEWHERE:
                        yield told
                        return
                try:
                    url = told.headers.get("Location", "")
                    response = stack.enter_context(self.transport.stream_elsewhere(url, headers=headers))
                except Unavailable:
                    self._through_server = True
            if response is None:
                here: Params = {"redirect": "false"}
                response = stack.enter_context(
                    self.transport.stream(self.path, params=here, headers=headers, accept=(_OUTSIDE,))
                )
            yield response

    def _learn(self, response: httpx.Response) -> None:
        etag = response.headers.get("ETag")
        self._etag = etag if etag and not etag.startswith("W/") else None
        found = _REPR_DIGEST.search(response.headers.get("Repr-Digest", ""))
        if self.sha256 is None and found:
            self.sha256 = base64.b64decode(found[1]).hex()

    def _intact(self, part: io.BufferedRandom) -> bool:
        if self.sha256 is None:
            return True
        part.seek(0)
        return hashlib.file_digest(part, "sha256").hexdigest() == self.sha256


def is_file_of(path: Path, sha256: str | None) -> bool:
    """Whether the file at ``path`` is the one with this digest; False when either is unknown."""
    if sha256 is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


@contextmanager
def _part_file(destination: Path, sha256: str | None) -> Iterator[tuple[io.BufferedRandom, Path]]:
    if sha256 is not None:
        # The name is made from the digest, so what lies there is a part of this very file.
        key = hashlib.sha256(f"{destination.name}/{sha256}".encode(errors="surrogateescape")).hexdigest()
        name = destination.with_name(f".snakeway-{key[:24]}.part")
        with _open_new_or_old(name) as part:
            if _claim(part, name):
                yield part, name
                return
    name = destination.with_name(f".snakeway-{secrets.token_hex(12)}.part")
    with _open_new_or_old(name) as part:
        try:
            yield part, name
        finally:
            name.unlink(missing_ok=True)


def _open_new_or_old(name: Path) -> io.BufferedRandom:
    return os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b")


def _claim(part: io.BufferedRandom, name: Path) -> bool:
    """Whether nobody else downloads into the file, or has just finished it under our hands."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return name.stat().st_ino == os.fstat(part.fileno()).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _first_byte(response: httpx.Response) -> int:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[1]) if response.status_code == _PARTIAL and found and found[1] else 0


def _total(response: httpx.Response) -> int | None:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[2]) if found else None
