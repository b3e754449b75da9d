"""Puts the files of a workflow into the directory of a run, where a version of it and outputs may already be.

``.snakeway/workflow.json`` in that directory lists the files that came from a workflow. While the files are changed
it lists those of both versions, so a kill at any point leaves a directory in which every file is known, and the same
or any other version can be put in again.

The directory belongs to the jobs of the run, which may have put links anywhere: no link is ever followed here.
"""

import contextlib
import json
import os
import posixpath
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from snakeway.errors import InvalidWorkflow
from snakeway.tree import LEFT_OUT, RECORDS, Entry, Index, hash_file, open_file
from snakeway.wire import STATE_FOLDER

_MANIFEST = "workflow.json"
_UNFINISHED = "new-"
_MANIFEST_BYTES = 64 * 1024**2
_ABANDONED_S = 3600.0  # older unfinished files were left by a crash
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Manifest:
    digest: str | None  # None while the files are changed for the first time
    files: dict[str, list[Entry]]  # what each file may contain


def materialise(snapshot: Path, index: Index, digest: str, directory: Path) -> None:
    """Make the workflow's files in ``directory`` those of ``index``; may be repeated after a kill at any point.

    Files of the version before that are not in this one are removed, unless they were changed since. A file that has
    the right content is left alone, its time too; a file of the first version keeps its time in the snapshot, and so
    does a folder that is made for it; one that replaces another content is as new as the replacement. So a re-run of
    identical files runs nothing, and a re-run of changed ones runs what depends on them, whatever the clock of the
    workflow's author said. A version that is there already is left as it is, with whatever jobs have done to its files.

    Raises InvalidWorkflow if a folder stands where the workflow has a file, or something else where it has a folder.
    """
    with _Beneath(directory) as run:
        before = run.read_manifest()
        after = _Manifest(digest, {path: [entry] for path, entry in index.items()})
        if before == after:
            return  # put in before, and whole; what jobs have done to the files since is theirs (Snakemake's update())
        # Crash after this: both versions' files are known.
        run.write_manifest(_Manifest(before.digest, _both(before, index)))
        for path in before.files.keys() - index.keys():
            run.remove(path, before.files[path])
        for path, entry in index.items():
            found = run.look(path)
            if found == entry:
                continue
            if found and entry.kind != "link" != found.kind and found.content == entry.content:
                with contextlib.suppress(PermissionError):  # the owner's own file by now: it is put there anew
                    run.set_mode(path, entry)
                    continue
            is_change = found is not None or before.digest not in (None, digest)
            modified = time.time_ns() if is_change else os.lstat(snapshot / path).st_mtime_ns
            run.put(path, entry, snapshot / path, modified)
        # Crash before this: the next time the folders are there, and stay as new as they are.
        if before.digest in (None, digest):
            for path in run.made:  # last, because what is put into a folder gives it a new time
                run.set_folder_time(path, os.lstat(snapshot / path).st_mtime_ns)
        run.write_manifest(after)


def place(directory: Path, path: str, size_bytes: int, modified: int, write: Callable[[BinaryIO], None]) -> None:
    """Put a file that ``write`` writes at ``path`` in a run's directory, for reading only.

    One of this size and time (``modified``, ns since the epoch) is left as it is: it was put there before. May be
    repeated after a kill at any point. What ``write`` raises goes through, and leaves what was there.

    Raises InvalidWorkflow as `materialise` does.
    """
    with _Beneath(directory) as run:
        if not run.is_placed(path, size_bytes, modified):
            run.put_written(path, write, modified)


def _both(before: _Manifest, index: Index) -> dict[str, list[Entry]]:
    files = {path: list(entries) for path, entries in before.files.items()}
    for path, entry in index.items():
        entries = files.setdefault(path, [])
        if entry not in entries:
            entries.append(entry)
    return files


class _Beneath:
    """The run's directory, held open: every file is reached from it folder by folder, and never through a link."""

    def __init__(self, directory: Path) -> None:
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._state = -1
        self._directory = directory
        # The directory of another account, which nobody but it and the service can enter: what the service puts there
        # must be the other's to change, and no bit keeps anybody else out.
        self._shared = os.fstat(self._root).st_uid != os.geteuid()
        self.made: list[str] = []  # folders that were not there

    def __enter__(self) -> Self:
        try:
            self._make(self._root, STATE_FOLDER)
            self._state = self._enter(self._root, STATE_FOLDER, create=True)
            self._sweep()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)
        if self._state >= 0:
            os.close(self._state)

    def look(self, path: str) -> Entry | None:
        """Return what is at ``path``; None if nothing or neither a file nor a link is."""
        try:
            with self._parent(path) as (folder, name):
                mode = os.lstat(name, dir_fd=folder).st_mode
                if stat.S_ISLNK(mode):
                    return Entry("link", os.readlink(name, dir_fd=folder))
                if not stat.S_ISREG(mode):
                    return None
                return Entry("program" if mode & stat.S_IXUSR else "file", hash_file(open_file(name, folder)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, path: str, known: list[Entry]) -> None:
        """Remove a file if it is as known, and folders that become empty by it."""
        found = self.look(path)
        if found is not None and found not in known:
            return
        if found is not None:
            with self._parent(path) as (folder, name):
                os.unlink(name, dir_fd=folder)
        # Crash here: the next time the file is gone already, and its folders are still to be looked at.
        while path := posixpath.dirname(path):
            try:
                with self._parent(path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError:  # it is not empty
                return

    def set_mode(self, path: str, entry: Entry) -> None:
        """Make a file executable or not, without a new time."""
        with self._parent(path) as (folder, name):
            descriptor = open_file(name, folder)
            try:
                os.fchmod(descriptor, self._mode(entry))
            finally:
                os.close(descriptor)

    def set_folder_time(self, path: str, modified: int) -> None:
        """Give a folder its time in ns since the epoch."""
        with self._parent(path) as (folder, name):
            os.utime(name, ns=(modified, modified), dir_fd=folder, follow_symlinks=False)

    def put(self, path: str, entry: Entry, source: Path, modified: int) -> None:
        """Put a file or link in place of whatever file or link is there. ``modified`` is in ns since the epoch.

        Crash before the rename: the old one is there still, and the new one lies unfinished in the state folder.
        """
        temporary = f"{_UNFINISHED}{secrets.token_hex(8)}"
        with self._parent(path, create=True) as (folder, name):
            if entry.kind == "link":
                os.symlink(entry.content, temporary, dir_fd=self._state)
            else:
                with os.fdopen(open_file(source), "rb") as original, self._create(temporary) as copy:
                    shutil.copyfileobj(original, copy)
                    os.fchmod(copy.fileno(), self._mode(entry))
            os.utime(temporary, ns=(modified, modified), dir_fd=self._state, follow_symlinks=False)
            try:
                os.rename(temporary, name, src_dir_fd=self._state, dst_dir_fd=folder)
            except IsADirectoryError:
                os.unlink(temporary, dir_fd=self._state)
                raise self._in_the_way(path, "a folder", "a file") from None

    def is_placed(self, path: str, size_bytes: int, modified: int) -> bool:
        """Whether a file of this size and time is at ``path``."""
        try:
            with self._parent(path) as (folder, name):
                found = os.lstat(name, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (size_bytes, modified)

    def put_written(self, path: str, write: Callable[[BinaryIO], None], modified: int) -> None:
        """Put a read-only file with what ``write`` writes, on the disk before it has its name; else as `put` does."""
        temporary = f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            with self._parent(path, create=True) as (folder, name):
                with self._create(temporary) as copy:
                    write(copy)
                    copy.flush()
                    os.fsync(copy.fileno())
                    os.fchmod(copy.fileno(), 0o444)  # the owner of the directory may be another account
                os.utime(temporary, ns=(modified, modified), dir_fd=self._state, follow_symlinks=False)
                try:
                    os.rename(temporary, name, src_dir_fd=self._state, dst_dir_fd=folder)
                except IsADirectoryError:
                    raise self._in_the_way(path, "a folder", "a file") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._state)

    def read_manifest(self) -> _Manifest:
        """Return the list of the workflow's files; an empty one if there is none or somebody spoiled it."""
        try:
            with os.fdopen(open_file(_MANIFEST, self._state), "rb") as file:
                value = json.loads(file.read(_MANIFEST_BYTES))
            files = {path: [Entry(*entry) for entry in entries] for path, entries in value["files"].items()}
            digest = value["digest"]
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return _Manifest(None, {})
        return _Manifest(digest, {path: entries for path, entries in files.items() if _is_below(path)})

    def write_manifest(self, manifest: _Manifest) -> None:
        files = {path: [[entry.kind, entry.content] for entry in entries] for path, entries in manifest.files.items()}
        temporary = f"{_UNFINISHED}{secrets.token_hex(8)}"
        with self._create(temporary) as file:
            file.write(json.dumps({"digest": manifest.digest, "files": files}).encode())
        os.rename(temporary, _MANIFEST, src_dir_fd=self._state, dst_dir_fd=self._state)

    @contextlib.contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of ``path`` and yield it with the last part of the path.

        Raises FileNotFoundError or NotADirectoryError, or InvalidWorkflow with ``create``.
        """
        *folders, name = path.split("/")
        here = os.dup(self._root)
        try:
            for depth, folder in enumerate(folders, 1):
                if create and self._make(here, folder):
                    self.made.append("/".join(folders[:depth]))
                below = self._enter(here, folder, create=create)
                os.close(here)
                here = below
            yield here, name
        finally:
            os.close(here)

    def _enter(self, here: int, folder: str, *, create: bool) -> int:
        try:
            return os.open(folder, _FOLDER, dir_fd=here)
        except NotADirectoryError:  # a link as well
            if create:
                raise self._in_the_way(folder, "a file or link", "a folder") from None
            raise

    def _make(self, here: int, folder: str) -> bool:
        """Make a folder; returns whether it was not there."""
        try:
            os.mkdir(folder, 0o755, dir_fd=here)
        except FileExistsError:
            return False
        if self._shared:
            made = self._enter(here, folder, create=True)
            try:
                os.fchmod(made, 0o2777)  # with the group that it has inherited
            finally:
                os.close(made)
        return True

    def _mode(self, entry: Entry) -> int:
        return (0o755 if entry.kind == "program" else 0o644) | (0o022 if self._shared else 0)

    @contextlib.contextmanager
    def _create(self, name: str) -> Iterator[BinaryIO]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o644, dir_fd=self._state), "wb") as file:
            yield file

    def _sweep(self) -> None:
        for name in os.listdir(self._state):  # noqa: PTH208 - of a descriptor
            if name.startswith(_UNFINISHED):
                with contextlib.suppress(OSError):
                    if os.lstat(name, dir_fd=self._state).st_mtime < time.time() - _ABANDONED_S:
                        os.unlink(name, dir_fd=self._state)

    def _in_the_way(self, path: str, found: str, wanted: str) -> InvalidWorkflow:
        return InvalidWorkflow(
            f"{self._directory}: {path} is {found} where the workflow has {wanted}; move it away and re-run, "
            "or submit a new run"
        )


def _is_below(path: str) -> bool:
    """Whether a path from a manifest, which a job may have written, stays inside and out of Snakeway's own folder."""
    name = path.removeprefix(f"{RECORDS}/")
    return "\0" not in name and not LEFT_OUT.union(("", ".", "..")).intersection(name.split("/"))
