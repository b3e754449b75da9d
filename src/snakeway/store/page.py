"""Keyset pages: a cursor is the key of the last item seen, so a page costs the same wherever it lies."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from snakeway.errors import InvalidCursor
from snakeway.ids import is_id

MAX_LIMIT = 500
_DIGITS = 18  # of a number that every database holds

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a listing, and the cursor of what follows them (None at the end)."""

    items: Sequence[T]
    next: str | None


def cut(rows: Sequence[T], limit: int, key: Callable[[T], str | int]) -> Page[T]:
    """Make a page of ``limit`` items from a query for ``limit + 1`` rows."""
    items = rows[:limit]
    return Page(items, encode(str(key(items[-1]))) if len(rows) > limit else None)


def encode(key: str) -> str:
    """Return the cursor of ``key``."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode(cursor: str, fits: Callable[[str], bool] = bool) -> str:
    """Return the key in ``cursor``; raises InvalidCursor unless :func:`encode` made it of a key that fits."""
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or "\0" in key or encode(key) != cursor:
        raise InvalidCursor("the cursor is not one of this server's; leave it out to start from the first page")
    if not fits(key):
        raise _of_another_listing()
    return key


def decode_id(cursor: str) -> str:
    """Return the id in ``cursor``; raises InvalidCursor."""
    return decode(cursor, is_id)


def decode_number(cursor: str) -> int:
    """Return the number in ``cursor``; raises InvalidCursor."""
    return number_in(decode(cursor))


def number_in(text: str) -> int:
    """Return the number of a job in a cursor's text; raises InvalidCursor."""
    if not (text.isdecimal() and len(text) <= _DIGITS and text == str(int(text))):
        raise _of_another_listing()
    return int(text)


def _of_another_listing() -> InvalidCursor:
    return InvalidCursor("the cursor belongs to another listing; leave it out to start from the first page")
