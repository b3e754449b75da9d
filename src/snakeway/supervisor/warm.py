"""Starts shims from a process that has snakemake imported already.

Importing snakemake and every plugin takes seconds; forking takes milliseconds. The standard library's forkserver is
that process: it is forked for each attempt, and started again by itself when it was killed.
"""

import gc
import importlib.machinery
import json
import multiprocessing
import sys
from multiprocessing.context import ForkServerContext

from snakeway.supervisor import shim
from snakeway.supervisor.prepare import Prepared

_LAUNCH_WAIT_S = 30


class Launcher:
    """Launches attempts; one per supervisor."""

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__ + "_preload"])
        _hide_main_module()

    def warm_up(self) -> None:
        """Start the forkserver, so that the first attempt does not wait for its imports."""
        from multiprocessing import forkserver

        forkserver.ensure_running()

    def launch(self, attempt: Prepared) -> None:
        """Start the shim of an attempt; it detaches itself, so nothing is left to wait for.

        Raises OSError or EOFError when the forkserver was killed at this moment: the attempt was not started, or its
        shim holds the claim; launching again is safe in both cases. The same holds for TimeoutError, if another account
        runs the attempt: its process cannot be forked from here, and imports snakemake for itself. Raises CannotBecome
        when it was not started.
        """
        if attempt.owner is not None:
            order = json.dumps({"command": attempt.command, "config": attempt.config})
            attempt.owner.call("shim", attempt.command["run_id"], str(attempt.command["number"]), given=order)
            return
        process = self._context.Process(target=shim.detach, args=(str(attempt.directory.path),))
        process.start()
        process.join(_LAUNCH_WAIT_S)
        if process.exitcode is not None:  # otherwise the machine is so slow that the fork itself takes this long
            process.close()


def _hide_main_module() -> None:
    # multiprocessing imports the parent's main module in every child unless it is a package's __main__, which it
    # knows to have no use for. Ours may be a console script that would import the whole server.
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None:
        main.__spec__ = importlib.machinery.ModuleSpec("snakeway.__main__", None)


def freeze() -> None:
    """Keep the garbage collector's hands off what was imported, so that forked children share its memory."""
    gc.collect()
    gc.freeze()
