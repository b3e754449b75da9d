"""Writes files that somebody else has named into a folder of ours, and nothing anywhere else.

What a repository or an archive says about its files is not trusted: names may lead out of the folder, come twice, or
go through a link that came before. Links are made last: until then no folder that is written into can be one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from snakeway.catalog.snapshot import finish_file, set_time
from snakeway.errors import InvalidWorkflow
from snakeway.tree import LEFT_OUT, MAX_BYTES, MAX_FILES, folders_of

_MAX_PATH = 1024  # bytes
_MAX_NAME = 255  # NAME_MAX of Linux
MAX_LINK = 4096  # bytes; PATH_MAX of Linux
_CHUNK = 1024 * 1024
_NO_NAMES = frozenset({"", ".", "..", ".git"})


class Landing:
    """An empty folder that is filled. ``origin`` says in errors whose files these are, such as "the repository"."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._bytes = 0
        self._files: list[str] = []
        self._links: dict[str, tuple[bytes, int]] = {}

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
        return not LEFT_OUT.intersection(parts)

    def file(self, path: str, source: Iterator[bytes], *, program: bool, modified: int) -> None:
        """Write a file from its pieces; ``modified`` is its time in ns since the epoch.

        Raises InvalidWorkflow if there are too many bytes or files, or one of this name, and OSError.
        """
        self._count(path)
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
        self._count(path)
        if not content or b"\0" in content or len(content) > MAX_LINK:
            raise InvalidWorkflow(f"the link {path!r} leads nowhere; correct it")
        if content.startswith(b"/"):
            raise InvalidWorkflow(f"the link {path!r} has an absolute path; make it lead to a file beside it")
        if path in self._links:
            raise self._twice(path)
        self._links[path] = content, modified

    def finish(self, modified: int) -> None:
        """Make the links, and give folders their time. Raises InvalidWorkflow if a link leads out, and OSError."""
        for path, (content, time) in self._links.items():
            with self._named(path) as target:
                target.symlink_to(os.fsdecode(content))
                set_time(target, time)
        root = os.path.realpath(self._folder)
        for path in self._links:  # also by way of other links; none of them is absolute
            end = os.path.realpath(f"{root}/{path}")
            if end != root and not end.startswith(f"{root}/"):
                raise InvalidWorkflow(f"the link {path!r} leads out of the workflow; make it lead to a file in it")
        for folder in folders_of(self._files):
            set_time(self._folder / folder, modified)

    def _count(self, path: str) -> None:
        self._files.append(path)
        if len(self._files) > MAX_FILES:
            raise InvalidWorkflow(f"{self._origin} has more than {MAX_FILES} files; keep data elsewhere")

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
