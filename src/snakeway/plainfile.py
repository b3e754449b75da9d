"""Opens files that lie where jobs can write, and can put links and pipes. Standard library only."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_NO_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO})  # a link to itself, a file on the way, a socket


def open_plain(path: Path, root: Path | None = None) -> BufferedReader:
    """Open a plain file for reading: a pipe would wait for its writer, and a device could be read for ever.

    With ``root`` it must lie below that folder, whatever links jobs have put on the way. Raises OSError; it is
    FileNotFoundError for what is none of these.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path)) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or not (root is None or lies_below(fd, root)):
            raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def lies_below(fd: int, root: Path) -> bool:
    """Whether an open file is below a folder. Looked at when it is open: its path may lead elsewhere by now."""
    try:
        return Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(root.resolve())
    except FileNotFoundError:  # not Linux, where no other account takes part
        return True
