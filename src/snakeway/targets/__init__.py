"""What differs between the places where jobs run. One module per executor; the functions here choose."""

from snakeway.targets.aws_batch import AwsBatchDiagnosis, AwsBatchLogs, AwsBatchScheduler
from snakeway.targets.base import Diagnosis, Logs, Scheduler, SchedulerAway
from snakeway.targets.local import LocalDiagnosis
from snakeway.targets.slurm import SlurmDiagnosis, SlurmScheduler

__all__ = ["Diagnosis", "Logs", "Scheduler", "SchedulerAway", "diagnosis_for", "logs_for", "scheduler_for"]

_LOCAL = LocalDiagnosis()
_DIAGNOSES: dict[str, Diagnosis] = {
    **dict.fromkeys(("slurm", "snakeway-slurm"), SlurmDiagnosis()),
    **dict.fromkeys(("aws-batch", "snakeway-aws-batch"), AwsBatchDiagnosis()),
}
_SCHEDULERS: dict[str, Scheduler] = {"snakeway-slurm": SlurmScheduler(), "snakeway-aws-batch": AwsBatchScheduler()}

_LOGS: dict[str, Logs] = {"snakeway-aws-batch": AwsBatchLogs()}


def diagnosis_for(executor: str) -> Diagnosis:
    """Return who judges failures of jobs that ``executor`` runs; the local rules for executors that nobody knows."""
    return _DIAGNOSES.get(executor, _LOCAL)


def scheduler_for(executor: str) -> Scheduler | None:
    """Return who talks to the scheduler that ``executor`` sends jobs to; None if there is none, or nobody can.

    The plugins ``slurm`` and ``aws-batch`` as they are name jobs in ways that nobody else knows, so they cannot be
    found.
    """
    return _SCHEDULERS.get(executor)


def logs_for(executor: str) -> Logs | None:
    """Return who has what the jobs of ``executor`` print; None where it is in files of the run, or nobody can tell."""
    return _LOGS.get(executor)
