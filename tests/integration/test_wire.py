"""Events on a disk that fills up while they are written."""

from pathlib import Path

from snakeway.wire import EventType, EventWriter
from tests.support.disk import small_disk


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
