"""Snakemake for one job on its node: ``python -m snakeway.node -m snakemake …``, in place of ``python -m snakemake …``.

With ``OPTIONS --then -m snakemake …`` it is snakemake with these options first, and then, if that went well, with those
that follow: where nothing is shared, the workflow has to be fetched before a job of it can run. The first is a fork of
the process that becomes the second, so that the imports, most of the time that either takes, are made once.

Snakemake imports every installed executor plugin when it starts, and the Slurm plugin asks the controller about its
configuration when it is imported. A job on its node uses no executor but the local one; without the others it starts in
a sixth less processor time, and asks nobody. It first writes the time into the job's log, because whoever looks from
outside sees a short job only when it has ended. Apart from that it is the same snakemake.
"""

import os
import sys
import time
from collections.abc import Callable

from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from snakeway.wire import start_on_node

_INSTEAD_OF = ["-m", "snakemake"]
_THEN = "--then"


def main() -> None:
    """Run snakemake with the arguments of this process."""
    sys.stderr.write(f"{start_on_node(time.time())}\n")
    sys.stderr.flush()
    # There is one registry, and it searches for plugins when it is initialised, unless it has some already.
    registry = ExecutorPluginRegistry.__new__(ExecutorPluginRegistry)
    registry.plugins = {}
    from snakemake.executors import dryrun, local, touch

    for name, module in (("local", local), ("dryrun", dryrun), ("touch", touch)):
        registry.register_plugin(name, module)
    from snakemake.cli import main as snakemake_main

    arguments = sys.argv[1:]
    if _THEN in arguments:
        end = arguments.index(_THEN)
        first, arguments = arguments[:end], arguments[end + 1 :]
        code = _forked(snakemake_main, first)
        if code != 0:
            sys.exit(code)
    if arguments[:2] == _INSTEAD_OF:
        arguments = arguments[2:]
    sys.argv = ["snakemake", *arguments]
    snakemake_main()


def _forked(snakemake_main: Callable[[], None], arguments: list[str]) -> int:
    """Run snakemake in a child of this process, which has no threads yet; returns its exit code, 128 + its signal."""
    child = os.fork()
    if child == 0:
        sys.argv = ["snakemake", *arguments]
        snakemake_main()
        sys.exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main()
