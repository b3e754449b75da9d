"""What is left of uploads: by people who do not come back, and by crashes at any line."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from snakeway import ids, uploads
from snakeway.blobs import Blobs
from snakeway.blobs.local import LocalBlobs
from snakeway.errors import BlobsRefused, InputBusy, OffsetConflict
from snakeway.model.input import InputState, key_of
from snakeway.rows import InputRow, now
from snakeway.spool import Spool, spool_folder
from snakeway.store import Store, inputs

DATA = b"some bytes"
SHA = hashlib.sha256(DATA).hexdigest()
HOUR = timedelta(hours=1)
WEEK_S = 7 * 24 * 3600.0
S = InputState


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Object storage in a folder."""
    return LocalBlobs(tmp_path / "blobs")


def added(
    store: Store, state: InputState, owner: str = "ada", name: str = "a", before: timedelta = timedelta(0)
) -> InputRow:
    row = InputRow(
        id=ids.new_id(),
        owner=owner,
        name=name,
        size_bytes=len(DATA),
        sha256=SHA,
        state=state,
        created_at=now(),
        updated_at=now() - before,
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


class Meanwhile(LocalBlobs):
    """A folder, and what somebody else does at the moment when the first object is to be deleted."""

    def __init__(self, folder: Path, happens: Callable[[], object]) -> None:
        super().__init__(folder)
        self._happens: list[Callable[[], object]] = [happens]

    def delete(self, keys: str | Iterable[str]) -> None:
        while self._happens:
            self._happens.pop()()
        super().delete(keys)


class Refusing(LocalBlobs):
    """A folder in which nothing can be deleted."""

    def delete(self, keys: str | Iterable[str]) -> None:
        raise BlobsRefused("no object may be deleted")


def test_a_content_that_is_uploaded_anew_is_not_removed_by_a_second_sweeper(
    store: Store, blobs: Blobs, tmp_path: Path
) -> None:
    row = added(store, S.REMOVING, before=HOUR)
    key = key_of("ada", SHA)
    blobs.put(key, DATA)

    def sweep_and_send() -> None:
        swept(store, blobs, tmp_path, timedelta(0))
        if states(store, row) == [None]:  # else the server does not take the content yet
            blobs.put(key, DATA)
            added(store, S.COMPLETE)

    assert swept(store, Meanwhile(tmp_path / "blobs", sweep_and_send), tmp_path, timedelta(0)) == 1
    with store.read() as tx:
        left = [other.state for other in inputs.of_content(tx, "ada", SHA)]
    assert [(state, blobs.stat(key) is not None) for state in left] in ([], [(S.COMPLETE, True)])


def test_what_another_sweeper_has_taken_is_left_to_it(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    first, second = added(store, S.REMOVING, before=2 * HOUR), added(store, S.REMOVING, "bob", before=HOUR)

    def sweep() -> None:
        assert swept(store, Refusing(tmp_path / "blobs"), tmp_path, timedelta(0)) == 0

    assert swept(store, Meanwhile(tmp_path / "blobs", sweep), tmp_path, timedelta(0)) == 1
    assert states(store, first, second) == [None, S.REMOVING]
    assert swept(store, blobs, tmp_path, timedelta(hours=1)) == 1  # the other one could not, or was killed


@pytest.mark.parametrize("state", [S.UPLOADING, S.STORING])
def test_an_upload_that_somebody_goes_on_with_just_now_does_not_expire(
    store: Store, tmp_path: Path, state: InputState
) -> None:
    removed, expired = added(store, S.REMOVING, before=HOUR), added(store, state, "bob", before=8 * 24 * HOUR)

    def go_on() -> None:
        with store.write() as tx:
            inputs.note_bytes(tx, expired.id)

    assert swept(store, Meanwhile(tmp_path / "blobs", go_on), tmp_path, timedelta(0)) == 1
    assert states(store, removed, expired) == [None, state]


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
