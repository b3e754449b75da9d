"""Snakemake for one job on its node: ``python -m snakeway.node -m snakemake …``, in place of ``python -m snakemake …``.

Snakemake imports every installed executor plugin when it starts, and the Slurm plugin asks the controller about its
configuration when it is imported. A job on its node uses no executor but the local one; without the others it starts in
a sixth less processor time, and asks nobody. It first writes the time into the job's log, because whoever looks from
outside sees a short job only when it has ended. Apart from that it is the same snakemake.
"""

import sys
import time

from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from snakeway.wire import start_on_node

_INSTEAD_OF = ["-m", "snakemake"]


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
    if arguments[:2] == _INSTEAD_OF:
        arguments = arguments[2:]
    sys.argv = ["snakemake", *arguments]
    snakemake_main()


if __name__ == "__main__":
    main()
