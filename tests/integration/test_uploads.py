"""What is left of uploads: by people who do not come back, and by crashes at any line."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from snakeway import ids, uploads
from snakeway.blobs import Blobs
from snakeway.blobs.local import LocalBlobs
from snakeway.errors import InputBusy, OffsetConflict
from snakeway.model.input import InputState, key_of
from snakeway.rows import InputRow, now
from snakeway.spool import Spool, spool_folder
from snakeway.store import Store, inputs

DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()
WEEK_S = 7 * 24 * 3600.0
S = InputState


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Object storage in a folder."""
    return LocalBlobs(tmp_path / "blobs")


def added(store: Store, state: InputState, owner: str = "ada", name: str = "a") -> InputRow:
    row = InputRow(
        id=ids.new_id(),
        owner=owner,
        name=name,
        size_bytes=len(DATA),
        sha256=SHA,
        state=state,
        created_at=now(),
        updated_at=now(),
    )
    with store.write() as tx:
        inputs.add(tx, row)
    return row


def states(store: Store, *rows: InputRow) -> list[InputState | None]:
    with store.read() as tx:
        found = [inputs.get(tx, row.id) for row in rows]
        return [None if row is None else row.state for row in found]


def swept(store: Store, blobs: Blobs, data_dir: Path, after: timedelta) -> int:
    return uploads.sweep(store, blobs, data_dir, WEEK_S, now() + after)


def test_an_upload_that_nobody_goes_on_with_expires(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    begun, whole, complete = added(store, S.UPLOADING), added(store, S.STORING), added(store, S.COMPLETE, "bob")
    for row in (begun, whole):
        Spool(tmp_path, row.id).append(0, DATA)
    for owner in ("ada", "bob"):  # a crash when it was stored, and not noted
        blobs.put(key_of(owner, SHA), DATA)
    assert swept(store, blobs, tmp_path, timedelta(days=6)) == 0
    assert states(store, begun, whole, complete) == [S.UPLOADING, S.STORING, S.COMPLETE]
    assert swept(store, blobs, tmp_path, timedelta(days=8)) == 2
    assert states(store, begun, whole, complete) == [None, None, S.COMPLETE]
    assert [blob.key for blob in blobs.list()] == [key_of("bob", SHA)]
    assert list(spool_folder(tmp_path).iterdir()) == []


def test_what_another_upload_needs_is_kept(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    added(store, S.COMPLETE, name="b")
    blobs.put(key_of("ada", SHA), DATA)
    old = added(store, S.UPLOADING)
    with store.write() as tx:
        inputs.move(tx, old.id, S.UPLOADING, S.STORING)
    assert swept(store, blobs, tmp_path, timedelta(days=8)) == 1
    assert [blob.key for blob in blobs.list()] == [key_of("ada", SHA)]


def test_an_upload_that_is_being_stored_does_not_expire(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    row = added(store, S.STORING)
    spool = Spool(tmp_path, row.id)
    spool.append(0, DATA)
    with spool.held():
        assert swept(store, blobs, tmp_path, timedelta(days=8)) == 0
    assert states(store, row) == [S.STORING]


def test_a_removal_that_was_interrupted_is_finished(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    row = added(store, S.REMOVING)
    blobs.put(key_of("ada", SHA), DATA)
    assert swept(store, blobs, tmp_path, timedelta(minutes=9)) == 0  # its remover may be at work
    assert swept(store, blobs, tmp_path, timedelta(minutes=11)) == 1
    assert states(store, row) == [None]
    assert list(blobs.list()) == []


def test_a_storage_that_does_not_work_is_tried_again(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    row = added(store, S.REMOVING)
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="does not work"):
        LocalBlobs(tmp_path / "file").delete("a")
    assert swept(store, LocalBlobs(tmp_path / "file"), tmp_path, timedelta(days=1)) == 0
    assert states(store, row) == [S.REMOVING]
    assert swept(store, blobs, tmp_path, timedelta(days=1)) == 1


def test_files_of_no_upload_are_removed(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    begun, complete = added(store, S.UPLOADING), added(store, S.COMPLETE)
    for name in (begun.id, complete.id, ids.new_id()):
        Spool(tmp_path, name).append(0, DATA)
    swept(store, blobs, tmp_path, timedelta(minutes=30))
    assert len(list(spool_folder(tmp_path).iterdir())) == 3
    swept(store, blobs, tmp_path, timedelta(hours=2))
    assert [path.name for path in spool_folder(tmp_path).iterdir()] == [begun.id]


def test_pieces_follow_each_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "x")
    assert spool.size() == 0
    with pytest.raises(OffsetConflict):
        spool.append(3, b"def")
    assert not spool.path.exists()
    assert spool.append(0, b"abc") == 3
    assert spool.append(3, b"def") == 6
    for offset in (0, 3, 7):
        with pytest.raises(OffsetConflict) as error:
            spool.append(offset, b"x")
        assert error.value.offset == 6
    spool.sync()
    with spool.held() as file:
        assert file is not None
        assert file.read() == b"abcdef"
        with pytest.raises(InputBusy):
            Spool(tmp_path, "x").append(6, b"x")
    spool.remove()
    spool.remove()
    with spool.held() as file:
        assert file is None


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    spool_folder(tmp_path).mkdir()
    Spool(tmp_path, "x").path.symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match="cannot be kept"):
        Spool(tmp_path, "x").append(0, b"abc")
    assert (tmp_path / "victim").read_text() == ""


def test_a_full_disk_is_told() -> None:
    class Full(Spool):
        def __init__(self) -> None:
            self.path = Path("/dev/full")

    with pytest.raises(Exception, match="make room in the data folder"):
        Full().append(0, b"abc")
