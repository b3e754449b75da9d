"""Slurm: its commands and what they print (`commands`, `tables`), and why a job failed (`diagnosis`)."""

from snakeway.targets.slurm.commands import SlurmScheduler
from snakeway.targets.slurm.diagnosis import SlurmDiagnosis

__all__ = ["SlurmDiagnosis", "SlurmScheduler"]
