"""Objects as files of a folder.

    FOLDER/objects/a/b.blob   the object with the key a/b
    FOLDER/new/               what is being written

A file gets its place when it is complete and on the disk, by a rename, so nobody sees half of one and a crash leaves
none. The names of files and folders differ, since there may be objects with the keys ``a`` and ``a/b``.
"""

import errno
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

from snakeway import ids
from snakeway.blobs.base import CHUNK_BYTES, Blob, Blobs, Chunks, Data, Measured, Written, check_expiry, part_of
from snakeway.errors import BlobExists, BlobNotFound, BlobsRefused, BlobsUnavailable
from snakeway.model.blob import check_key, check_prefix

_FILE = ".blob"
_FOLDER_LIKE_FILE = re.compile(rf"{re.escape(_FILE)}-*$")
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
_TRIES = 20  # to write into a folder that others remove because it is empty


class LocalBlobs(Blobs):
    """Object storage in a folder, which is made with the first object; nobody else may write there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._objects = folder / "objects"
        self._new = folder / "new"

    def put(self, key: str, data: Data, *, only_new: bool = False) -> Written:
        path = self._path(key)
        if only_new and self.stat(key) is not None:  # before all of it is written in vain
            raise _exists(key)
        measured = Measured(data)
        with self._explained():
            for folder in (self.folder, self._new):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self._new / ids.new_id()
            file = os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        try:
            with file:
                for chunk in measured:
                    with self._explained():
                        _write(file.fileno(), chunk)
                with self._explained():
                    os.fsync(file.fileno())
            with self._explained():
                self._settle(fresh, path, key, only_new)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
        return measured.written

    def _settle(self, fresh: Path, path: Path, key: str, only_new: bool) -> None:
        for _ in range(_TRIES):
            _make_folders(path.parent, self.folder)
            try:
                if only_new:
                    os.link(fresh, path)  # unlike a rename it never replaces
                else:
                    fresh.replace(path)
            except FileExistsError as error:
                raise _exists(key) from error
            except FileNotFoundError:
                continue  # somebody has deleted the last other object of the folder, and the folder
            _sync(path.parent)
            return
        raise BlobsUnavailable(f"cannot store {key}: its folder in {self.folder} vanishes; try again in a moment")

    def stream(self, key: str, *, first: int = 0, length: int | None = None) -> Chunks:
        path = self._path(key)
        with self._explained():
            try:
                file = path.open("rb")
            except FileNotFoundError as error:
                raise BlobNotFound(f"there is no object {key} in {self.folder}") from error
        try:
            with self._explained():
                blob = _blob(key, os.fstat(file.fileno()))
                size = part_of(blob, first, length)
                file.seek(first)
        except BaseException:
            file.close()
            raise
        return Chunks(blob, size, self._read(file, size), file.close)

    def _read(self, file: BufferedReader, size: int) -> Generator[bytes]:
        while size:
            with self._explained():
                chunk = file.read(min(CHUNK_BYTES, size))
            if not chunk:
                raise BlobsUnavailable(f"an object in {self.folder} ends too early; check the disk")
            size -= len(chunk)
            yield chunk

    def stat(self, key: str) -> Blob | None:
        with self._explained():
            try:
                return _blob(key, self._path(key).stat())
            except FileNotFoundError:
                return None

    def list(self, prefix: str = "") -> Iterator[Blob]:
        folder, _, begin = check_prefix(prefix).rpartition("/")
        names = folder.split("/") if folder else []
        yield from self._walk(self._objects.joinpath(*map(_folder_name, names)), "".join(f"{n}/" for n in names), begin)

    def _walk(self, folder: Path, above: str, begin: str) -> Iterator[Blob]:
        with self._explained():
            try:
                with os.scandir(folder) as entries:
                    found = sorted(filter(None, map(_entry, entries)))
            except FileNotFoundError:
                return
        for name, path in found:
            key = above + os.fsdecode(name)
            if not key.startswith(above + begin):
                continue
            if key.endswith("/"):
                yield from self._walk(path, key, "")
            else:
                with self._explained(), suppress(FileNotFoundError):
                    yield _blob(key, path.stat())

    def delete(self, keys: str | Iterable[str]) -> None:
        for key in [keys] if isinstance(keys, str) else keys:
            path = self._path(key)
            with self._explained():
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue
                _sync(path.parent)
            with suppress(OSError):  # not empty
                for folder in path.parents:
                    if folder == self._objects:
                        break
                    folder.rmdir()

    def presigned_url(self, key: str, expires_s: int, download_name: str | None = None) -> str | None:  # noqa: ARG002
        check_key(key)
        check_expiry(expires_s)
        return None

    def _path(self, key: str) -> Path:
        *folders, name = check_key(key).split("/")
        return self._objects.joinpath(*map(_folder_name, folders), name + _FILE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _REFUSALS:
                raise BlobsRefused(
                    f"the folder {self.folder} cannot be used ({error.strerror}); give the server's account the right "
                    "to write there"
                ) from error
            raise BlobsUnavailable(
                f"the folder {self.folder} does not work ({error.strerror}); check its disk, then try again"
            ) from error


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _exists(key: str) -> BlobExists:
    return BlobExists(f"there is an object {key} already; it was left as it is")


def _folder_name(part: str) -> str:
    """Name a folder so that it cannot be taken for a file: a name that ends as files do gets one more dash."""
    return f"{part}-" if _FOLDER_LIKE_FILE.search(part) else part


def _entry(entry: "os.DirEntry[str]") -> tuple[bytes, Path] | None:
    """Return the last part of a key and where it leads, as bytes that sort as keys do; None for what is not ours."""
    if entry.name.endswith(_FILE):
        return os.fsencode(entry.name.removesuffix(_FILE)), Path(entry.path)
    if not entry.is_dir(follow_symlinks=False):
        return None
    part = entry.name[:-1] if _FOLDER_LIKE_FILE.search(entry.name) else entry.name
    return os.fsencode(f"{part}/"), Path(entry.path)


def _blob(key: str, status: os.stat_result) -> Blob:
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return Blob(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), etag)


def _make_folders(folder: Path, root: Path) -> None:
    """Make a folder and those above it, down from ``root``, which is there; their names are on the disk as well."""
    missing = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        # The next try makes it again: others may take it away, or make it, between any two steps of this.
        with suppress(FileNotFoundError, FileExistsError):
            each.mkdir(exist_ok=True, mode=0o700)
            _sync(each.parent)


def _sync(folder: Path) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # deleted meanwhile, with nothing in it
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
