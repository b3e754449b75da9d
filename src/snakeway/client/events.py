"""Server-sent events: reading the stream, and going on after a broken connection."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from snakeway.client.transport import Transport
from snakeway.errors import Unavailable

_MEDIA_TYPE = "text/event-stream"
_SILENCE_S = 50  # the server sends a comment every 15 s, so after three missed ones the connection is dead

Retrying = Callable[[Unavailable, float], None]


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event; ``id`` names the place behind it, or is None when it is not part of the history."""

    type: str
    data: dict[str, Any]
    id: str | None = None


class Follower:
    """Follows one stream to its end."""

    def __init__(self, transport: Transport, path: str, after: str | None, retrying: Retrying | None) -> None:
        self._transport = transport
        self._path = path
        self._last_id = after
        self._retrying = retrying
        self._stood = False

    def __iter__(self) -> Iterator[StreamEvent]:
        """Yield events up to the one named ``end``; raises the last error when patience runs out.

        A connection that never stood is not tried again: the address is wrong, or there is no such run.
        """
        pauses: Iterator[float] | None = None
        while True:
            try:
                for event in self._connection():
                    pauses = None
                    yield event
                    if event.type == "end":
                        return
                error = Unavailable(f"{self._transport.url} closed the stream of events before its end")
            except Unavailable as broken:
                if not self._stood:
                    raise
                error = broken
            pauses = pauses or self._transport.patience.pauses()
            pause = next(pauses, None)
            if pause is None:
                raise error
            if self._retrying:
                self._retrying(error, pause)
            time.sleep(pause)

    def _connection(self) -> Iterator[StreamEvent]:
        headers = {"Accept": _MEDIA_TYPE, "Cache-Control": "no-store"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        with self._transport.stream(
            self._path, headers=headers, read_timeout_s=_SILENCE_S, media_type=_MEDIA_TYPE
        ) as response:
            self._stood = True
            for event in parse(response.iter_raw()):
                if event.id is not None:
                    self._last_id = event.id
                yield event


def parse(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Yield the events of a stream. One that is cut off, or whose data is not a JSON object, is left out.

    Lines are split at newlines only: what text libraries also take for the end of a line may stand inside JSON.
    """
    type_, data, id_ = "message", list[str](), None
    for line in _lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            event = _event(type_, "\n".join(data), id_)
            if event is not None:
                yield event
            type_, data, id_ = "message", [], None
        elif name == "event":
            type_ = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            id_ = value


def _event(type_: str, data: str, id_: str | None) -> StreamEvent | None:
    try:
        value = json.loads(data) if data else None
    except ValueError:
        return None
    return StreamEvent(type_, value, id_) if isinstance(value, dict) else None


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest: list[bytes] = []
    for chunk in chunks:
        first, *more = chunk.split(b"\n")
        rest.append(first)
        for begun in more:
            yield b"".join(rest).removesuffix(b"\r").decode(errors="replace")
            rest = [begun]
