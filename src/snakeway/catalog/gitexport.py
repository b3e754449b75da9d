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
from typing import IO

from snakeway.catalog.gitcommand import Git, GitError, open_unlinked
from snakeway.catalog.gitsource import GitSource
from snakeway.catalog.landing import MAX_LINK, Landing
from snakeway.errors import InvalidWorkflow, WorkflowNotFound
from snakeway.tree import MAX_BYTES, MAX_FILES

_COMMITTED = re.compile(rb"^committer .*> (\d{1,12}) ", re.MULTILINE)
_CHUNK = 1024 * 1024


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
    landing = Landing(destination, "the repository")
    items = _list(git, commit, source, landing)
    with open_unlinked() as wanted:
        wanted.write("".join(f"{item.oid}\n" for item in items).encode())
        wanted.seek(0)
        with git.start("cat-file", "--batch", "--buffer", given=wanted) as process:
            assert process.stdout is not None
            for item in items:
                _write(process.stdout, item, landing, modified)
    landing.finish(modified)


def _list(git: Git, commit: str, source: GitSource, landing: Landing) -> list[_Item]:
    try:
        output = git.run("ls-tree", "-r", "-z", "-l", "--full-tree", f"{commit}:{source.path}")
    except GitError:
        if source.path:
            raise WorkflowNotFound(
                f"{source.shown} has no folder {source.path!r} at {commit}; check the path"
            ) from None
        raise
    items = [item for item in _items(output) if landing.wants(item.path)]
    size = sum(item.size for item in items)
    if len(items) > MAX_FILES or size > MAX_BYTES:  # before anything of it is written
        raise InvalidWorkflow(
            f"the workflow has {len(items)} files of {size >> 20} MiB; at most {MAX_FILES} and {MAX_BYTES >> 20} MiB "
            "are taken, so keep large data elsewhere"
        )
    return items


def _items(output: bytes) -> Iterator[_Item]:
    for line in output.split(b"\0")[:-1]:
        facts, _, name = line.partition(b"\t")
        mode, kind, oid, size = facts.decode().split()
        if kind == "blob":
            yield _Item(int(mode, 8), oid, int(size), os.fsdecode(name))


def _committed_at(git: Git, commit: str) -> int:
    """Return a commit's time in ns since the epoch, 0 if it is not a time that files can have."""
    found = _COMMITTED.search(git.run("cat-file", "commit", commit))
    return int(found[1]) * 10**9 if found else 0


def _write(stream: IO[bytes], item: _Item, landing: Landing, modified: int) -> None:
    header = stream.readline().split()
    if header[1:] != [b"blob", str(item.size).encode()]:
        raise GitError(f"unable to read object {item.oid}")
    content = _content(stream, item)
    if stat.S_ISLNK(item.mode):
        landing.link(item.path, b"".join(content) if item.size <= MAX_LINK else b"", modified=modified)
    else:
        landing.file(item.path, content, program=bool(item.mode & stat.S_IXUSR), modified=modified)
    stream.read(1)  # the newline behind the content


def _content(stream: IO[bytes], item: _Item) -> Iterator[bytes]:
    left = item.size
    while left:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            raise GitError(f"unable to read object {item.oid}")
        yield chunk
        left -= len(chunk)
