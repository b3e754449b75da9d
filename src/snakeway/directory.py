"""The files of a run and of its attempts on disk: who writes each, and what it means.

    RUN/                          working directory of snakemake, mode 0700: workflow/, config/, results/ …
    RUN/.snakeway/run.json        {"run_id"}                                    supervisor
    RUN/.snakeway/attempts/N/
        config.yaml               the run's configuration, for --configfile     supervisor
        command.json              what to execute                               supervisor, before the launch
        lock                      locked (flock) as long as the shim lives      shim
        process.json              who claimed the attempt; then its child       shim
        stop                      exists once somebody wants the attempt to end supervisor
        plan.ndjson               events of the dry run                         logger plugin
        events.ndjson             events                                        logger plugin
        snakemake.log             output of snakemake                           snakemake, shim
        exit.json.room            keeps room on the disk for exit.json          shim
        exit.json                 how it ended                                  shim

Every JSON file is written whole to another name and renamed, so a reader sees all of it or nothing; but for the claim,
which is created under its name so that it can be created once only. process.json and exit.json name their attempt: what
a restored backup left there under the same number is another's.
"""

import contextlib
import errno
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakeway.errors import InvalidWorkflow
from snakeway.plainfile import open_plain
from snakeway.wire import EVENTS_FILE, STATE_FOLDER

_ROOM_BYTES = 4096  # a block of most file systems
_LONGEST_JSON_BYTES = 16 * 1024 * 1024  # command.json has a submission's targets in it


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one run."""

    path: Path

    def attempt(self, number: int) -> "AttemptDirectory":
        """Return the directory of the attempt of this number."""
        return AttemptDirectory(self.path / STATE_FOLDER / "attempts" / str(number))

    def create(self, run_id: str) -> None:
        """Make the directory, readable by its owner only; may be repeated. Raises InvalidWorkflow, see ``is_real``."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        (self.path / STATE_FOLDER).mkdir(exist_ok=True, mode=0o700)
        if not self.attempt(1).is_real:
            raise InvalidWorkflow(f"a job replaced {self.path / STATE_FOLDER} by a link; the run cannot go on there")
        write_json(self.path / STATE_FOLDER / "run.json", {"run_id": run_id})


@dataclass(frozen=True, slots=True)
class AttemptDirectory:
    """The directory of one attempt."""

    path: Path

    @property
    def is_real(self) -> bool:
        """Whether the way here leads through no link: the jobs of a run can write in its directory, and plant some."""
        try:
            return self.path.resolve() == self.root().resolve() / self.path.relative_to(self.root())
        except (OSError, RuntimeError):  # a link to itself
            return False

    def root(self) -> Path:
        """Return the directory of the run."""
        return self.path.parent.parent.parent

    @contextmanager
    def entered(self, *, make: bool = False) -> Iterator[int]:
        """Open the directory, folder by folder and through no link; yields its descriptor. Raises OSError.

        The way for a service to write where another account's jobs can put links at any moment. A folder that is made
        here is everybody's if the run's directory is another account's, which lets nobody else in.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        here = os.open(self.root(), flags)
        mode = 0o700 if os.fstat(here).st_uid == os.geteuid() else 0o2777
        try:
            for name in self.path.relative_to(self.root()).parts:
                made = make and _made(here, name)
                below = os.open(name, flags, dir_fd=here)
                os.close(here)
                here = below
                if made:
                    os.fchmod(here, mode)
            yield here
        finally:
            os.close(here)

    def write_stop(self) -> None:
        """Make the file that asks the shim to end the attempt; may be repeated. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self.entered(make=True) as here:
            os.close(os.open(self.stop.name, flags, 0o644, dir_fd=here))

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def command(self) -> Path:
        return self.path / "command.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def plan(self) -> Path:
        return self.path / "plan.ndjson"

    @property
    def events(self) -> Path:
        return self.path / EVENTS_FILE

    @property
    def log(self) -> Path:
        return self.path / "snakemake.log"

    @property
    def exit(self) -> Path:
        return self.path / "exit.json"

    @property
    def exit_room(self) -> Path:
        return self.path / "exit.json.room"


def run_directory(data_dir: Path, run_id: str) -> RunDirectory:
    """Return where a run lives. ``run_id`` is an id of ours, so it is a plain name."""
    return RunDirectory(data_dir / "runs" / run_id)


def check_writable(folder: Path, content: bytes = b"") -> None:
    """Write a file without a name in a folder, which leaves nothing there. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(content)


def _made(here: int, name: str) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=here)
    except FileExistsError:
        return False
    return True


def write_json(path: Path, value: Any, *, sync: bool = False) -> None:
    """Write a file whole or not at all; with ``sync`` it survives the machine's crash once this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    # Not a link or pipe that a job has left there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o660), "w") as file:
            json.dump(value, file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        _sync_folder(path.parent)


def keep_room(path: Path) -> None:
    """Take room on the disk for a small file, which :func:`write_json_in_room` fills. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
    try:
        os.posix_fallocate(fd, 0, _ROOM_BYTES)
    finally:
        os.close(fd)


def write_json_in_room(path: Path, room: Path, value: Any) -> None:
    """Write a file whole or not at all, in the room kept for it: also on a full disk. Raises OSError."""
    content = json.dumps(value).encode()
    fd = os.open(room, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(fd, len(content))
        os.fsync(fd)
    finally:
        os.close(fd)
    room.replace(path)
    with contextlib.suppress(OSError):  # it is there, and on a disk in this state that is all there is to have
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a plain file; None when there is no such file or it is not a JSON object. Raises OSError.

    Jobs can write there: a pipe is not waited for, and of what is longer than any of these files only a part is read.
    """
    try:
        with open_plain(path) as file:
            value = json.loads(file.read(_LONGEST_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
