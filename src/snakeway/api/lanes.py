"""Threads: the handlers are synchronous and run in the loop's own pool; what may take seconds runs in others.

A re-run waits for its dry run, a submission from git for the clone, a download for a storage. In the common pool a few
of them would make every other request wait. Submissions of the catalog's workflows have one thread, see grouped.py.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

COMMON_THREADS = 12  # fewer than the store has connections
SLOW_THREADS = 8
SUBMIT_THREADS = 1  # what comes while it is busy is made together
TRANSFER_THREADS = 16  # each reads one piece at a time: of that many downloads at once, and of more in turns


def set_common_pool() -> None:
    """Give the running loop a common pool of the same size on every machine."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(COMMON_THREADS, "snakeway-api"))


class Lane:
    """Runs calls, at most ``threads`` at a time; the others wait for their turn."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._pool: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Start to take calls."""
        self._pool = ThreadPoolExecutor(self._threads, self._name)

    def close(self) -> None:
        """Drop the calls that wait; those under way go on to their end."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of ``function``, called in a thread of this lane."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))

    def submit(self, function: Callable[[], object]) -> None:
        """Have ``function`` called, and do not wait for it; also when the lane is closed."""
        try:
            asyncio.get_running_loop().run_in_executor(self._pool, function)
        except RuntimeError:
            threading.Thread(target=function, daemon=True).start()
