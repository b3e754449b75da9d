"""What jobs print is kept beside the run: CloudWatch forgets it, and who runs snakemake by hand looks into a folder.

A log is fetched when its job has ended. CloudWatch may have the last lines some seconds later.
"""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_snakeway_aws_batch.patience import FAULTS, words
from snakemake_executor_plugin_snakeway_aws_batch.states import Seen
from snakeway.cloudwatch import keep, pages

FOLDER = Path(".snakemake", "aws_batch_logs")
_FETCHERS = 8
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


class Logs:
    """The logs of one run. ``warn`` says once that none can be fetched, ``stopping`` that nobody waits for one."""

    def __init__(self, client: Any, settle_s: float, stopping: threading.Event, warn: Callable[[str], None]) -> None:
        self._client = client
        self._settle_s = settle_s
        self._stopping = stopping
        self._warn = warn
        self._warned = False
        self._base = Path.cwd()  # Snakemake does not change it any more
        self._threads = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="snakeway-logs")

    def path(self, job: str, external_id: str) -> Path:
        """Return where the log of a job will be, relative to the working directory."""
        return FOLDER / _ODD.sub("_", job) / f"{_ODD.sub('_', external_id)}.log"

    def fetch(self, path: str, seen: Seen, then: Callable[[], None] = lambda: None) -> "Future[None]":
        """Keep the log of a job that has ended, in a thread; ``then`` is called whether that worked or not."""
        return self._threads.submit(self._fetch, path, seen, then)

    def _fetch(self, path: str, seen: Seen, then: Callable[[], None]) -> None:
        try:
            self._settle(seen)
            if seen.streams and not self._stopping.is_set():
                place = self._base / path
                place.parent.mkdir(parents=True, exist_ok=True)
                keep(place, pages(self._client, seen.group, seen.streams))
        except (*FAULTS, OSError) as error:
            if not self._warned:
                self._warned = True
                self._warn(f"The logs of jobs stay in CloudWatch, because they cannot be fetched: {words(error)}")
        finally:
            then()

    def _settle(self, seen: Seen) -> None:
        """Wait until CloudWatch has everything. The clocks may differ, so never longer than that takes at all."""
        since = time.time() - seen.stopped if seen.stopped is not None else 0.0
        self._stopping.wait(min(self._settle_s, max(0.0, self._settle_s - since)))

    def close(self) -> None:
        """Wait for the logs that are being fetched."""
        self._threads.shutdown(wait=True)
