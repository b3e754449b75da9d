"""The outputs of jobs that lie in a storage: found by the names that Snakemake recorded, not by a listing."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from snakeway.blobs import Blob, Blobs, Storages
from snakeway.errors import Invalid
from snakeway.model.artifact import is_address, path_in_storage
from snakeway.model.blob import check_key, location_of
from snakeway.store.jobs import Outputs

log = logging.getLogger(__name__)

MAX_OBJECTS_OF_A_DIRECTORY = 10_000
_TIMESTAMP = ".snakemake_timestamp"  # Snakemake's own, in every output directory
_AT_ONCE = 8  # requests: an answer takes some 20 ms, and the storage is shared
_BATCH = 500


def outputs(jobs: Sequence[Outputs], storage_url: str | None, storages: Storages) -> Iterator[list[dict[str, Any]]]:
    """Yield, in batches, the members of the artifacts that lie below ``storage_url``.

    Only there: the names come from jobs, and what is opened is opened with the server's keys. What is gone, such as
    an output marked ``temp()``, is left out. Raises BlobsUnavailable and BlobsRefused.

    Cost: one request for each output; for a folder one for each thousand of its files.
    """
    if storage_url is None:
        return
    location = location_of(storage_url)
    storage = storages.at(storage_url)
    named: list[tuple[Outputs, str, bool]] = []
    for job in jobs:
        for output in filter(is_address, job.outputs):
            path = path_in_storage(output, location)
            if path is None:
                log.warning("output %r of job %d is not listed: it is not below %s", output, job.number, location)
            else:
                named.append((job, path, output in job.directories))
    with ThreadPoolExecutor(_AT_ONCE, "snakeway-stat") as pool:
        for start in range(0, len(named), _BATCH):
            batch = named[start : start + _BATCH]
            found = pool.map(lambda each: _objects(storage, each[1], folder=each[2]), batch)
            yield [
                {
                    "path": blob.key,
                    "storage_url": storage_url,
                    "size_bytes": blob.size_bytes,
                    "mtime": blob.modified.timestamp(),
                    "etag": blob.etag,
                    "rule": job.rule,
                    "job_number": job.number,
                }
                for (job, _, _), blobs in zip(batch, found, strict=True)
                for blob in blobs
            ]


def gone(known: Sequence[tuple[str, str]], storages: Storages) -> list[str]:
    """Return the paths of those of the artifacts (storage URL, path) that are not there any more.

    Cost: one request for each. Raises as `outputs` does.
    """
    with ThreadPoolExecutor(_AT_ONCE, "snakeway-stat") as pool:
        return [
            path
            for start in range(0, len(known), _BATCH)
            for path in pool.map(lambda each: _if_gone(storages.at(each[0]), each[1]), known[start : start + _BATCH])
            if path is not None
        ]


def _if_gone(storage: Blobs, path: str) -> str | None:
    return path if storage.stat(path) is None else None


def _is_output(key: str) -> bool:
    try:
        return check_key(key).rpartition("/")[2] != _TIMESTAMP
    except Invalid as error:
        log.warning("output is not listed: %s", error)
        return False


def _objects(storage: Blobs, path: str, *, folder: bool) -> list[Blob]:
    if not folder:
        blob = storage.stat(path)
        return [] if blob is None else [blob]
    below = (blob for blob in storage.list(f"{path}/") if _is_output(blob.key))
    blobs = list(itertools.islice(below, MAX_OBJECTS_OF_A_DIRECTORY + 1))
    if len(blobs) > MAX_OBJECTS_OF_A_DIRECTORY:
        log.warning("%s has more than %d files; the rest is not listed", path, MAX_OBJECTS_OF_A_DIRECTORY)
        del blobs[MAX_OBJECTS_OF_A_DIRECTORY:]
    return blobs
