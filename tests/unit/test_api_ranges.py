import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.api import ranges
from snakeway.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 10, None),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=2-", 10, (2, 8)),
        ("bytes=9-", 10, (9, 1)),
        ("bytes=3-100", 10, (3, 7)),
        ("bytes=-1", 10, (9, 1)),
        ("bytes=-100", 10, (0, 10)),
        ("BYTES = 1 - 2 ", 10, (1, 2)),
        ("bytes=0-0,2-3", 10, None),  # several: the whole file is an answer too
        ("bytes=5-4", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=٣-", 10, None),
        ("lines=0-1", 10, None),
        ("bytes=" + "9" * 30 + "-", 10, None),
        ("bytes=0-", 0, None),
        ("bytes=-5", 0, None),
    ],
)
def test_a_range_is_taken_as_rfc_9110_says(header: str | None, size: int, expected: tuple[int, int] | None) -> None:
    assert ranges.part(header, size) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=999999999999999999-", "bytes=-0"])
def test_a_range_without_a_byte_of_the_file_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        ranges.part(header, 10)


@given(st.text(max_size=20), st.integers(0, 100))
def test_a_part_lies_within_the_file(header: str, size: int) -> None:
    try:
        span = ranges.part(header, size)
    except RangeNotSatisfiable:
        return
    if span is not None:
        assert span[0] >= 0
        assert span[1] > 0
        assert sum(span) <= size


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        (None, False),
        ("*", True),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_if_none_match_compares_weakly(header: str | None, matches: bool) -> None:
    assert ranges.none_match(header, '"a"') is matches


@pytest.mark.parametrize(
    ("header", "applies"),
    [(None, True), ('"a"', True), ('W/"a"', False), ('"b"', False), ("Mon, 02 Mar 2026 09:30:00 GMT", False)],
)
def test_if_range_compares_strongly(header: str | None, applies: bool) -> None:
    assert ranges.range_applies(header, '"a"') is applies


def tail(data: bytes, lines: int) -> bytes:
    return data[ranges.tail_start(lambda offset, length: data[offset : offset + length], len(data), lines) :]


@given(st.lists(st.sampled_from([b"", b"x", b"yy", b"\r"]), max_size=30), st.booleans(), st.integers(1, 40))
def test_the_tail_is_the_last_lines(parts: list[bytes], ended: bool, lines: int) -> None:
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")
    assert tail(data, lines) == b"".join(
        data.splitlines(keepends=True)[-lines:] if b"\r" not in data else split(data)[-lines:]
    )


def split(data: bytes) -> list[bytes]:
    """Split at newlines only; carriage returns of progress bars begin no line."""
    found = data.split(b"\n")
    return [line + b"\n" for line in found[:-1]] + ([found[-1]] if found[-1] else [])


def test_the_tail_of_a_large_file_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_BLOCK_BYTES", 7)
    data = b"".join(b"line %d\n" % i for i in range(1000))
    for lines in (1, 2, 999, 1000, 1001):
        assert tail(data, lines) == b"".join(data.splitlines(keepends=True)[-lines:])


def test_the_tail_of_endless_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_BLOCK_BYTES", 7)
    monkeypatch.setattr(ranges, "MOST_TAIL_BYTES", 20)
    assert tail(b"x" * 100, 5) == b"x" * 20
