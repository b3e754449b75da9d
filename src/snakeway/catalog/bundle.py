"""Unpacks a workflow that somebody has packed: tar (plain, gzip or bzip2) or zip. Nothing in it is trusted.

An archive of some kilobytes can claim a million files or unpack to terabytes, in its files as in its headers, and some
take Python's own readers hours or gigabytes. So what is unpacked is counted as it comes, and all of it happens in a
process of its own (``python -m snakeway.catalog.bundle FOLDER``, the archive on standard input) whose memory and time
are limited. There is no xz: its header says how much memory it takes, up to 4 GiB.
"""

import bz2
import errno
import gzip
import json
import logging
import os
import resource
import secrets
import stat
import struct
import subprocess
import sys
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
from snakeway.tree import MAX_BYTES, MAX_FILES

log = logging.getLogger(__name__)

_ARCHIVE = "the archive"
_MAX_HEADER = 1024 * 1024  # bytes that are asked for at once; what tarfile reads so is a header
_MAX_UNPACKED = MAX_BYTES + MAX_FILES * 4096  # with headers and padding
_MAX_ENTRIES = 4 * MAX_FILES  # with folders, and what is left out
_BLOCK = 512
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_END_SIGN, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_ZIP_LONGEST_COMMENT = 65_535
_ZIP_LIST_BYTES = 8 * 1024 * 1024
_MAC = frozenset({"__MACOSX", ".DS_Store"})  # what packing in its Finder adds
# What tarfile and zipfile raise about archives; the last four where they did not expect what they read.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    LookupError,
)

_MEMORY_BYTES = 1024**3  # address space, most of it Python's own
_CPU_S = 120
_TIMEOUT_S = 600.0
_INVALID, _CANNOT_WRITE = 3, 4  # exit codes
_TOO_MUCH = f"{_ARCHIVE} takes more memory or time to unpack than a workflow should; pack it again"


def unpack(archive: BinaryIO, destination: Path) -> None:
    """Write the files of an archive into an empty folder; a folder around all of them is left out.

    ``archive`` is a real file. Raises InvalidWorkflow if it is no archive, too large, without a Snakefile, or has names
    or links that lead out of it or anything but files, folders and links; and OSError.
    """
    archive.flush()
    archive.seek(0)
    try:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-m", __name__, str(destination)],
            stdin=archive.fileno(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidWorkflow(_TOO_MUCH) from None
    if done.returncode == _INVALID:
        raise InvalidWorkflow(json.loads(done.stdout)["detail"])
    if done.returncode == _CANNOT_WRITE:
        number, path = json.loads(done.stdout)["errno"], str(destination)
        raise OSError(number, os.strerror(number), path)
    if done.returncode != 0:
        log.warning("an archive could not be unpacked (%d): %s", done.returncode, done.stderr[-1000:])
        raise InvalidWorkflow(_TOO_MUCH)


def unpack_here(archive: BinaryIO, destination: Path) -> None:
    """Do the same in this process, without limits to memory and time."""
    landing = Landing(destination, _ARCHIVE, records=True)
    try:
        archive.seek(0)
        head = archive.read(3)
        archive.seek(0)
        newest = _unzip(archive, landing) if head.startswith(b"PK") else _untar(_unpacked(archive, head), landing)
        _check_snakefile(landing)
        landing.finish(newest)
    except _BROKEN as error:
        raise InvalidWorkflow(f"this is no whole tar or zip archive: {error}; pack and send it again") from None
    except RuntimeError as error:  # zipfile's for a password or compression, tarfile's for endless headers
        raise InvalidWorkflow(f"{_ARCHIVE} cannot be unpacked: {error}; pack it in another way") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place in the archive that cannot be
            raise
        raise InvalidWorkflow(f"{_ARCHIVE} is damaged; pack and send it again") from None


def _check_snakefile(landing: Landing) -> None:
    """Move everything up if it lies in one folder, which is how most people pack. Raises InvalidWorkflow."""
    if not landing.paths.isdisjoint(SNAKEFILES):
        return
    outer = {path.partition("/")[0] for path in landing.paths}
    if len(outer) == 1:
        name = outer.pop()
        if not landing.paths.isdisjoint(f"{name}/{choice}" for choice in SNAKEFILES):
            landing.lift(name, f".{secrets.token_hex(8)}")
            return
    raise InvalidWorkflow(f"{_ARCHIVE} has no Snakefile; looked for {', '.join(SNAKEFILES)}")


class _Bounded:
    """What comes out of a decompressor, up to a length, and never much at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self.last = b""  # what was read last

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise InvalidWorkflow(f"{_ARCHIVE} has a header of more than {_MAX_HEADER >> 10} KiB; pack it again")
        try:
            data = self._file.read(size)
        except OSError as error:  # gzip and bz2: what they read is not theirs
            raise EOFError(str(error)) from error
        self.last = data
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
    newest, now, bounded = 0, time.time_ns(), _Bounded(file)
    with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as archive:
        for count, member in enumerate(_members(archive)):
            _check_count(count)
            path = _path(member.name)
            if member.isdir() or _is_macs(path) or not landing.wants(path):
                continue
            modified = _time(member.mtime, now)
            newest = max(newest, modified)
            if member.issym():
                landing.link(path, os.fsencode(member.linkname), modified=modified)
            elif member.isreg() and not member.issparse():
                content = archive.extractfile(member)
                assert content is not None
                program = bool(member.mode & stat.S_IXUSR)
                landing.file(path, pieces(cast("BinaryIO", content)), program=program, modified=modified)
            else:
                raise InvalidWorkflow(
                    f"{_ARCHIVE} has {path!r}, which is neither file, folder nor symbolic link; leave it out"
                )
    if bounded.last != bytes(_BLOCK):  # to tarfile, a damaged header is an end as well
        raise tarfile.ReadError("it is damaged, or ends early")
    while bounded.read(_MAX_HEADER):  # what is behind the end; then the decompressor knows whether all was whole
        pass
    return newest


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # it would remember all of them


def _unzip(file: BinaryIO, landing: Landing) -> int:
    size = _check_zip_list(file)
    newest, now = 0, time.time_ns()
    with zipfile.ZipFile(file) as archive:
        if sum(member.compress_size for member in archive.infolist()) > size:
            raise zipfile.BadZipFile("its files lie over one another")
        for count, member in enumerate(archive.infolist()):
            _check_count(count)
            path = _path(member.filename)
            if member.is_dir() or _is_macs(path) or not landing.wants(path):
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(f"the compression of {path!r} is not known here")
            mode = member.external_attr >> 16
            modified = _zip_time(member, now)
            newest = max(newest, modified)
            with archive.open(member) as content:
                if stat.S_ISLNK(mode):
                    landing.link(path, content.read(MAX_LINK + 1), modified=modified)
                else:
                    program = bool(mode & stat.S_IXUSR)
                    landing.file(path, pieces(cast("BinaryIO", content)), program=program, modified=modified)
    return newest


def _check_zip_list(file: BinaryIO) -> int:
    """Refuse a list of entries that is too long before zipfile reads it; returns the archive's size.

    The list is found in the way of zipfile: its end is behind everything but a comment. The longer format of the list
    (zip64) is refused, which an archive of such files does not need.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_LONGEST_COMMENT - _ZIP_END.size - _ZIP64_LOCATOR_BYTES))
    end = file.read()
    at = end.rfind(_ZIP_END_SIGN)
    if at < 0 or len(end) - at < _ZIP_END.size:
        raise zipfile.BadZipFile("it ends early")
    entries, list_bytes = _ZIP_END.unpack_from(end, at)[4:6]
    before = end[max(0, at - _ZIP64_LOCATOR_BYTES) : at]
    if entries > _MAX_ENTRIES or list_bytes > _ZIP_LIST_BYTES or before.startswith(_ZIP64_LOCATOR):
        raise _too_many()
    file.seek(0)
    return size


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


def _is_macs(path: str) -> bool:
    return not _MAC.isdisjoint(path.split("/"))


def _time(seconds: float, now: int) -> int:
    """Return a time in ns since the epoch; not one after ``now``, which Snakemake would take for newer than outputs."""
    return min(max(0, int(seconds * 1e9)), now) if abs(seconds) < now else 0


def _zip_time(member: zipfile.ZipInfo, now: int) -> int:
    try:
        return _time(datetime(*member.date_time, tzinfo=UTC).timestamp(), now)
    except ValueError:  # no such day
        return 0


def main() -> int:
    """Unpack standard input into a folder, within limits."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    try:
        with os.fdopen(0, "rb") as archive:
            unpack_here(archive, Path(sys.argv[1]))
    except InvalidWorkflow as problem:
        json.dump({"detail": problem.detail}, sys.stdout)
        return _INVALID
    except OSError as error:
        json.dump({"errno": error.errno or errno.EIO}, sys.stdout)
        return _CANNOT_WRITE
    return 0


if __name__ == "__main__":
    sys.exit(main())
