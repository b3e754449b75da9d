"""Names and small functions that the rules share. There are no rules here."""

import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod, SharedFSUsage

SPECIES = config["species"]
BATCHES = range(1, config["batches"] + 1)

# The workflow's folder, relative to the working directory, so that the workflow also
# runs with --directory, and so that a moved checkout does not look like changed input.
ROOT = os.path.relpath(os.path.dirname(workflow.basedir))


wildcard_constraints:
    species="|".join(SPECIES),
    batch="[0-9]+",


if config["predictor"] == config["response"]:
    raise WorkflowError(
        f"predictor and response are both {config['predictor']}; choose two columns."
    )


def shipped(path):
    """A file that comes with the workflow; the path is relative to the workflow's folder.

    Jobs that share no disk with the workflow find it among the sources that Snakemake
    sends them.
    """
    if SharedFSUsage.SOURCES in workflow.storage_settings.shared_fs_usage:
        return os.path.normpath(os.path.join(ROOT, path))
    return workflow.source_path(os.path.join("..", "..", path))


def data_file():
    """The measurements: as configured, or else that path beside the workflow."""
    path = config["data"]
    beside = os.path.join(ROOT, path)
    return shipped(path) if not os.path.isabs(path) and os.path.exists(beside) else path


def interpreter(wildcards, resources):
    """The Python that runs the scripts.

    It is the one that runs Snakemake, or the one of the conda environment if
    conda deployment is on. The argument `resources` is not used, but it matters:
    Snakemake does not compare parameters that derive from resources between
    runs, so another installation of Python does not make finished jobs run again.
    """
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        return "python3"
    return sys.executable


def ballast_mb(wildcards):
    """Memory in MB that the memory demonstration makes this batch allocate."""
    if (
        config["memory_demo"]
        and int(wildcards.batch) % config["memory_demo_every"] == 0
    ):
        return config["memory_demo_mb"]
    return 0
