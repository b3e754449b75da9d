"""The event format: what is written is read, and nothing that lies in the file breaks the reader."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakeway.wire import (
    Complain,
    EventType,
    EventWriter,
    parse_lines,
    read_events,
    start_on_node,
    started_on_node,
    tail,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.dictionaries(st.text("abcdefgh", min_size=3), VALUES, max_size=5)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples of a property share: a new one for each would be most of their time."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def events_file(tmp_path: Path) -> Path:
    return tmp_path / "attempt" / "events.ndjson"


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def writer(events_file: Path, complaints: list[str]) -> EventWriter:
    return EventWriter(events_file, complaints.append)  # type: ignore[arg-type]


def lines_of(events: list[dict[str, Any]]) -> bytes:
    """The bytes of an events file that holds ``events``."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"seq": seq, "t": 1.5, "type": "job", "rule": "ä" * (seq % 7)} for seq in range(count)]


@settings(deadline=None)  # of 200 ms, which a busy disk exceeds
@given(st.lists(MEMBERS, max_size=6))
def test_what_is_written_is_read(scratch: Path, written: list[dict[str, Any]]) -> None:
    file = scratch / "events.ndjson"
    file.unlink(missing_ok=True)
    writer = EventWriter(file, Complain())
    for members in written:
        writer.write(EventType.JOB, 7.25, **members)
    writer.close()
    events, _ = read_events(file, 0, 1 << 20)
    assert [event.pop("seq") for event in events] == list(range(len(written)))
    assert events == [{"t": 7.25, "type": "job", **members} for members in written]
    assert writer.lost == 0


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for event in parse_lines(data):
        assert isinstance(event["type"], str)


@given(st.lists(st.sampled_from([b'{"seq":1,"t":2,"type":"job"}', b"[" * 5000, b"{", b"\xff", b"", b"null", b"1"])))
def test_broken_lines_are_passed_over(lines: list[bytes]) -> None:
    assert len(list(parse_lines(b"\n".join(lines)))) == sum(line.startswith(b'{"seq"') for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        '{"seq": true, "t": 1, "type": "job"}',
        '{"seq": -1, "t": 1, "type": "job"}',
        '{"seq": 1e2, "t": 1, "type": "job"}',
        f'{{"seq": {2**53}, "t": 1, "type": "job"}}',
        '{"seq": 1, "t": "1", "type": "job"}',
        '{"seq": 1, "t": NaN, "type": "job"}',
        '{"seq": 1, "t": 1e999, "type": "job"}',
        '{"seq": 1, "t": 1, "type": 4}',
        '{"seq": 1, "t": 1}',
        '[{"seq": 1, "t": 1, "type": "job"}]',
    ],
)
def test_lines_of_another_kind_are_not_events(line: str) -> None:
    assert list(parse_lines(line.encode())) == []


@given(st.text(st.sampled_from('\\u0dD8n"\0\ud800\udfffä'), max_size=20))
def test_no_text_comes_out_that_a_database_refuses(text: str) -> None:
    (event,) = parse_lines(json.dumps({"seq": 0, "t": 0, "type": "error", "message": text, text: 1}).encode())
    assert "\0" not in event["message"]
    event["message"].encode()
    if "\0" not in text and "\ud800" not in text and "\udfff" not in text:
        assert event["message"] == text


def test_a_backslash_before_u0000_is_text_and_not_nul() -> None:
    (event,) = parse_lines(json.dumps({"seq": 0, "t": 0, "type": "job", "shell": r"printf '\u0000'"}).encode())
    assert event["shell"] == r"printf '\u0000'"


def test_numbers_that_are_not_finite_become_null() -> None:
    (event,) = parse_lines(b'{"seq":0,"t":0,"type":"job","a":NaN,"b":-Infinity,"c":1e999,"d":1.5}')
    assert [event[name] for name in "abcd"] == [None, None, None, 1.5]


@settings(deadline=None)  # of 200 ms, which a busy disk exceeds
@given(st.integers(0, 30), st.integers(100, 400))
def test_reading_in_pieces_gives_each_event_once(scratch: Path, count: int, max_bytes: int) -> None:
    file = scratch / "events.ndjson"
    file.write_bytes(lines_of(numbered(count)))
    found: list[dict[str, Any]] = []
    offset = 0
    while offset < file.stat().st_size:
        events, behind = read_events(file, offset, max_bytes)
        assert behind > offset, "no progress"
        found, offset = found + events, behind
    assert found == numbered(count)


@settings(deadline=None)  # of 200 ms, which a busy disk exceeds
@given(st.integers(1, 200))
def test_a_line_that_is_not_whole_waits_for_its_rest(scratch: Path, cut: int) -> None:
    file = scratch / "events.ndjson"
    data = lines_of(numbered(3))
    file.write_bytes(data[:-cut])
    events, offset = read_events(file, 0, 1 << 20)
    file.write_bytes(data)
    rest, end = read_events(file, offset, 1 << 20)
    assert events + rest == numbered(3)
    assert end == len(data)


def test_a_file_that_does_not_exist_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none", 7, 100) == ([], 7)


def test_a_full_disk_loses_events_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "events").symlink_to("/dev/full")
    said: list[str] = []
    writer = EventWriter(tmp_path / "events", said.append)  # type: ignore[arg-type]
    for _ in range(3):
        writer.write(EventType.JOB)
    assert writer.lost == 3
    assert "No space left" in said[0]


def test_after_a_torn_line_the_next_event_is_whole(
    writer: EventWriter, events_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    writer.write(EventType.JOB, job=1)
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:10]))
    writer.write(EventType.JOB, job=2)
    monkeypatch.undo()
    writer.write(EventType.JOB, job=3)
    events, _ = read_events(events_file, 0, 1 << 20)
    assert [(event["seq"], event["job"]) for event in events] == [(0, 1), (2, 3)]
    assert writer.lost == 1


def test_what_json_cannot_hold_is_written_as_text(writer: EventWriter, events_file: Path) -> None:
    writer.write(EventType.ERROR, message="a\udc80b", path=Path("x"))
    ((event,), _) = read_events(events_file, 0, 1 << 20)
    assert (event["message"], event["path"]) == ("a?b", "x")


def test_an_event_that_cannot_be_encoded_is_lost(writer: EventWriter, complaints: list[str]) -> None:
    knot: list[Any] = []
    knot.append(knot)
    writer.write(EventType.ERROR, message=knot)
    assert (writer.lost, len(complaints)) == (1, 1)


def test_writing_after_closing_goes_on(writer: EventWriter, events_file: Path) -> None:
    writer.write(EventType.JOB)
    writer.close()
    writer.write(EventType.ATTEMPT_ENDED)
    writer.close()
    writer.close()
    assert len(read_events(events_file, 0, 1 << 20)[0]) == 2


def test_complaints_are_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    complain = Complain()
    complain("first")
    complain("second")
    assert capfd.readouterr().err == "snakeway: first\n"


@settings(deadline=None)  # of 200 ms, which a busy disk exceeds
@given(st.binary(max_size=400), st.integers(1, 5), st.integers(1, 50))
def test_the_tail_is_short_text(scratch: Path, data: bytes, lines: int, size: int) -> None:
    log = scratch / "log"
    log.write_bytes(data)
    text = tail(log, lines, size)
    assert len(text.splitlines()) <= lines
    assert len(text) <= size


def test_the_tail_of_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    assert tail(tmp_path / "pipe") == tail(tmp_path) == tail(tmp_path / "none") == ""


def test_the_tail_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"{n}\n" for n in range(100)))
    assert tail(tmp_path / "log", 3) == "97\n98\n99"
    assert tail(tmp_path / "log", 100, 9) == "97\n98\n99"


def test_a_line_that_is_too_long_and_a_device_hold_nobody_up(scratch: Path) -> None:
    file = scratch / "events.ndjson"
    file.write_bytes(b"x" * 250 + b"\n" + lines_of(numbered(1)))
    found: list[dict[str, Any]] = []
    offset = 0
    while offset < file.stat().st_size:
        events, offset = read_events(file, offset, 100)
        found += events
    assert found == numbered(1)
    assert read_events(Path("/dev/zero"), 0, 100) == ([], 0)


@given(st.floats(0, 1e10 - 1), st.text(max_size=50), st.text(max_size=50))
def test_a_job_notes_its_start_in_its_log(scratch: Path, t: float, before: str, after: str) -> None:
    log = scratch / "job.log"
    log.write_bytes(f"{before}\n{start_on_node(t)}\n{after}".encode())
    assert started_on_node(log) == pytest.approx(t, abs=0.001)


@pytest.mark.parametrize("text", ["", "Building DAG of jobs...\n", "x" * 5000 + f"\n{start_on_node(1.0)}\n"])
def test_a_log_that_does_not_begin_with_the_start_tells_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.log").write_text(text)
    assert started_on_node(tmp_path / "job.log") is None
    assert started_on_node(tmp_path / "none.log") is None
