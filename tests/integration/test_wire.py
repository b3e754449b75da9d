"""Events on a disk that fills up while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snakeway.wire import Complain, EventType, EventWriter
from tests.support.disk import small_disk


@contextmanager
def standard_error_in(file: Path) -> Iterator[None]:
    """Append to a file what is written to standard error."""
    kept = os.dup(2)
    with file.open("ab") as opened:
        os.dup2(opened.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_events_that_find_no_room_are_counted_and_the_reason_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    with small_disk(tmp_path / "disk", "64k") as disk:
        file = disk / "events.ndjson"
        writer = EventWriter(file, said.append)  # type: ignore[arg-type]
        written = 0
        while not writer.lost:
            writer.write(EventType.PROGRESS, t=1.0, done=written)  # always the same bytes: no line ends with the room
            written += 1
        writer.close()
        content = file.read_bytes()
    assert "No space left on device" in said[0]
    assert content.count(b"\n") == written - 1  # the last one has found no room, or only for its beginning
    assert not content.endswith(b"\n")  # it was a short write that met the end of the room


def test_a_complaint_that_found_no_room_is_tried_again(tmp_path: Path) -> None:
    complain = Complain()
    log = tmp_path / "log"
    with standard_error_in(Path("/dev/full")):
        complain("lost")
    with standard_error_in(log):
        complain("said")
        complain("said again")
    assert log.read_text() == "snakeway: said\n"


def test_a_complaint_that_found_room_for_its_beginning_only_is_tried_again(tmp_path: Path) -> None:
    complain = Complain()
    with small_disk(tmp_path / "disk", "8k") as disk:
        log = disk / "log"
        log.write_bytes(bytes(4090))
        (disk / "fill").write_bytes(bytes(4096))
        with standard_error_in(log):
            complain("said")
        (disk / "fill").unlink()
        with standard_error_in(log):
            complain("said")
            complain("said again")
        assert log.read_bytes()[4090:] == b"snakewsnakeway: said\n"
