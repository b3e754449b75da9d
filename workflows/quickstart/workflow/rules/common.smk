"""Names and small functions that the rules share. There are no rules here."""

import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

SPECIES = config["species"]
BATCHES = range(1, config["batches"] + 1)

# Where the workflow is, as seen from the working directory: it also runs with --directory.
ROOT = os.path.relpath(os.path.dirname(workflow.basedir))


wildcard_constraints:
    species="|".join(SPECIES),
    batch="[0-9]+",


if config["predictor"] == config["response"]:
    raise WorkflowError(
        f"predictor and response are both {config['predictor']}; choose two columns."
    )


def data_file():
    """The measurements: as configured, or else that path beside the workflow.

    What comes with the workflow is part of its source, and goes with it to jobs that
    share no disk with it.
    """
    path = config["data"]
    shipped = os.path.normpath(os.path.join(ROOT, path))
    if os.path.isabs(path) or not os.path.exists(shipped):
        return path
    return workflow.source_path(os.path.join("..", "..", path))


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
