"""The live stream of a run: the events of its attempts in order, each with an id to go on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from snakeway.directory import RunDirectory
from snakeway.wire import parse_lines, read_lines

CHUNK_BYTES = 2 * 1024 * 1024  # as for the intake: a longer line is no event


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two events: byte ``offset`` of the events of attempt ``attempt``."""

    attempt: int
    offset: int

    def __str__(self) -> str:
        return f"{self.attempt}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """Read the id of an event; None for any other text."""
        attempt, _, offset = text.partition(":")
        if not (attempt.isdecimal() and offset.isdecimal() and len(text) < 40):
            return None
        return cls(int(attempt), int(offset))


def events_after(directory: RunDirectory, position: Position) -> tuple[list[tuple[Position, dict[str, Any]]], Position]:
    """Return the next events of the attempt at ``position``, each with the position behind it; and where it goes on."""
    attempt = directory.attempt(position.attempt)
    if not attempt.is_real:
        return [], position
    data = read_lines(attempt.events, position.offset, CHUNK_BYTES, attempt.root())
    found = []
    offset = position.offset
    for line in data.splitlines(keepends=True):
        offset += len(line)
        found += [(Position(position.attempt, offset), event) for event in parse_lines(line)]
    return found, Position(position.attempt, offset)


def following(attempts: Sequence[int], current: int) -> int | None:
    """Return the number of the attempt after ``current``, if there is one yet."""
    return min((number for number in attempts if number > current), default=None)
