"""Where the bytes of an upload lie until all of them are here: DATA/uploads/ID, in the order in which they came.

The size of the file is how far the upload is, so what has arrived when a connection breaks, or the server is killed,
is not sent again. All servers of an installation have the data folder in common; the file's lock (flock) keeps them
apart. It is held for one write, never while a client is waited for: a connection nobody closed is in nobody's way.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from snakeway.errors import InputBusy, OffsetConflict, Unavailable

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


def spool_folder(data_dir: Path) -> Path:
    """Return the folder of all such files."""
    return data_dir / "uploads"


class Spool:
    """The file of one upload; there is none before the first byte."""

    def __init__(self, data_dir: Path, input_id: str) -> None:
        self.path = spool_folder(data_dir) / input_id

    def size(self) -> int:
        """Return how many bytes are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _refused(error) from error

    def append(self, offset: int, data: bytes) -> int:
        """Write bytes that begin at ``offset``; returns where they end.

        Crash in the middle: some of them are here, and the size tells how many.

        Raises:
            OffsetConflict: what is here ends somewhere else, another connection may have gone on.
            InputBusy: it is being stored.
            Unavailable: the disk does not take the bytes.

        """
        try:
            with self._locked(make=offset == 0) as fd:
                end = 0 if fd is None else os.fstat(fd).st_size
                if fd is None or end != offset:
                    raise misplaced(offset, end)
                rest = memoryview(data)
                while rest:
                    written = os.pwrite(fd, rest, end)
                    end, rest = end + written, rest[written:]
                return end
        except OSError as error:
            raise _refused(error) from error

    def sync(self) -> None:
        """Have what is here survive the machine's crash. Raises Unavailable."""
        try:
            for path in (self.path, self.path.parent):
                with suppress(FileNotFoundError):
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)
        except OSError as error:
            raise _refused(error) from error

    @contextmanager
    def held(self) -> Iterator[BufferedReader | None]:
        """Keep everybody else from the file, and yield it for reading; None if there is none.

        Raises InputBusy if somebody else holds it, Unavailable if the disk does not work.
        """
        with self._locked() as fd:
            if fd is None:
                yield None
                return
            with os.fdopen(os.dup(fd), "rb") as file:
                yield file

    def remove(self) -> None:
        """Remove the file; may be repeated. Raises Unavailable."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(error) from error

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[int | None]:
        try:
            if make:
                self.path.parent.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(self.path, _FLAGS | (os.O_CREAT if make else 0), 0o600)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise _refused(error) from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputBusy("another request is writing or storing these bytes; ask again in a moment") from None
            yield fd
        finally:
            os.close(fd)


def misplaced(offset: int, end: int) -> OffsetConflict:
    """The error for bytes that do not begin where those that are here end."""
    return OffsetConflict(
        f"these bytes begin at {offset}, what is here ends at {end}: go on there", offset=end, field="Upload-Offset"
    )


def _refused(error: OSError) -> Unavailable:
    advice = "make room in the data folder" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "try again later"
    return Unavailable(f"the bytes cannot be kept: {error.strerror}; {advice}")
