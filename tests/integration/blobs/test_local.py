"""What only storage in a folder can do wrong: crashes, rights, full disks."""

import errno
import os
import stat
from pathlib import Path

import pytest

from snakeway.blobs.local import LocalBlobs
from snakeway.errors import BlobsRefused, BlobsUnavailable


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "deep" / "blobs")


def files(blobs: LocalBlobs) -> list[str]:
    return sorted(str(path.relative_to(blobs.folder)) for path in blobs.folder.rglob("*") if path.is_file())


def test_what_lies_where(blobs: LocalBlobs) -> None:
    blobs.put("a/b", b"")
    blobs.put("a.blob/b", b"")
    assert files(blobs) == ["objects/a.blob-/b.blob", "objects/a/b.blob"]
    blobs.delete(["a/b", "a.blob/b"])
    assert list((blobs.folder / "objects").iterdir()) == []


def test_nobody_else_can_read(blobs: LocalBlobs) -> None:
    before = os.umask(0)
    try:
        blobs.put("a/b", b"")
    finally:
        os.umask(before)
    for path in (blobs.folder, *blobs.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_failed_write_leaves_nothing(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    blobs.put("old", b"old")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(BlobsUnavailable, match="No space left"):
        blobs.put("old", b"new")
    monkeypatch.undo()
    assert files(blobs) == ["objects/old.blob"]
    assert blobs.get("old") == b"old"


def test_what_a_crash_left_is_not_listed(blobs: LocalBlobs) -> None:
    blobs.put("k", b"")
    (blobs.folder / "new" / "half").write_bytes(b"half of it")
    (blobs.folder / "objects" / "stray").write_bytes(b"not ours")
    assert [blob.key for blob in blobs.list()] == ["k"]


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BlobsUnavailable, match="check its disk"):
        LocalBlobs(tmp_path / "file").put("k", b"")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BlobsRefused, match="give the server's account the right"):
        LocalBlobs(tmp_path / "blobs").put("k", b"")


def test_a_file_that_ends_too_early(blobs: LocalBlobs) -> None:
    blobs.put("k", b"0123456789")
    with blobs.stream("k") as chunks:
        os.truncate(blobs.folder / "objects" / "k.blob", 4)
        with pytest.raises(BlobsUnavailable, match="too early"):
            list(chunks)
