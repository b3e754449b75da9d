"""Writes the files of a commit into a folder, as they are in the repository: no filters, no substitutions.

Written file by file, not with ``git archive`` or a checkout, because those apply filters and attributes that depend
on the server's configuration. What a tree says is not trusted: it may have been made by hand. Submodules and files
in Git LFS are not followed; of the latter the pointer is written.
"""

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from snakeway.catalog.gitcommand import Git, GitError, open_unlinked
from snakeway.catalog.gitsource import GitSource
from snakeway.catalog.snapshot import finish_file, set_time
from snakeway.catalog.tree import LEFT_OUT, MAX_BYTES, MAX_FILES, folders_of
from snakeway.errors import InvalidWorkflow, WorkflowNotFound

_COMMITTED = re.compile(rb"^committer .*> (\d{1,12}) ", re.MULTILINE)
_CHUNK = 1024 * 1024
_MAX_LINK = 4096  # PATH_MAX of Linux


@dataclass(frozen=True, slots=True)
class _Item:
    mode: int
    oid: str
    size: int
    path: str


def export(git: Git, commit: str, source: GitSource, destination: Path) -> None:
    """Write the files below ``source.path`` at ``commit`` into an empty folder, with the commit's time.

    Raises:
        WorkflowNotFound: there is no such folder.
        InvalidWorkflow: it is too large, or has names or links that lead out of it.
        GitError: git cannot read its objects.

    """
    modified = min(_committed_at(git, commit), time.time_ns())
    items = _list(git, commit, source)
    # Links last: until then no folder that is written into can be one.
    items.sort(key=lambda item: stat.S_ISLNK(item.mode))
    with open_unlinked() as wanted:
        wanted.write("".join(f"{item.oid}\n" for item in items).encode())
        wanted.seek(0)
        with git.start("cat-file", "--batch", "--buffer", given=wanted) as process:
            assert process.stdout is not None
            for item in items:
                _write(process.stdout, item, destination, modified)
    _check_links(destination, [item.path for item in items if stat.S_ISLNK(item.mode)])
    for folder in folders_of(item.path for item in items):
        set_time(destination / folder, modified)


def _list(git: Git, commit: str, source: GitSource) -> list[_Item]:
    try:
        output = git.run("ls-tree", "-r", "-z", "-l", "--full-tree", f"{commit}:{source.path}")
    except GitError:
        if source.path:
            raise WorkflowNotFound(
                f"{source.shown} has no folder {source.path!r} at {commit}; check the path"
            ) from None
        raise
    items = list(_items(output))
    size = sum(item.size for item in items)
    if len(items) > MAX_FILES or size > MAX_BYTES:
        raise InvalidWorkflow(
            f"the workflow has {len(items)} files of {size >> 20} MiB; at most {MAX_FILES} and {MAX_BYTES >> 20} MiB "
            "are taken, so keep large data elsewhere"
        )
    return items


def _items(output: bytes) -> Iterator[_Item]:
    for line in output.split(b"\0")[:-1]:
        facts, _, name = line.partition(b"\t")
        mode, kind, oid, size = facts.decode().split()
        path = os.fsdecode(name)
        parts = path.split("/")
        if any(part.lower() in ("", ".", "..", ".git") for part in parts):
            raise InvalidWorkflow(f"the repository has a file {path!r}, whose name leads out of it; remove that file")
        if kind == "blob" and not LEFT_OUT.intersection(parts):
            yield _Item(int(mode, 8), oid, int(size), path)


def _committed_at(git: Git, commit: str) -> int:
    """Return a commit's time in ns since the epoch, 0 if it is not a time that files can have."""
    found = _COMMITTED.search(git.run("cat-file", "commit", commit))
    return int(found[1]) * 10**9 if found else 0


def _write(stream: IO[bytes], item: _Item, destination: Path, modified: int) -> None:
    header = stream.readline().split()
    if header[1:] != [b"blob", str(item.size).encode()]:
        raise GitError(f"unable to read object {item.oid}")
    target = destination / item.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(item.mode):
            _link(stream.read(item.size) if item.size <= _MAX_LINK else b"", item.path, target)
            set_time(target, modified)
        else:
            with target.open("xb") as file:
                _copy(stream, file, item)
                finish_file(file, program=bool(item.mode & stat.S_IXUSR), modified=modified)
    except (FileExistsError, NotADirectoryError):
        raise InvalidWorkflow(f"the repository has two files named {item.path!r}; remove one of them") from None
    stream.read(1)  # the newline behind the content


def _copy(stream: IO[bytes], file: BinaryIO, item: _Item) -> None:
    left = item.size
    while left:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            raise GitError(f"unable to read object {item.oid}")
        file.write(chunk)
        left -= len(chunk)


def _link(content: bytes, path: str, target: Path) -> None:
    if not content or b"\0" in content:
        raise InvalidWorkflow(f"the link {path!r} leads nowhere; correct it")
    if content.startswith(b"/"):
        raise InvalidWorkflow(f"the link {path!r} has an absolute path; make it lead to a file of the repository")
    target.symlink_to(os.fsdecode(content))


def _check_links(folder: Path, links: list[str]) -> None:
    """Refuse links that lead out, also by way of other links. None of them is absolute."""
    root = os.path.realpath(folder)
    for path in links:
        end = os.path.realpath(f"{root}/{path}")
        if end != root and not end.startswith(f"{root}/"):
            raise InvalidWorkflow(f"the link {path!r} leads out of the workflow; make it lead to a file in it")
