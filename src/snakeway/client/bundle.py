"""A workflow's folder, packed to be sent: what the catalog would take of it, and nothing else."""

import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO, BinaryIO

from snakeway.errors import InvalidWorkflow, Unavailable, WorkflowNotFound
from snakeway.tree import Index, Tree, open_file

_IN_MEMORY_BYTES = 16 * 1024 * 1024


def pack(folder: Path) -> BinaryIO:
    """Return a file with a compressed tar archive of a workflow's folder, at its beginning; the caller closes it.

    What .gitignore names, and what git, Snakemake and Python leave behind, stays here. Raises WorkflowNotFound if there
    is no such folder, InvalidWorkflow if it is too large or cannot be read, Unavailable if it changes meanwhile.
    """
    if not folder.is_dir():
        raise WorkflowNotFound(f"{folder} is not a folder; name the folder of a workflow")
    _, index = Tree(folder).read()
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        _write(file, folder, index)
    except InvalidWorkflow:
        file.close()
        raise
    except OSError as error:
        file.close()
        raise Unavailable(f"{folder} cannot be packed: {error}; try again when nobody changes it") from error
    file.seek(0)
    return file  # type: ignore[return-value]


def _write(file: IO[bytes], folder: Path, index: Index) -> None:
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for path, entry in sorted(index.items()):
            member = tarfile.TarInfo(path)
            if entry.kind == "link" and entry.content.startswith("/"):
                raise InvalidWorkflow(
                    f"{folder / path} is a link that leads out of {folder}, where the server cannot follow it;"
                    " put a path into the configuration instead, or copy the file"
                )
            if entry.kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, entry.content
                member.mtime = os.lstat(folder / path).st_mtime
                archive.addfile(member)
                continue
            with os.fdopen(open_file(folder / path), "rb") as source:
                status = os.fstat(source.fileno())
                member.mode = 0o755 if entry.kind == "program" else 0o644
                member.size, member.mtime = status.st_size, status.st_mtime
                archive.addfile(member, source)
