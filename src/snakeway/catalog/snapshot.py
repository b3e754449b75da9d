"""Copies of workflows that never change, each in a folder named by the digest of its files.

A run keeps the version it was submitted with, whatever happens to the folder or repository it came from. The folder
of a snapshot appears by one rename, so it is there whole or not at all; whoever comes second throws his copy away.
"""

import contextlib
import errno
import functools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from snakeway.errors import InvalidWorkflow, Unavailable, WorkflowNotFound
from snakeway.tree import Index, Tree, folders_of, open_file

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UNFINISHED = ".new-"
_ABANDONED_S = 3600.0  # older unfinished copies were left by a crash
_REMEMBERED = 256  # lists of files kept in memory


class Snapshots:
    """The snapshots below one folder. Any number of threads and processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.index: Callable[[str], Index] = functools.lru_cache(_REMEMBERED)(self._read)

    def __contains__(self, digest: str) -> bool:
        return self._place(digest).is_dir()

    def path(self, digest: str) -> Path:
        """Return the folder of a snapshot. Raises WorkflowNotFound if there is none."""
        place = self._place(digest)
        if not place.is_dir():
            raise WorkflowNotFound(
                f"the stored workflow {digest} is not in {self._folder}; submit the workflow again as a new run"
            )
        return place

    def add(self, fill: Callable[[Path], None], expected: str | None = None) -> str:
        """Store what ``fill`` writes into an empty folder, and return its digest.

        With ``expected``, a copy of another digest is thrown away. Raises what ``fill`` raises, and Unavailable if
        the copy cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            copy = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        except OSError as error:
            raise _cannot_store(self._folder, error) from None
        try:
            # A crash from here on leaves the unfinished copy, which _sweep removes.
            fill(copy)
            digest, index = Tree(copy, ignoring=False).read()
            if expected in (None, digest):
                self._publish(copy, digest, index)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _cannot_store(self._folder, error) from None
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return digest

    def _publish(self, copy: Path, digest: str, index: Index) -> None:
        # Otherwise a power failure could leave empty files in a folder whose name says what they contain. All at the
        # end, because the first call brings most of them to the disk together.
        for path, entry in index.items():
            if entry.kind != "link":
                _sync(copy / path)
        for folder, _, _ in os.walk(copy):
            _sync(folder)
        try:
            copy.rename(self._place(digest))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _sync(self._folder)

    def _sweep(self) -> None:
        for entry in os.scandir(self._folder):
            if entry.name.startswith(_UNFINISHED):
                with contextlib.suppress(FileNotFoundError):  # its owner has finished it
                    if entry.stat().st_mtime < time.time() - _ABANDONED_S:
                        shutil.rmtree(entry.path, ignore_errors=True)

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise WorkflowNotFound(f"{digest!r} is not the digest of a workflow, which is sha256: and 64 hex digits")
        return self._folder / digest.removeprefix("sha256:")

    def _read(self, digest: str) -> Index:
        """Return the files of a snapshot, each checked against the digest.

        Raises WorkflowNotFound, and InvalidWorkflow if somebody changed the snapshot.
        """
        path = self.path(digest)
        found, index = Tree(path, ignoring=False).read()
        if found != digest:
            raise InvalidWorkflow(f"the stored workflow in {path} was changed; remove that folder and submit again")
        return index


def copy_tree(root: Path, index: Index, destination: Path) -> None:
    """Copy the files of ``index``, and nothing else, with their times and those of their folders.

    Snakemake compares the times of links and folders too. Raises OSError if one is gone or unreadable.
    """
    for path, entry in index.items():
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "link":
            target.symlink_to(entry.content)
            set_time(target, os.lstat(root / path).st_mtime_ns)
            continue
        with os.fdopen(open_file(root / path), "rb") as source:
            modified = os.fstat(source.fileno()).st_mtime_ns
            with target.open("xb") as copy:
                shutil.copyfileobj(source, copy)
                finish_file(copy, program=entry.kind == "program", modified=modified)
    for folder in folders_of(index):  # when they are filled: what is put into a folder gives it a new time
        set_time(destination / folder, os.lstat(root / folder).st_mtime_ns)


def finish_file(file: IO[bytes], *, program: bool, modified: int) -> None:
    """Give a file of a snapshot, wholly written, its mode and its time in ns since the epoch."""
    file.flush()  # what is written later would give it a later time
    descriptor = file.fileno()
    os.fchmod(descriptor, 0o555 if program else 0o444)
    os.utime(descriptor, ns=(modified, modified))


def set_time(path: Path, modified: int) -> None:
    """Give a link, not what it leads to, or a folder its time in ns since the epoch."""
    os.utime(path, ns=(modified, modified), follow_symlinks=False)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_store(folder: Path, error: OSError) -> Unavailable:
    place = error.filename or folder
    return Unavailable(f"the workflow cannot be stored: {place}: {error.strerror}; make room, or make it writable")
