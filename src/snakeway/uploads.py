"""Takes inputs away: those that somebody deletes, uploads that nobody goes on with, and what a crash left of either."""

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from snakeway.blobs import Blobs
from snakeway.errors import InputBusy, SnakewayError
from snakeway.model.input import STORED, UNFINISHED, InputState, key_of
from snakeway.rows import InputRow
from snakeway.spool import Spool, spool_folder
from snakeway.store import Store, Transaction, inputs

log = logging.getLogger(__name__)

_AT_ONCE = 100
# A removal takes a few requests to the object storage; one that is older was left by a crash. Until somebody goes on
# with it the same content cannot be stored again.
_REMOVAL_S = 600.0
_ORPHAN_S = 3600.0  # a file of no upload that is older than this is nobody's: an announcement is committed at once


def is_last(tx: Transaction, row: InputRow) -> bool:
    """Whether no other input of the owner needs what is in object storage. The transaction has locked the owner."""
    others = inputs.of_content(tx, row.owner, row.sha256)
    return not any(other.id != row.id and other.state in STORED for other in others)


def finish_removal(store: Store, blobs: Blobs, data_dir: Path, row: InputRow, *, last: bool) -> None:
    """Remove what belongs to an input in the state REMOVING, and its row; may be repeated. Raises SnakewayError.

    Crash before the end: the row is there still, and keeps the same content from being stored, which would be removed
    here; `sweep` goes on.
    """
    Spool(data_dir, row.id).remove()
    if last:
        blobs.delete(key_of(row.owner, row.sha256))
    with store.write() as tx:
        inputs.remove(tx, row.id)


def sweep(store: Store, blobs: Blobs, data_dir: Path, expiry_s: float, at: datetime) -> int:
    """Remove uploads that have expired, and what crashes left; returns how many inputs."""
    with store.read() as tx:
        expired = inputs.idle(tx, UNFINISHED, at - timedelta(seconds=expiry_s), _AT_ONCE)
        left = inputs.idle(tx, {InputState.REMOVING}, at - timedelta(seconds=_REMOVAL_S), _AT_ONCE)
    count = 0
    for row in (*left, *expired):
        if row.state is InputState.REMOVING:
            last = _claim(store, row)
        else:
            last = _give_up(store, data_dir, row, at.timestamp() - expiry_s)
        if last is None:
            continue
        try:
            finish_removal(store, blobs, data_dir, row, last=last)
            count += 1
        except SnakewayError as error:
            log.warning("input %s could not be removed: %s", row.id, error)
    _sweep_files(store, data_dir, at.timestamp() - _ORPHAN_S)
    if count:
        log.info("%d inputs were removed: expired uploads, or deleted before a crash", count)
    return count


def _claim(store: Store, row: InputRow) -> bool | None:
    """Have the removal of an input to oneself, and return whether it is the last with its content; None: leave it.

    Another supervisor may sweep as well. Without a claim it could still be about to delete the content when the row is
    gone, and the owner has uploaded the same anew. Crash after it: the claim ages as any removal does.
    """
    with store.write() as tx:
        inputs.lock_owner(tx, row.owner)
        return is_last(tx, row) if inputs.claim(tx, row) else None


def _give_up(store: Store, data_dir: Path, row: InputRow, before: float) -> bool | None:
    """Claim an expired upload as `_claim` does, unless bytes came at this moment or somebody stores it."""
    spool = Spool(data_dir, row.id)
    with suppress(FileNotFoundError):
        if spool.path.stat().st_mtime > before:  # a request that has been bringing bytes for that long
            return None
    try:
        with spool.held():
            return _claim(store, row)
    except InputBusy:
        return None


def _sweep_files(store: Store, data_dir: Path, before: float) -> None:
    """Remove files of uploads that are complete or gone. Cost: one look at each file, of which few are complete."""
    paths: list[Path] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        paths = [path for path in spool_folder(data_dir).iterdir() if path.lstat().st_mtime < before]
    if not paths:
        return
    with store.read() as tx:
        known = inputs.of_ids(tx, [path.name for path in paths])
    for path in paths:
        row = known.get(path.name)
        if row is None or row.state is InputState.COMPLETE:
            with suppress(OSError):
                path.unlink()
