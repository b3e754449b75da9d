"""Removes ended runs, one or by a rule: rows first, with a line about it in the audit, then the files."""

import logging
import os
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from snakeway import ids
from snakeway.directory import run_directory
from snakeway.errors import RunActive
from snakeway.model import attempt as attempt_rules
from snakeway.model import run as run_rules
from snakeway.model.audit import AuditAction
from snakeway.model.retention import Rule
from snakeway.owner import NEW_FOLDER, of_directory
from snakeway.rows import RunRow
from snakeway.store import Store, Transaction, attempts, audit, retention, runs
from snakeway.store.page import encode

log = logging.getLogger(__name__)

_REMOVE_S = 3600.0  # longest time to empty a directory as its owner
_ABANDONED_S = 3600.0  # an older directory that was never moved to its place was left by a crash
_IN_CHUNK = 500  # bound variables of one SELECT … IN


@dataclass(frozen=True, slots=True)
class Actor:
    """Who removes, and why."""

    id: str
    action: AuditAction
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Removable:
    """A run that a rule names, and what became of it. ``size_bytes`` is that of its files."""

    run: RunRow
    size_bytes: int
    removed: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one call of :func:`prune` came to; ``next`` is the cursor of what is left, None at the end."""

    items: list[Removable]
    next: str | None


def take_out(tx: Transaction, run: RunRow, actor: Actor, size_bytes: int) -> None:
    """Remove the rows of a locked run and note it. Raises RunActive.

    Crash after the commit: its directory is still there, which :func:`discard` was to remove; :func:`clean_up` does.
    """
    if run.state in run_rules.ACTIVE:
        raise RunActive(f"run {run.id} is {run.state}; wait for its end, or cancel it with 'snakeway cancel {run.id}'")
    if any(attempt.state not in attempt_rules.ENDED for attempt in attempts.of_run(tx, run.id)):
        raise RunActive(f"run {run.id} has a dry run under way; try again when it has ended")
    audit.note(tx, run, actor.id, actor.action, _details(run, actor, size_bytes))
    runs.remove(tx, run.id)


def discard(data_dir: Path, run_id: str) -> None:
    """Remove the directory of a run that has no rows any more; what cannot be removed is logged.

    Crash in the middle: what is left lies in the trash, for :func:`clean_up`.
    """
    trash = _trash(data_dir) / f"{run_id}.{secrets.token_hex(4)}"
    directory = run_directory(data_dir, run_id).path
    owner = of_directory(data_dir, run_id)
    try:
        trash.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if owner is None:
            directory.chmod(stat.S_IRWXU)  # a job may have made it read-only, and then it could not be moved
        else:
            owner.call("remove", run_id, timeout_s=_REMOVE_S)  # jobs may have made folders that only they can open
        directory.replace(trash)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the directory of the removed run %s could not be moved away: %s", run_id, error)
        return
    _remove_tree(trash)


def clean_up(store: Store, data_dir: Path) -> None:
    """Remove what a crash left of removed runs: their directories, whole or half removed.

    A directory that no run knows is removed only if the audit says that its run was: after the restore of an older
    database it could be anybody's.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in _trash(data_dir).iterdir():
            _remove_tree(path)
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in (data_dir / "runs" / NEW_FOLDER).iterdir():
            if path.lstat().st_mtime < time.time() - _ABANDONED_S:
                _remove_tree(path)
    names: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        names = [path.name for path in (data_dir / "runs").iterdir() if ids.is_id(path.name)]
    for start in range(0, len(names), _IN_CHUNK):
        with store.read() as tx:
            removed = audit.removed(tx, names[start : start + _IN_CHUNK])
        for run_id in sorted(removed):
            discard(data_dir, run_id)


def size_bytes(data_dir: Path, run_id: str) -> int:
    """Return the size of a run's files, links not followed, each file once. Cost: one stat per file."""
    seen: set[tuple[int, int]] = set()
    return sum(_sizes(run_directory(data_dir, run_id).path, seen))


def prune(
    store: Store,
    data_dir: Path,
    rule: Rule,
    at: datetime,
    *,
    keep_label: str,
    actor: Actor,
    owner: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
    longest_s: float = 20,
    dry_run: bool = False,
) -> Pruned:
    """Remove runs that ``rule`` names, at most ``limit``, and begin with none after ``longest_s``.

    Each is removed by itself, in a transaction that looks once more whether the rule names it: it may have been
    re-run meanwhile. With ``dry_run`` nothing is changed. Raises InvalidCursor.
    """
    with store.read() as tx:
        page = retention.list_(tx, rule, at, keep_label, owner, cursor, limit)
    deadline = time.monotonic() + longest_s
    done: list[Removable] = []
    for run in page.items:
        if done and time.monotonic() > deadline:
            return Pruned(done, encode(done[-1].run.id))
        size = size_bytes(data_dir, run.id)
        removed = not dry_run and _remove_named(store, data_dir, run.id, rule, at, keep_label, actor, size)
        done.append(Removable(run, size, removed))
    return Pruned(done, page.next)


def _remove_named(
    store: Store, data_dir: Path, run_id: str, rule: Rule, at: datetime, keep_label: str, actor: Actor, size: int
) -> bool:
    with store.write() as tx:
        run = runs.lock(tx, run_id)
        if run is None or not rule.matches(run, at, keep_label):
            return False
        try:
            take_out(tx, run, actor, size)
        except RunActive:
            return False
    discard(data_dir, run_id)
    return True


def _details(run: RunRow, actor: Actor, size: int) -> dict[str, Any]:
    return {
        "state": str(run.state),
        "digest": run.digest,
        "target": run.target,
        "labels": run.labels,
        "created_at": run.created_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "size_bytes": size,
        **({"rule": actor.rule.to_json()} if actor.rule else {}),
    }


def _trash(data_dir: Path) -> Path:
    return data_dir / "runs" / ".trash"  # beside the runs, so that moving there is a rename


def _sizes(folder: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    waiting = [str(folder)]  # no recursion: jobs can make folders of any depth
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:  # gone, or a job took the right to read it away, or its path is too long
            continue
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                found = entry.stat(follow_symlinks=False)
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    yield found.st_size


def _remove_tree(path: Path) -> None:
    """Remove a run's directory, folders that a job made read-only as well; what cannot be removed is logged."""
    try:
        for folder, names, _ in os.walk(path):
            for name in names:
                with suppress(OSError):
                    if not Path(folder, name).is_symlink():
                        Path(folder, name).chmod(stat.S_IRWXU)
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):  # folders so deep that Python's functions do not reach the ground
        rm = shutil.which("rm") or "/bin/rm"
        argv = [rm, "-rf", "--", str(path)]  # a path of ours, below the trash
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            log.warning("a deleted run's directory could not be removed: %s", done.stderr.strip()[-500:])
