"""Puts the inputs of an attempt where its jobs find them: into the run's directory, or the storage of its target.

It may take as long as copying does, so it has threads of its own. All of it can be repeated: what is there already is
left as it is, its time too, so that a re-run does not take results for older than their inputs.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from snakeway.blobs import Blobs, Storages
from snakeway.catalog.materialise import place
from snakeway.directory import run_directory
from snakeway.errors import SnakewayError, Unavailable
from snakeway.model.input import key_of, references
from snakeway.rows import AttemptRow, RunRow
from snakeway.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 2  # copies under way; the network and the disk are shared
_PAUSES_S = (2.0, 5.0, 15.0, 60.0)  # before the next try when a storage does not answer
# Inputs are older than anything that a run makes of them, whenever they are put there.
_MTIME_NS = 946_684_800 * 10**9  # 2000-01-01


class CannotStage(OSError):
    """The inputs of an attempt cannot be put where its jobs would find them."""


class _Stopped(Exception):
    """Nobody waits for it any more."""


class Stager:
    """What is being put in place, by the ids of attempts. ``wake`` tells the supervisor that something is."""

    def __init__(self, settings: Settings, storages: Storages, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._storages = storages
        self._wake = wake
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._works: dict[str, _Work] = {}

    def is_staged(self, run: RunRow, attempt: AttemptRow) -> bool:
        """Whether the attempt has its inputs; otherwise they are being brought from now on, see ``is_done``.

        Raises CannotStage if that was tried and failed.
        """
        wanted = references(attempt.config)
        used = [each for each in run.inputs if each["id"] in wanted]
        if not used:
            return True
        work = self._works.get(attempt.id)
        if work is None:
            work = self._works[attempt.id] = _Work(self._settings, self._storages, run, attempt.storage_url, used)
            threading.Thread(target=self._do, args=(work,), name="snakeway-stage", daemon=True).start()
        if not work.done.is_set():
            return False
        del self._works[attempt.id]
        if work.error is not None:
            raise CannotStage(work.error)
        return True

    def is_busy(self, attempt_id: str) -> bool:
        """Whether the attempt waits for its inputs, or for somebody to notice that they are there."""
        return attempt_id in self._works

    def is_done(self, attempt_id: str) -> bool:
        """Whether `is_staged` has an answer."""
        return self._works[attempt_id].done.is_set()

    def forget(self, attempt_id: str) -> None:
        """Give it up: the attempt has ended, or is another supervisor's."""
        work = self._works.pop(attempt_id, None)
        if work is not None:
            work.stopped.set()

    def stop(self) -> None:
        """Give everything up. Whoever adopts the attempts begins again, and finds what is there by now."""
        for work in list(self._works.values()):
            work.stopped.set()

    def _do(self, work: "_Work") -> None:
        with self._turns:
            work.run()
        self._wake()


class _Work:
    """The inputs of one attempt on their way."""

    def __init__(
        self, settings: Settings, storages: Storages, run: RunRow, storage_url: str | None, used: list[dict[str, Any]]
    ) -> None:
        self.done = threading.Event()
        self.stopped = threading.Event()
        self.error: str | None = None
        self._settings = settings
        self._storages = storages
        self._run = run
        self._storage_url = storage_url
        self._used = used

    def run(self) -> None:
        """Put all of them in place, or say why not."""
        try:
            for each in self._used:
                self._stage_patiently(each)
        except _Stopped:
            return
        except (SnakewayError, OSError) as error:
            self.error = f"its inputs cannot be put in place: {error}"
        except Exception as error:
            log.exception("inputs of run %s cannot be put in place", self._run.id)
            self.error = f"its inputs cannot be put in place: {type(error).__name__}; the supervisor's log has it"
        self.done.set()

    def _stage_patiently(self, each: dict[str, Any]) -> None:
        for pause in _PAUSES_S:
            try:
                return self._stage(each)
            except Unavailable as error:
                log.warning("input %s of run %s: %s", each["id"], self._run.id, error)
            if self.stopped.wait(pause):
                raise _Stopped
        return self._stage(each)

    def _stage(self, each: dict[str, Any]) -> None:
        blobs = self._storages.at(self._settings.blobs_address)
        if self._storage_url is None:
            directory = run_directory(self._settings.data_dir, self._run.id).path
            self._to_directory(blobs, directory, each)
        else:
            self._to_storage(blobs, self._storages.at(self._storage_url), each)

    def _to_directory(self, blobs: Blobs, directory: Path, each: dict[str, Any]) -> None:
        """Copy, and do not link: a job runs as the user who would own both names, and could write through a link."""

        def write(file: BinaryIO) -> None:
            for chunk in self._content(blobs, each):
                file.write(chunk)

        place(directory, each["path"], each["size_bytes"], _MTIME_NS, write)

    def _to_storage(self, blobs: Blobs, storage: Blobs, each: dict[str, Any]) -> None:
        there = storage.stat(each["path"])
        if there is None or there.size_bytes != each["size_bytes"]:
            storage.put(each["path"], self._content(blobs, each))

    def _content(self, blobs: Blobs, each: dict[str, Any]) -> Iterator[bytes]:
        """Yield the bytes; raises at their end if they are not those of the digest, so that nothing is put there."""
        digest = hashlib.sha256()
        with blobs.stream(key_of(self._run.owner, each["sha256"])) as chunks:
            for chunk in chunks:
                if self.stopped.is_set():
                    raise _Stopped
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != each["sha256"]:
            raise CannotStage(f"the content of {each['name']} in object storage is not that of its SHA-256 any more")
