"""Unpacks a workflow that somebody has packed: tar (plain, gzip or bzip2) or zip. Nothing in it is trusted.

An archive of some kilobytes can claim a million files or unpack to terabytes, in its files as in its headers. So what
is unpacked is counted as it comes, headers are read only up to a length, and the list of a zip file, which would be
read as a whole, is looked at before. There is no xz: its header says how much memory it takes, up to 4 GiB.
"""

import bz2
import errno
import gzip
import os
import secrets
import shutil
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, cast

from snakeway.catalog.landing import MAX_LINK, Landing, pieces
from snakeway.catalog.workflow import SNAKEFILES
from snakeway.errors import InvalidWorkflow
from snakeway.tree import LEFT_OUT, MAX_BYTES, MAX_FILES

_ARCHIVE = "the archive"
_MAX_HEADER = 1024 * 1024  # bytes that are asked for at once; what tarfile reads so is a header
_MAX_UNPACKED = MAX_BYTES + MAX_FILES * 4096  # with headers and padding
_MAX_ENTRIES = 4 * MAX_FILES  # with folders, and what is left out
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_END_SIGN = b"PK\x05\x06"
_ZIP_LONGEST_COMMENT = 65_535
_ZIP_LIST_BYTES = 8 * 1024 * 1024
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError)


def unpack(archive: BinaryIO, destination: Path) -> None:
    """Write the files of an archive, which can seek, into an empty folder; a folder around all of them is left out.

    Raises InvalidWorkflow if it is no archive, too large, without a Snakefile, or has names or links that lead out of
    it or anything but files, folders and links; and OSError.
    """
    landing = Landing(destination, _ARCHIVE)
    try:
        archive.seek(0)
        head = archive.read(3)
        archive.seek(0)
        newest = _unzip(archive, landing) if head.startswith(b"PK") else _untar(_unpacked(archive, head), landing)
    except _BROKEN as error:
        raise InvalidWorkflow(f"this is no whole tar or zip archive: {error}; pack and send it again") from None
    except RuntimeError as error:  # zipfile's for a password or compression, tarfile's for endless headers
        raise InvalidWorkflow(f"{_ARCHIVE} cannot be unpacked: {error}; pack it in another way") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place in the archive that cannot be
            raise
        raise InvalidWorkflow(f"{_ARCHIVE} is damaged; pack and send it again") from None
    landing.finish(newest)
    _without_outer_folder(destination)


class _Bounded:
    """What comes out of a decompressor, up to a length, and never much at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise InvalidWorkflow(f"{_ARCHIVE} has a header of more than {_MAX_HEADER >> 10} KiB; pack it again")
        try:
            data = self._file.read(size)
        except OSError as error:  # gzip and bz2: what they read is not theirs
            raise EOFError(str(error)) from error
        self._at += len(data)
        if self._at > _MAX_UNPACKED:
            raise InvalidWorkflow(f"{_ARCHIVE} unpacks to more than {MAX_BYTES >> 20} MiB; keep large data elsewhere")
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        """Go forward, which is all that reading a tar archive in order needs."""
        if offset < self._at:
            raise tarfile.ReadError("it is not in order")
        while self._at < offset:
            if not self.read(min(offset - self._at, _MAX_HEADER)):
                raise EOFError("it ends early")
        return self._at


def _unpacked(archive: BinaryIO, head: bytes) -> IO[bytes]:
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=archive, mode="rb"))
    if head.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(archive))
    return archive


def _untar(file: IO[bytes], landing: Landing) -> int:
    newest, bounded = 0, _Bounded(file)
    with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as archive:
        for count, member in enumerate(_members(archive)):
            _check_count(count)
            path = _path(member.name)
            if member.isdir() or not landing.wants(path):
                continue
            modified = _time(member.mtime)
            newest = max(newest, modified)
            if member.issym():
                landing.link(path, os.fsencode(member.linkname), modified=modified)
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                landing.file(
                    path, pieces(cast("BinaryIO", content)), program=bool(member.mode & 0o100), modified=modified
                )
            else:
                raise InvalidWorkflow(
                    f"{_ARCHIVE} has {path!r}, which is neither file, folder nor symbolic link; leave it out"
                )
    while bounded.read(_MAX_HEADER):  # what is behind the end; then the decompressor knows whether all was whole
        pass
    return newest


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # it would remember all of them


def _unzip(file: BinaryIO, landing: Landing) -> int:
    _check_zip_list(file)
    newest = 0
    with zipfile.ZipFile(file) as archive:
        for count, member in enumerate(archive.infolist()):
            _check_count(count)
            path = _path(member.filename)
            if member.is_dir() or not landing.wants(path):
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(f"the compression of {path!r} is not known here")
            mode = member.external_attr >> 16
            modified = _zip_time(member)
            newest = max(newest, modified)
            with archive.open(member) as content:
                if stat.S_ISLNK(mode):
                    landing.link(path, content.read(MAX_LINK + 1), modified=modified)
                else:
                    program = bool(mode & stat.S_IXUSR)
                    landing.file(path, pieces(cast("BinaryIO", content)), program=program, modified=modified)
    return newest


def _check_zip_list(file: BinaryIO) -> None:
    """Refuse a list of entries that is too long before zipfile reads it; it finds the list in the same way."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_LONGEST_COMMENT - _ZIP_END.size))
    end = file.read()
    at = end.rfind(_ZIP_END_SIGN)
    if at < 0 or len(end) - at < _ZIP_END.size:
        raise zipfile.BadZipFile("it ends early")
    entries, list_bytes = _ZIP_END.unpack_from(end, at)[4:6]
    if entries > _MAX_ENTRIES or list_bytes > _ZIP_LIST_BYTES:  # 0xFFFF and 0xFFFFFFFF: in the longer zip64 format
        raise _too_many()
    file.seek(0)


def _check_count(count: int) -> None:
    if count >= _MAX_ENTRIES:
        raise _too_many()


def _too_many() -> InvalidWorkflow:
    return InvalidWorkflow(f"{_ARCHIVE} has more than {MAX_FILES} files; keep data elsewhere")


def _path(name: str) -> str:
    """Return a member's name as a path; tar begins names with ``./``, and ends folders with a slash."""
    while name.startswith("./"):
        name = name[2:]
    return name.rstrip("/") or "."


def _time(seconds: float) -> int:
    """Return a time in ns since the epoch; not one in the future, which Snakemake would take for newer than outputs."""
    now = time.time_ns()
    return min(max(0, int(seconds * 1e9)), now) if abs(seconds) < now else 0


def _zip_time(member: zipfile.ZipInfo) -> int:
    try:
        return _time(datetime(*member.date_time, tzinfo=UTC).timestamp())
    except ValueError:  # no such day
        return 0


def _without_outer_folder(destination: Path) -> None:
    """Move everything up if it lies in one folder, which is how most people pack. Raises InvalidWorkflow."""
    if any((destination / choice).is_file() for choice in SNAKEFILES):
        return
    inside = [entry for entry in destination.iterdir() if entry.name not in LEFT_OUT]
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        outer = inside[0].rename(destination / f".{secrets.token_hex(8)}")
        if any((outer / choice).is_file() for choice in SNAKEFILES):
            for entry in list(outer.iterdir()):
                entry.rename(destination / entry.name)
            shutil.rmtree(outer)
            return
    raise InvalidWorkflow(f"{_ARCHIVE} has no Snakefile; looked for {', '.join(SNAKEFILES)}")
