"""Snakemake executor ``snakeway-slurm``: the Slurm executor plugin, made to lose no job and to fail none in haste.

Jobs, resources and options are those of snakemake-executor-plugin-slurm, which does the work; `executor` says what is
different and why. Snakemake imports this package at every start, also where that plugin is not installed.
"""

import importlib.util

if importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None:
    from snakemake_executor_plugin_snakeway_slurm.executor import Executor, ExecutorSettings, common_settings
else:
    from snakemake_executor_plugin_snakeway_slurm.absent import (  # type: ignore[assignment]
        Executor,
        ExecutorSettings,
        common_settings,
    )

__all__ = ["Executor", "ExecutorSettings", "common_settings"]
