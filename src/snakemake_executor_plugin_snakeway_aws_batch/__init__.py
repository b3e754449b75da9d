"""Snakemake executor ``snakeway-aws-batch``: the AWS Batch executor plugin, made to ask for what a job needs.

Jobs run in containers on AWS Batch, and their files are in a bucket. What snakemake-executor-plugin-aws-batch asks of a
workflow is asked here as well; `executor` says what is different and why. Snakemake imports this package at every
start, also where that plugin is not installed.
"""

import importlib.util

if importlib.util.find_spec("snakemake_executor_plugin_aws_batch") is not None:
    from snakemake_executor_plugin_snakeway_aws_batch.executor import Executor, ExecutorSettings, common_settings
else:
    from snakemake_executor_plugin_snakeway_aws_batch.absent import (
        Executor,
        ExecutorSettings,
        common_settings,
    )

__all__ = ["Executor", "ExecutorSettings", "common_settings"]
