"""Writes files that somebody else has named into a folder of ours, and nothing anywhere else.

What a repository or an archive says about its files is not trusted: names may lead out of the folder, come twice, or
go through a link that comes with them. So no path may go through a link, links are made last, and where they lead is
looked at when all are there: until they are followed they do no harm.
"""

import os
import posixpath
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from snakeway.catalog.snapshot import finish_file, set_time
from snakeway.errors import InvalidWorkflow
from snakeway.tree import LEFT_OUT, MAX_BYTES, MAX_FILES, RECORDS, folders_of

MAX_LINK = 4096  # bytes; PATH_MAX of Linux
_MAX_PATH = 1024  # bytes
_MAX_NAME = 255  # NAME_MAX of Linux
_MAX_DEPTH = 64
_CHUNK = 1024 * 1024
_NO_NAMES = frozenset({"", ".", "..", ".git"})


class Landing:
    """An empty folder that is filled.

    ``origin`` says in errors whose files these are, such as "the repository"; ``records`` whether Snakemake's records
    of outputs are taken as well.
    """

    def __init__(self, folder: Path, origin: str, *, records: bool = False) -> None:
        self._folder = folder
        self._origin = origin
        self._records = records
        self._bytes = 0
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._links: dict[str, tuple[bytes, int]] = {}

    @property
    def paths(self) -> Set[str]:
        """The files and links so far."""
        return self._files | self._links.keys()

    def wants(self, path: str) -> bool:
        """Whether a file is to be written: not if it is what git, Snakemake or Python leave behind.

        Raises InvalidWorkflow if its name leads out of the folder, or cannot be one.
        """
        parts = path.split("/")
        if _NO_NAMES.intersection(part.lower() for part in parts) or "\0" in path:
            raise InvalidWorkflow(f"{self._origin} has a file {path!r}, whose name leads out of it; remove that file")
        if len(os.fsencode(path)) > _MAX_PATH or any(len(os.fsencode(part)) > _MAX_NAME for part in parts):
            raise InvalidWorkflow(
                f"{self._origin} has a path of more than {_MAX_PATH} bytes, or of more than {_MAX_NAME} between two "
                f"slashes: {path[:_MAX_NAME]!r}; shorten it"
            )
        if len(parts) > _MAX_DEPTH:
            raise InvalidWorkflow(f"{self._origin} has folders more than {_MAX_DEPTH} deep; flatten them")
        if self._records and f"/{posixpath.dirname(path)}".endswith(f"/{RECORDS}"):
            return True
        return not LEFT_OUT.intersection(parts)

    def file(self, path: str, source: Iterator[bytes], *, program: bool, modified: int) -> None:
        """Write a file from its pieces; ``modified`` is its time in ns since the epoch.

        Raises InvalidWorkflow if there are too many bytes or files, or one of this name, and OSError.
        """
        self._count(path)
        self._files.add(path)
        with self._named(path) as target, target.open("xb") as file:
            for piece in source:
                self._bytes += len(piece)
                if self._bytes > MAX_BYTES:
                    raise InvalidWorkflow(
                        f"{self._origin} has more than {MAX_BYTES >> 20} MiB of files; keep large data elsewhere"
                    )
                file.write(piece)
            finish_file(file, program=program, modified=modified)

    def link(self, path: str, content: bytes, *, modified: int) -> None:
        """Note a link, which :meth:`finish` makes. Raises InvalidWorkflow."""
        if not content or b"\0" in content or len(content) > MAX_LINK:
            raise InvalidWorkflow(f"the link {path!r} leads nowhere; correct it")
        if content.startswith(b"/"):
            raise InvalidWorkflow(f"the link {path!r} has an absolute path; make it lead to a file beside it")
        self._count(path)
        self._links[path] = content, modified

    def lift(self, outer: str, aside: str) -> None:
        """Move everything out of the one folder that it all lies in; ``aside`` is a name that nothing has."""
        cut = len(outer) + 1
        if self._files:
            moved = (self._folder / outer).rename(self._folder / aside)
            for entry in list(moved.iterdir()):
                entry.rename(self._folder / entry.name)
            moved.rmdir()
        self._files = {path[cut:] for path in self._files}
        self._links = {path[cut:]: link for path, link in self._links.items()}

    def finish(self, modified: int) -> None:
        """Make the links, and give folders their time. Raises InvalidWorkflow if a link leads out, and OSError."""
        for folder in folders_of(self.paths):
            if folder in self._links:
                raise self._twice(folder)
        for path, (content, time) in self._links.items():
            with self._named(path) as target:
                target.symlink_to(os.fsdecode(content))
                set_time(target, time)
        root = os.path.realpath(self._folder)
        for path in self._links:  # also by way of other links; none of them is absolute
            end = os.path.realpath(f"{root}/{path}")
            if end != root and not end.startswith(f"{root}/"):
                raise InvalidWorkflow(f"the link {path!r} leads out of the workflow; make it lead to a file in it")
        for folder in folders_of(self.paths):
            set_time(self._folder / folder, modified)

    def _count(self, path: str) -> None:
        if path in self._files or path in self._links:
            raise self._twice(path)
        self._folders |= folders_of([path])
        if len(self._files) + len(self._links) >= MAX_FILES or len(self._folders) > MAX_FILES:
            raise InvalidWorkflow(f"{self._origin} has more than {MAX_FILES} files or folders; keep data elsewhere")

    @contextmanager
    def _named(self, path: str) -> Iterator[Path]:
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield target
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise self._twice(path) from None

    def _twice(self, path: str) -> InvalidWorkflow:
        return InvalidWorkflow(f"{self._origin} has two files named {path!r}; remove one of them")


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of a file."""
    while piece := file.read(_CHUNK):
        yield piece
