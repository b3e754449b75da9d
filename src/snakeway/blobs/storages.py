"""The storages that the files of runs are in, by their URLs."""

from collections.abc import Callable
from functools import lru_cache

from snakeway.blobs.base import Blobs
from snakeway.model.blob import BlobsLocation, location_of

_OPEN_AT_ONCE = 64  # one for each run that is read from; its connections are let go with it


class Storages:
    """Opens storages, and keeps those that were used last."""

    def __init__(self, open_: Callable[[BlobsLocation], Blobs]) -> None:
        self._open = lru_cache(_OPEN_AT_ONCE)(lambda url: open_(location_of(url)))

    def at(self, url: str) -> Blobs:
        """Return the storage that `location_of` finds in ``url``; nothing is asked of it yet. Raises Invalid."""
        return self._open(url)
