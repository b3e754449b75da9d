"""Uploading files as inputs: announced by their digest, sent from where the server is, taken up when that breaks."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

from snakeway.client.nouns import Input, Page
from snakeway.client.transport import Params, Transport
from snakeway.errors import InputBusy, Invalid, OffsetConflict, ServerUnreachable, Unavailable

_BLOCK_BYTES = 1024 * 1024
_STORE_S = 600  # how long the server may be silent while it stores what it has; asked again after that

Progress = Callable[[int], None]


class Inputs:
    """What can be done with inputs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
        self, path: Path, name: str | None = None, *, read: Progress = lambda _: None, sent: Progress = lambda _: None
    ) -> Input:
        """Upload a file, from where an earlier upload of it was broken off; returns the complete input.

        A content that the server has of this person already is not sent. ``read`` is called with the number of bytes
        of which the digest is known, ``sent`` with the number that the server has.

        Raises:
            InputDamaged: the file was changed meanwhile.
            InputBusy: the server has the bytes and does not come to store them, as when it cannot remove what was
                deleted of the same content before.
            Invalid, InputTooLarge, QuotaExceeded: the server does not take it.
            Unavailable: the connection broke too often, or the server's storage does not work.
            OSError: the file cannot be read.

        """
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Invalid(f"{path} is not a file; pack a folder first, or upload its files", field="FILE")
            digest = _digest(file, read)
            body = {"name": path.name if name is None else name, "size_bytes": status.st_size, "sha256": digest}
            found = cast("Input", self._transport.ask("POST", "/inputs", body=body, repeatable=True))
            return _Upload(self._transport, file, found, sent).run()

    def get(self, input_id: str) -> Input:
        """Return an input."""
        return cast("Input", self._transport.ask("GET", _path(input_id)))

    def page(self, *, cursor: str | None = None, limit: int | None = None) -> Page[Input]:
        """Return one page of inputs, newest first."""
        where: Params = {"cursor": cursor, "limit": limit}
        return cast("Page[Input]", self._transport.ask("GET", "/inputs", params=where))

    def each(self) -> Iterator[Input]:
        """Yield all inputs, newest first."""
        cursor = None
        while True:
            page = self.page(cursor=cursor, limit=200)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def remove(self, input_id: str) -> None:
        """Delete an input that no run uses, or give an upload up."""
        self._transport.send("DELETE", _path(input_id))


@dataclass(slots=True)
class _Upload:
    """One upload that was announced."""

    transport: Transport
    file: BinaryIO
    found: Input
    sent: Progress

    def run(self) -> Input:
        """Send what is missing until the input is complete; a broken connection is taken up where it broke."""
        pauses = self.transport.patience.pauses()
        while self.found["state"] != "complete":
            before = (self.found["offset"], self.found["state"])
            try:
                self.found = self._send_rest()
            except (Unavailable, InputBusy, OffsetConflict) as error:
                pause = next(pauses, None)
                if pause is None and isinstance(error, InputBusy):
                    raise self._given_up(error) from error
                if pause is None:
                    raise
                time.sleep(pause)
                self._ask(error)
                stored = isinstance(error, InputBusy) and self.found["state"] == "storing"  # however long that takes
                if stored or (self.found["offset"], self.found["state"]) != before:
                    pauses = self.transport.patience.pauses()  # it goes on
        self.sent(self.found["size_bytes"])
        return self.found

    def _given_up(self, error: InputBusy) -> InputBusy:
        """Return what to raise for an answer that asks for patience, when that is at its end."""
        return InputBusy(
            f"the server has {self.found['offset']} of {self.found['size_bytes']} bytes and does not get on: "
            f"{error.detail.partition(';')[0]}. Upload {Path(self.file.name).name} again later, nothing is sent twice; "
            "if it stays so, whoever runs the server finds the reason in its log"
        )

    def _ask(self, error: Exception) -> None:
        """Ask how far it is; a server that is away just now is asked the next time."""
        try:
            self.found = cast("Input", self.transport.ask("GET", _path(self.found["id"])))
        except ServerUnreachable:
            pass
        except Unavailable:
            if isinstance(error, InputBusy):
                raise

    def _send_rest(self) -> Input:
        offset = self.found["offset"]
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self.found["size_bytes"] - offset),  # else httpx sends it in chunks of unknown number
            "Upload-Offset": str(offset),
        }
        answer = self.transport.ask(
            "PATCH",
            _path(self.found["id"]),
            content=self._blocks(offset),
            headers=headers,
            timeout_s=_STORE_S,
        )
        return cast("Input", answer)

    def _blocks(self, offset: int) -> Iterator[bytes]:
        self.file.seek(offset)
        left = self.found["size_bytes"] - offset
        while left:
            block = self.file.read(min(_BLOCK_BYTES, left))
            if not block:
                raise Invalid("the file has become shorter; upload it again when nobody changes it", field="FILE")
            left -= len(block)
            yield block
            self.sent(self.file.tell())


def _digest(file: BinaryIO, read: Progress) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        read(file.tell())
    return digest.hexdigest()


def _path(input_id: str) -> str:
    if input_id in {"", ".", ".."}:
        raise Invalid(f"{input_id!r} is not the id of an input")
    return f"/inputs/{quote(input_id, safe='')}"
