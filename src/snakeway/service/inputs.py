"""Inputs: announced, sent in pieces, stored; listed, read, deleted."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BufferedReader

from snakeway import ids, uploads
from snakeway.blobs import Blobs, Storages
from snakeway.errors import (
    Forbidden,
    InputBusy,
    InputDamaged,
    InputInUse,
    InputNotFound,
    InputTooLarge,
    Invalid,
    QuotaExceeded,
    SnakewayError,
    Unavailable,
)
from snakeway.model.input import (
    UNFINISHED,
    InputState,
    check_name,
    check_sha256,
    key_of,
)
from snakeway.model.user import Action, User, may
from snakeway.rows import InputRow, now
from snakeway.settings import Settings
from snakeway.spool import Spool, misplaced
from snakeway.store import Store, Transaction, inputs
from snakeway.store.page import Page

log = logging.getLogger(__name__)

_STORING_AT_ONCE = 4  # each takes a thread for as long as the object storage takes; the others ask again
_CHUNK_BYTES = 1024 * 1024
_SHOWN_RUNS = 3


@dataclass(frozen=True, slots=True)
class Known:
    """An input, and how many of its bytes are here; when it expires, unless it is complete."""

    row: InputRow
    offset: int
    expires_at: datetime | None


class Inputs:
    """Everything about inputs. Each belongs to one person; administrators see those of all, and use their own."""

    def __init__(self, store: Store, settings: Settings, storages: Storages) -> None:
        self._store = store
        self._settings = settings
        self._storages = storages
        self._slots = threading.BoundedSemaphore(_STORING_AT_ONCE)

    @property
    def _blobs(self) -> Blobs:
        return self._storages.at(self._settings.blobs_address)

    def announce(self, user: User, name: str, size_bytes: int, sha256: str) -> tuple[Known, bool]:
        """Begin an upload, or find the one that was begun; returns it and whether it is new and has to be sent.

        A content that the user has already is complete at once, under the further name. What others have does not
        matter, and is not told. Raises Invalid, InputTooLarge, QuotaExceeded.
        """
        check_name(name)
        check_sha256(sha256)
        if size_bytes > self._settings.max_input_bytes:
            raise InputTooLarge(
                f"{name} has {size_bytes} bytes, and at most {self._settings.max_input_bytes} are accepted "
                "(SNAKEWAY_MAX_INPUT_BYTES)",
                field="size_bytes",
            )
        with self._store.write() as tx:
            inputs.lock_owner(tx, user.id)
            same = [row for row in inputs.of_content(tx, user.id, sha256) if row.state is not InputState.REMOVING]
            complete = next((row for row in same if row.state is InputState.COMPLETE), None)
            if complete is not None and complete.size_bytes != size_bytes:
                raise Invalid(
                    f"you have the content with this SHA-256, and it has {complete.size_bytes} bytes, not "
                    f"{size_bytes}; correct one of the two",
                    field="size_bytes",
                )
            for row in same:
                if row.name == name and row.size_bytes == size_bytes:
                    return self._known(row), False
            if complete is None:
                self._check_room(tx, user, size_bytes)
            at = now()
            row = InputRow(
                id=ids.new_id(),
                owner=user.id,
                name=name,
                size_bytes=size_bytes,
                sha256=sha256,
                state=InputState.COMPLETE if complete else InputState.UPLOADING,
                created_at=at,
                updated_at=at,
                completed_at=at if complete else None,
            )
            inputs.add(tx, row)
        return self._known(row), complete is None

    def get(self, user: User, input_id: str) -> Known:
        """Return an input and how far it is; raises InputNotFound."""
        with self._store.read() as tx:
            return self._known(_find(tx, user, input_id))

    def list_(
        self, user: User, owner: str | None, states: Sequence[InputState], cursor: str | None, limit: int
    ) -> Page[Known]:
        """Return a page of the inputs that ``user`` may see, newest first; raises InvalidCursor."""
        with self._store.read() as tx:
            page = inputs.list_(tx, owner if user.admin else user.id, states, cursor, limit)
        return Page([self._known(row) for row in page.items], page.next)

    def begin(self, user: User, input_id: str, offset: int, length: int | None) -> tuple[Spool, int] | None:
        """Return the file that takes the next bytes, and how many it takes in all; None if the input is complete.

        ``length`` is the number of bytes that come now, if it is known. Raises InputNotFound, Forbidden,
        OffsetConflict, and Invalid if they are more than was announced.
        """
        with self._store.write() as tx:
            row = _find(tx, user, input_id)
            if row.owner != user.id:
                raise Forbidden(f"input {input_id} is not yours to send")
            inputs.note_bytes(tx, row.id)
        if row.state is InputState.COMPLETE:
            return None
        spool = Spool(self._settings.data_dir, row.id)
        here = spool.size()
        if offset != here:
            raise misplaced(offset, here)
        if length is not None and offset + length > row.size_bytes:
            raise Invalid(f"the upload was announced with {row.size_bytes} bytes, and these would be more")
        return spool, row.size_bytes

    def write(self, spool: Spool, size_bytes: int, offset: int, data: bytes) -> int:
        """Write the next bytes of an upload of ``size_bytes`` in all; returns where they end.

        Raises Invalid for what is more than that, and what `Spool.append` raises.
        """
        if offset + len(data) > size_bytes:
            raise Invalid(f"the upload was announced with {size_bytes} bytes, and more were sent")
        return spool.append(offset, data)

    def finish(self, user: User, input_id: str, stopping: Callable[[], bool] = lambda: False) -> Known:
        """Store an upload if all its bytes are here; returns how it stands then. May take as long as storing does.

        Crash before it is complete: the bytes are still in their file, and the next request has them stored again.
        After it: the file is left behind, which `uploads.sweep` removes.

        Raises:
            InputDamaged: the bytes are not those that were announced; nothing of them is kept.
            InputBusy: somebody else stores or removes it, or a removal of the same content is under way.
            BlobsUnavailable, BlobsRefused: the storage does not work.
            Unavailable: the disk does not work, or ``stopping`` says that the server ends.

        """
        with self._store.read() as tx:
            row = _find(tx, user, input_id)
        spool = Spool(self._settings.data_dir, row.id)
        if row.state is InputState.COMPLETE or spool.size() < row.size_bytes:
            return self.get(user, input_id)
        if row.size_bytes == 0:
            spool.append(0, b"")  # an empty input has a file as well
        with self._slot(), spool.held() as file:
            if file is not None:
                self._store_whole(row, file, stopping)
                spool.remove()
        return self.get(user, input_id)

    def _store_whole(self, row: InputRow, file: BufferedReader, stopping: Callable[[], bool]) -> None:
        with self._store.write() as tx:
            inputs.lock_owner(tx, row.owner)
            same = inputs.of_content(tx, row.owner, row.sha256)
            if any(other.state is InputState.REMOVING for other in same):
                raise InputBusy("the same content is being removed; ask again in a moment")
            state = next((other.state for other in same if other.id == row.id), None)
            if state not in UNFINISHED:
                return  # somebody else was quicker
            if any(other.state is InputState.COMPLETE and other.size_bytes == row.size_bytes for other in same):
                inputs.move(tx, row.id, state, InputState.COMPLETE, completed_at=now())
                return
            inputs.move(tx, row.id, state, InputState.STORING)
        try:
            self._blobs.put(key_of(row.owner, row.sha256), _checked(file, row, stopping))
        except InputDamaged:
            with self._store.write() as tx:
                inputs.remove(tx, row.id)
            Spool(self._settings.data_dir, row.id).remove()
            raise
        except SnakewayError:
            with self._store.write() as tx:
                inputs.move(tx, row.id, InputState.STORING, InputState.UPLOADING)
            raise
        with self._store.write() as tx:
            inputs.lock_owner(tx, row.owner)
            inputs.move(tx, row.id, InputState.STORING, InputState.COMPLETE, completed_at=now())
        log.info("user %s has sent input %s, %d bytes", row.owner, row.id, row.size_bytes)

    def remove(self, user: User, input_id: str) -> None:
        """Delete an input, or give an upload up. Raises InputNotFound, Forbidden, InputInUse, InputBusy."""
        with Spool(self._settings.data_dir, _plain(input_id)).held(), self._store.write() as tx:
            row = _find(tx, user, input_id)
            inputs.lock_owner(tx, row.owner)
            tx.refresh(row)
            if not may(user, Action.CONTROL, row.owner):
                raise Forbidden(f"input {input_id} is not yours to delete")
            using = inputs.runs_with(tx, row.id, _SHOWN_RUNS)
            if using:
                raise InputInUse(f"runs use input {input_id}: delete these first, {', '.join(using)} among them")
            if row.state is InputState.REMOVING or not inputs.move(tx, row.id, row.state, InputState.REMOVING):
                raise _not_found(input_id)
            last = row.state is not InputState.UPLOADING and uploads.is_last(tx, row)
        try:
            uploads.finish_removal(self._store, self._blobs, self._settings.data_dir, row, last=last)
        except SnakewayError as error:
            log.warning("input %s is removed later: %s", input_id, error)

    def content(self, user: User, input_id: str) -> tuple[InputRow, Blobs, str]:
        """Return a complete input, and where its content is: the storage, and the key there. Raises InputNotFound."""
        row = self.get(user, input_id).row
        if row.state is not InputState.COMPLETE:
            raise InputNotFound(f"input {input_id} is not complete yet; send the rest of it")
        return row, self._blobs, key_of(row.owner, row.sha256)

    def _check_room(self, tx: Transaction, user: User, size_bytes: int) -> None:
        most, total = self._settings.max_inputs_bytes_per_owner, inputs.total_bytes(tx, user.id)
        if total + size_bytes > most:
            raise QuotaExceeded(
                f"your inputs have {total} bytes, with this one it would be more than {most} "
                "(SNAKEWAY_MAX_INPUTS_BYTES_PER_OWNER); delete some of them first"
            )

    def _known(self, row: InputRow) -> Known:
        if row.state is InputState.COMPLETE:
            return Known(row, row.size_bytes, None)
        expires_at = row.updated_at + timedelta(seconds=self._settings.upload_expiry_s)
        return Known(row, Spool(self._settings.data_dir, row.id).size(), expires_at)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise InputBusy("the server stores as many inputs as it can at a time; ask again in a moment")
        try:
            yield
        finally:
            self._slots.release()


def _find(tx: Transaction, user: User, input_id: str) -> InputRow:
    row = inputs.get(tx, input_id) if ids.is_id(input_id) else None
    if row is None or row.state is InputState.REMOVING or not may(user, Action.READ, row.owner):
        raise _not_found(input_id)
    return row


def _not_found(input_id: str) -> InputNotFound:
    return InputNotFound(f"there is no input {input_id}; 'snakeway inputs' lists those there are")


def _plain(input_id: str) -> str:
    if not ids.is_id(input_id):
        raise _not_found(input_id)
    return input_id


def _checked(file: BufferedReader, row: InputRow, stopping: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the bytes of an upload, and raise InputDamaged at their end if they are not those that were announced.

    So a wrong content is never stored under a digest, not even for a moment.
    """
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK_BYTES):
        if stopping():
            raise Unavailable("the server is ending; go on with the upload when it is back")
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != row.size_bytes or digest.hexdigest() != row.sha256:
        raise InputDamaged(
            f"{row.name}: what arrived has the SHA-256 {digest.hexdigest()}, and {row.sha256} was announced; nothing "
            "was kept: announce it again and send it anew"
        )
