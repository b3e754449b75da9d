"""Collects the outputs of ended attempts as artifacts: first what there is, then the digests, which take time.

What is still to do is in the database: a crash at any line leaves it to be done again, by this supervisor's successor.
"""

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakeway.blobs import Storages
from snakeway.directory import run_directory
from snakeway.errors import BlobNotFound
from snakeway.model.artifact import Kind, is_address, kind_of, path_in_storage
from snakeway.model.blob import BlobsLocation, location_of
from snakeway.plainfile import open_plain
from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.store import Store, artifacts, jobs, runs
from snakeway.store.jobs import Outputs
from snakeway.supervisor import stored

log = logging.getLogger(__name__)

MAX_FILES_OF_A_DIRECTORY = 10_000
MAX_PATH_BYTES = 1024  # what the artifact's column holds
SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"  # Snakemake's own, in every output directory
_BATCH = 500

Step = Callable[[Store, Settings, Storages, AttemptRow], object]  # `find` or `digest`


def find(store: Store, settings: Settings, storages: Storages, attempt: AttemptRow) -> list[dict[str, Any]]:
    """Record the outputs of the attempt's jobs that succeeded, without digests; returns those that need one.

    What an attempt of the run has been asked for by now is a target, whichever attempt made it. Artifacts of attempts
    before it that are not there any more, such as outputs marked ``temp()`` of one that failed, are forgotten.

    Cost: one stat per artifact of the run, in its directory or in the storage. Raises BlobsUnavailable and
    BlobsRefused when the storage does not tell; what lies in the run's directory is recorded before.
    """
    root = run_directory(settings.data_dir, attempt.run_id).path.resolve()
    location = None if attempt.storage_url is None else location_of(attempt.storage_url)
    with store.read() as tx:
        outputs = jobs.succeeded_outputs(tx, attempt.id)
        known = artifacts.known(tx, attempt.run_id)
        names = artifacts.requested(tx, attempt.run_id)
    requested = {path for name in names if (path := _path_of(name, root, location)) is not None}
    late = [
        path
        for path, artifact in known.items()
        if artifact.kind is not Kind.TARGET and kind_of(path, requested) is Kind.TARGET
    ]
    if late:
        with store.write() as tx:
            artifacts.mark(tx, attempt.run_id, late, Kind.TARGET)
    common = {"run_id": attempt.run_id, "attempt_id": attempt.id, "sha256": None, "created_at": now()}
    fresh: list[dict[str, Any]] = []
    seen: set[str] = set()
    for batch in itertools.chain(
        _batches(_in_directory(outputs, root)), stored.outputs(outputs, attempt.storage_url, storages)
    ):
        seen.update(values["path"] for values in batch)
        new = [values for values in batch if not _is_known(values, known.get(values["path"]))]
        for values in new:
            values.update(common, kind=kind_of(values["path"], requested))
        _save(store, attempt.run_id, new)
        fresh += new
    _forget(store, attempt.run_id, root, {path: known[path] for path in known.keys() - seen}, storages)
    return fresh


def _forget(store: Store, run_id: str, root: Path, unseen: Mapping[str, artifacts.Known], storages: Storages) -> None:
    """Remove the records of artifacts that are gone. A job that runs may be about to make one anew: it comes again."""
    in_storage = [(artifact.storage_url, path) for path, artifact in unseen.items() if artifact.storage_url is not None]
    gone = stored.gone(in_storage, storages)
    if root.is_dir():  # else the disk may just not be there
        gone += [path for path, artifact in unseen.items() if artifact.storage_url is None and _is_gone(root / path)]
    if gone:
        with store.write() as tx:
            artifacts.forget(tx, run_id, gone)


def _is_gone(file: Path) -> bool:
    try:
        file.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def digest(store: Store, settings: Settings, storages: Storages, attempt: AttemptRow) -> None:
    """Add the digests of the attempt's outputs, and remember that they have been collected.

    Cost: one read of each file. What a job of the next attempt removes meanwhile keeps its entry without a digest, and
    so does an object of more than ``settings.digest_max_bytes``. Raises as `find` does.
    """
    root = run_directory(settings.data_dir, attempt.run_id).path.resolve()
    fresh = find(store, settings, storages, attempt)
    for start in range(0, len(fresh), _BATCH):
        hashed: list[dict[str, Any]] = []
        try:
            for values in fresh[start : start + _BATCH]:
                if values["storage_url"] is None:
                    sha256 = _digest(root / values["path"], root)
                elif values["size_bytes"] <= settings.digest_max_bytes:
                    sha256 = _digest_in_storage(storages, values)
                else:
                    sha256 = None
                if sha256 is not None:
                    hashed.append(values | {"sha256": sha256})
        finally:  # a storage that falls silent does not have them read again
            _save(store, attempt.run_id, hashed)
    with store.write() as tx:
        artifacts.collected(tx, attempt.id)


def _is_known(values: dict[str, Any], known: artifacts.Known | None) -> bool:
    same = ("size_bytes", "mtime", "etag", "storage_url")
    return known is not None and known.sha256 is not None and all(values[k] == getattr(known, k) for k in same)


def _save(store: Store, run_id: str, values: list[dict[str, Any]]) -> None:
    if not values:
        return
    with store.write() as tx:
        if runs.lock(tx, run_id) is not None:  # it may have been deleted meanwhile
            artifacts.save(tx, values)


def _path_of(name: str, root: Path, location: BlobsLocation | None) -> str | None:
    """Return the path that an artifact of this name has."""
    if is_address(name):
        return None if location is None else path_in_storage(name, location)
    path = Path(os.path.normpath(root / name))
    return str(path.relative_to(root)) if path.is_relative_to(root) else None


def _in_directory(outputs: Sequence[Outputs], root: Path) -> Iterator[dict[str, Any]]:
    for job in outputs:
        for file, status in itertools.chain.from_iterable(
            files_below(root, output) for output in job.outputs if not is_address(output)
        ):
            yield {
                "path": str(file.relative_to(root)),
                "storage_url": None,
                "size_bytes": status.st_size,
                "mtime": status.st_mtime,
                "etag": None,
                "rule": job.rule,
                "job_number": job.number,
            }


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


def _digest_in_storage(storages: Storages, values: dict[str, Any]) -> str | None:
    try:
        with storages.at(values["storage_url"]).stream(values["path"]) as chunks:
            if chunks.blob.etag != values["etag"]:  # a job of the next attempt has made it anew
                return None
            hash_ = hashlib.sha256()
            for chunk in chunks:
                hash_.update(chunk)
            return hash_.hexdigest()
    except BlobNotFound:
        return None


def _batches(values: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(values, _BATCH)):
        yield batch
