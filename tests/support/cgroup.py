"""A memory cgroup below which jobs may put themselves, so that the real kernel takes memory away from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class MemoryCgroup(NamedTuple):
    """Its folder, and the name of the file that takes the limit in bytes."""

    folder: Path
    limit: str


@contextmanager
def memory_cgroup(name: str) -> Iterator[MemoryCgroup]:
    """Make a cgroup and remove it; needs root. Raises OSError where there is no memory controller."""
    if _V1.is_dir():
        folder, limit = _V1 / name, "memory.limit_in_bytes"
    else:
        (_V2 / "cgroup.subtree_control").write_text("+memory")
        folder, limit = _V2 / name, "memory.max"
    folder.mkdir()
    try:
        yield MemoryCgroup(folder, limit)
    finally:
        for inner in folder.iterdir():
            if inner.is_dir():
                inner.rmdir()
        folder.rmdir()
