"""Byte ranges and validators of RFC 9110, and where the last lines of a file begin: decisions without responses."""

import re
from collections.abc import Callable

from snakeway.errors import RangeNotSatisfiable

MOST_TAIL_LINES = 100_000
MOST_TAIL_BYTES = 64 * 1024 * 1024  # however long the lines are: finding their begin means reading them
_BLOCK_BYTES = 256 * 1024

_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-(\d{1,18}))\s*", re.ASCII | re.IGNORECASE)


def part(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (first byte, number of bytes) of the one range that ``header`` asks for in a file of ``size`` bytes.

    None means the whole file: no range, several ranges, something malformed, or an empty file, of which no byte can be
    asked. Raises RangeNotSatisfiable when the range is well-formed and the file has none of its bytes.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or size == 0:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        start = size - length
    else:
        start = int(first)
        if last is not None and int(last) < start:
            return None
        length = min(size - 1 if last is None else int(last), size - 1) - start + 1
    if length <= 0:
        raise RangeNotSatisfiable(f"the file has {size} bytes, none of them in the range {header!r}", field="Range")
    return start, length


def none_match(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names the file as it is, so that there is nothing to send."""
    if header is None:
        return False
    return header.strip() == "*" or any(each.strip().removeprefix("W/") == etag for each in header.split(","))


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether ``If-Range`` lets a range be taken: the client's other parts must be of the file as it is.

    Dates never match: no Last-Modified is sent, since a second is too coarse for a file that is being written.
    """
    return if_range is None or if_range.strip() == etag


def tail_start(read: Callable[[int, int], bytes], size: int, lines: int) -> int:
    """Return where the last ``lines`` lines of a file of ``size`` bytes begin, reading it from its end.

    ``read(offset, length)`` returns bytes of the file. Looks at no more than `MOST_TAIL_BYTES`; when the lines are
    longer together, that is what there is. A last line without a newline counts.
    """
    end = size
    wanted = lines
    if end and read(end - 1, 1) != b"\n":
        wanted -= 1  # the newline that would end it is not there to be counted
    lowest = max(0, size - MOST_TAIL_BYTES)
    while end > lowest:
        start = max(lowest, end - _BLOCK_BYTES)
        block = read(start, end - start)
        found = block.count(b"\n")
        if found > wanted:
            return start + _nth_newline_from_end(block, wanted + 1) + 1
        wanted -= found
        end = start
    return lowest


def _nth_newline_from_end(block: bytes, count: int) -> int:
    position = len(block)
    for _ in range(count):
        position = block.rfind(b"\n", 0, position)
    return position
