"""The executor: snakemake-executor-plugin-slurm with what a service needs of it. Each difference says what it is for.

Written against version 2.8 of the plugin. Its methods that are overridden here are few, and a test runs each of the
situations on a real cluster:

- Jobs bear the name of the run (the plugin: a number drawn at each start), so that whoever comes after a crash finds
  all of them, also those whose number was never recorded.
- A job that sbatch does not accept *for now* waits and is submitted again (the plugin: the job has failed). That is
  the case while the controller is away, and while the user has as many jobs in the queue as is allowed.
- The end of a job is noticed within `longest_status_pause_s` (the plugin: while no job ends, each pause is 10 s longer
  than the one before, up to 3 minutes).
- A job that was preempted, or that Slurm has forgotten, has failed (the plugin: waits for it without end), see
  `overlooked`.
- Cancelling reaches every job (the plugin: not those whose state is being asked for at that moment, and what waits in
  its own queue is still submitted afterwards).
- A job's snakemake is started once on its node (the plugin: twice, in the batch step and once more by srun), and
  without a search for executor plugins, see `snakeway.node`. Jobs with `mpi` call srun themselves in both cases.
- Inside an allocation SLURM_CONF is kept (the plugin: takes it away with the other variables of Slurm's).
- Account and partition that nothing names are left to Slurm, to SBATCH_ACCOUNT and to SBATCH_PARTITION; those that are
  named are judged by sbatch (the plugin: asks sacct, sacctmgr and sinfo before it submits, and fails jobs while the
  accounting database is down).
"""

import os
import shlex
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings
from snakemake_executor_plugin_slurm.utils import delete_slurm_environment
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_snakeway_slurm.overlooked import Overlooked, states_of
from snakemake_executor_plugin_snakeway_slurm.patience import last_words, worth_waiting
from snakemake_logger_plugin_snakeway.identity import run_of
from snakeway.wire import ENV_RUN, STATE_FOLDER

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

_CONFIGURATION = "SLURM_CONF"  # which cluster; the one variable of Slurm's that does not describe a job
_NODE = "snakeway.node"
_REFUSED = "SLURM sbatch failed."  # how the plugin's message begins; what follows is sbatch's own


@dataclass
class ExecutorSettings(SlurmSettings):
    """The plugin's settings, and two of ours."""

    longest_status_pause_s: int = field(
        default=15,
        metadata={"help": "Longest time in seconds between two looks at the states of jobs."},
    )
    submit_retry_s: int = field(
        default=15,
        metadata={"help": "Time in seconds after which a job that Slurm did not accept for now is submitted again."},
    )


class Executor(SlurmExecutor):
    """See the module's text."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        if "SLURM_JOB_ID" in os.environ:  # snakemake is itself a job: what describes that one is not for its jobs
            configuration = os.environ.get(_CONFIGURATION)
            delete_slurm_environment()
            if configuration is not None:
                os.environ[_CONFIGURATION] = configuration
        super().__init__(workflow, logger)

    def __post_init__(self, test_mode: bool = False) -> None:
        self._stopping = threading.Event()
        self._overlooked = Overlooked()
        self._submitted: dict[int, SubmittedJobInfo] = {}  # by id(job): in Slurm's hands, its end not seen yet
        super().__post_init__(test_mode)
        prefix = self.workflow.executor_settings.jobname_prefix
        run = os.environ.get(ENV_RUN) or run_of(Path(STATE_FOLDER).absolute())
        self.run_uuid = f"{prefix}_{run}" if prefix else run
        self.logger.info(f"The jobs of this run are called {self.run_uuid} in Slurm.")

    def get_python_executable(self) -> str:
        """Start the job's snakemake without the search for executor plugins."""
        return f"{super().get_python_executable()} -m {_NODE}"

    def additional_general_args(self) -> str:
        """Run the job in the batch step itself, with Snakemake's local executor."""
        return ""

    def get_account_arg(self, job: JobExecutorInterface) -> Generator[str, None, None]:
        """Name the account that the job's resource ``slurm_account`` names."""
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def get_partition_arg(self, job: JobExecutorInterface) -> str:
        """Name the partition of the job's resource ``slurm_partition``, or the one that the partition file gives."""
        if job.resources.get("slurm_partition") or self._partitions:
            return str(super().get_partition_arg(job))
        return ""

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job, unless everything is being cancelled."""
        if not self._stopping.is_set():
            super().run_job(job)

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """Submit a job again that was refused for now. This is called in a thread of the plugin's that submits."""
        reason = worth_waiting(msg) if msg.startswith(_REFUSED) and job_info.external_jobid is None else None
        if reason is None:
            super()._report_job_error_threadsafe(job_info, msg)
            return
        retry_s = self.workflow.executor_settings.submit_retry_s
        jobs = job_info.job.jobs if job_info.job.is_group() else [job_info.job]
        self.logger.warning(
            f"Slurm does not accept job {job_info.job.jobid} for now ({last_words(msg)}); again in {retry_s} s.",
            extra={"snakeway_held": {"jobs": [job.jobid for job in jobs], "reason": reason}},
        )
        if not self._stopping.wait(retry_s):
            self.run_job(job_info.job)

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        """Remember the job until its end. Here, because whoever hears of it next may be busy with cancelling."""
        self._submitted[id(job_info.job)] = job_info
        super()._report_job_submission_threadsafe(job_info)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Forget the job."""
        self._submitted.pop(id(job_info.job), None)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Forget the job."""
        self._submitted.pop(id(job_info.job), None)
        super().report_job_error(job_info, msg, **kwargs)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Look at the jobs, end those that the plugin would wait for in vain, and keep the next pause short."""
        waiting = [job_info async for job_info in super().check_active_jobs(active_jobs)]
        states = await states_of(self.run_uuid) if waiting else None
        ids = [str(job_info.external_jobid) for job_info in waiting]
        over = self._overlooked.look(ids, states) if states is not None else {}
        for job_info in waiting:
            id_ = str(job_info.external_jobid)
            if id_ in over:
                message = f"SLURM-job '{id_}' failed, SLURM status is: '{over[id_]}'."
                self.report_job_error(job_info, msg=message, aux_logs=[str((job_info.aux or {}).get("slurm_logfile"))])
            else:
                yield job_info
        longest = self.workflow.executor_settings.longest_status_pause_s
        self.next_seconds_between_status_checks = min(self.pause_s, longest)

    @property
    def pause_s(self) -> float:
        """Time in seconds until the plugin looks again."""
        return float(super().next_seconds_between_status_checks)

    def cancel(self) -> None:
        """Submit nothing any more, then cancel what was submitted."""
        self._stopping.set()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        super().cancel()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs whose end was not seen, not only those that the plugin has in its list at this moment."""
        everything = {id(info.job): info for info in active_jobs} | self._submitted
        super().cancel_jobs(list(everything.values()))
