"""Collects the outputs of ended attempts as artifacts: first what there is, then the digests, which take time.

Runs beside the loop, so that hashing terabytes delays no run. What is still to do is in the database: a crash at any
line leaves it to be done again, by this supervisor's successor.
"""

import hashlib
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakeway.directory import run_directory
from snakeway.plainfile import open_plain
from snakeway.rows import AttemptRow, now
from snakeway.store import Store, artifacts, jobs, runs

log = logging.getLogger(__name__)

MAX_FILES_OF_A_DIRECTORY = 10_000
MAX_PATH_BYTES = 1024  # what the artifact's column holds
SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"  # Snakemake's own, in every output directory
_BATCH = 500


def find(store: Store, data_dir: Path, attempt: AttemptRow) -> list[dict[str, Any]]:
    """Record the outputs of the attempt's jobs that succeeded, without digests; returns those that need one.

    Cost: one stat per output.
    """
    root = run_directory(data_dir, attempt.run_id).path.resolve()
    with store.read() as tx:
        outputs = jobs.succeeded_outputs(tx, attempt.id)
        known = artifacts.known(tx, attempt.run_id)
    fresh: list[dict[str, Any]] = []
    for number, rule, paths in outputs:
        for file, stat in itertools.chain.from_iterable(files_below(root, path) for path in paths):
            name = str(file.relative_to(root))
            if known.get(name, (None, None, None))[:2] == (stat.st_size, stat.st_mtime) and known[name][2]:
                continue
            fresh.append(
                {
                    "run_id": attempt.run_id,
                    "path": name,
                    "size_bytes": stat.st_size,
                    "mtime": stat.st_mtime,
                    "sha256": None,
                    "rule": rule,
                    "attempt_id": attempt.id,
                    "job_number": number,
                    "created_at": now(),
                }
            )
    for batch in _batches(fresh):
        _save(store, attempt.run_id, batch)
    return fresh


def digest(store: Store, data_dir: Path, attempt: AttemptRow) -> None:
    """Add the digests of the attempt's outputs, and remember that they have been collected.

    Cost: one read of each file. What a job of the next attempt removes meanwhile keeps its entry without a digest.
    """
    root = run_directory(data_dir, attempt.run_id).path.resolve()
    for batch in _batches(find(store, data_dir, attempt)):
        hashed = [values | {"sha256": found} for values in batch if (found := _digest(root / values["path"], root))]
        _save(store, attempt.run_id, hashed)
    with store.write() as tx:
        artifacts.collected(tx, attempt.id)


def _save(store: Store, run_id: str, values: list[dict[str, Any]]) -> None:
    with store.write() as tx:
        if runs.lock(tx, run_id) is not None:  # it may have been deleted meanwhile
            artifacts.save(tx, values)


def files_below(root: Path, output: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files of one output (a file or a directory) that lie in ``root`` once links are resolved."""
    path = root / output
    files: Iterator[Path] = iter([path])
    if path.is_dir():
        files = (Path(folder) / name for folder, _, names in os.walk(path) for name in sorted(names))
    for number, file in enumerate(files):
        if number >= MAX_FILES_OF_A_DIRECTORY:
            log.warning("%s has more than %d files; the rest is not listed", path, MAX_FILES_OF_A_DIRECTORY)
            return
        try:
            plain = Path(os.path.normpath(file))
            name = str(plain.relative_to(root)).encode()  # a name that is not UTF-8 cannot be an address
            inside = file.is_file() and file.resolve().is_relative_to(root) and plain.resolve() == file.resolve()
            if inside and file.name != SNAKEMAKE_TIMESTAMP and len(name) <= MAX_PATH_BYTES:
                yield plain, file.stat()
        except (OSError, ValueError) as error:
            log.warning("output %r is not listed: %s", str(file), error)


def _digest(path: Path, root: Path) -> str | None:
    try:
        with open_plain(path, root) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        log.warning("cannot read output %s: %s", path, error)
        return None


def _batches(values: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
