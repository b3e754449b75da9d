"""The executor: snakemake-executor-plugin-slurm with what a service needs of it. Each difference says what it is for.

Written against version 2.8 of the plugin. Tests run most of these situations on a real cluster; a job that Slurm has
forgotten is tested as a rule only:

- Jobs bear the name of the run (the plugin: a number drawn at each start), so that whoever comes after a crash finds
  all of them, also those whose number was never recorded.
- A job that sbatch does not accept *for now* waits and is submitted again (the plugin: the job has failed). That is
  the case while the controller is away, and while the user has as many jobs in the queue as is allowed. Where the
  controller's answer was lost, what it may have accepted is cancelled first.
- The end of a job is noticed within `longest_status_pause_s` (the plugin: while no job ends, each pause is 10 s longer
  than the one before, up to 3 minutes).
- A job that was preempted, or that Slurm has forgotten, has failed (the plugin: waits for it without end), see
  `overlooked`.
- Cancelling reaches every job (the plugin: not those whose state is being asked for at that moment, and what waits in
  its own queue is still submitted afterwards).
- A job's snakemake is started once on its node (the plugin: twice, in the batch step and once more by srun), and
  without a search for executor plugins, see `snakeway.node`. Jobs with `mpi` call srun themselves in both cases.
- Job arrays and prefixes of job names are refused.
- Inside an allocation SLURM_CONF is kept (the plugin: takes it away with the other variables of Slurm's).
- Account and partition that nothing names are left to Slurm, to SBATCH_ACCOUNT and to SBATCH_PARTITION; those that are
  named are judged by sbatch (the plugin: asks sacct, sacctmgr and sinfo before it submits, and fails jobs while the
  accounting database is down).
"""

import asyncio
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings
from snakemake_executor_plugin_slurm.utils import delete_slurm_environment, get_job_wildcards
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_snakeway_slurm.held import Held
from snakemake_executor_plugin_snakeway_slurm.overlooked import ALIVE, FORGOTTEN, Overlooked
from snakemake_executor_plugin_snakeway_slurm.patience import last_words, may_have_been_accepted, worth_waiting
from snakemake_executor_plugin_snakeway_slurm.questions import books_of, cancel, states_of
from snakemake_logger_plugin_snakeway.identity import run_of
from snakeway.wire import ENV_RUN, STATE_FOLDER

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

_CONFIGURATION = "SLURM_CONF"  # which cluster; the one variable of Slurm's that does not describe a job
_NODE = "snakeway.node"
_REFUSED = "SLURM sbatch failed."  # how the plugin's message begins; what follows is sbatch's own
_KILLED = f"{_REFUSED} The error message was ''"  # it had no time to say anything
_KILLED_WITH_US_S = 2.0  # between the end of sbatch by SIGINT and that Snakemake knows of the same signal
_OWN_LOOK_S = 20.0  # between two questions of ours
_TWIN_PAUSE_S = 2.0
_CLUSTERS = ("cluster", "clusters", "slurm_cluster")  # resources that send a job to another cluster
_NOT_HERE = ("jobname_prefix", "array_jobs")  # jobs bear the run's id; arrays need the plugin's own start on the node


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
        self._looked_at = -_OWN_LOOK_S  # monotonic; of our own question about states
        self._held: Held[JobExecutorInterface] = Held(self._submit_again)
        self._refusals: set[int] = set()  # id(job) of what was refused in the submission under way
        self._submitted: dict[int, SubmittedJobInfo] = {}  # by id(job): in Slurm's hands, its end not seen yet
        super().__post_init__(test_mode)
        settings = self.workflow.executor_settings
        for option in (name for name in _NOT_HERE if getattr(settings, name)):
            raise WorkflowError(
                f"executor snakeway-slurm has no {option.replace('_', '-')}; remove it from the profile"
            )
        self.run_uuid = os.environ.get(ENV_RUN) or run_of(Path(STATE_FOLDER).absolute())
        self.logger.info(f"The jobs of this run are called {self.run_uuid} in Slurm.")

    def get_python_executable(self) -> str:
        """Start the job's snakemake without the search for executor plugins, where it is the one that is used here."""
        python = str(super().get_python_executable())
        return f"{python} -m {_NODE}" if python == sys.executable else python

    def additional_general_args(self) -> str:
        """Run the job in the batch step itself, with Snakemake's local executor."""
        return ""

    def get_account_arg(self, job: JobExecutorInterface) -> Generator[str, None, None]:
        """Name the account that the job's resource ``slurm_account`` names, the first if these are several."""
        accounts = re.split(r"[,\s]+", str(job.resources.get("slurm_account") or "").strip())
        yield f" -A {shlex.quote(accounts[0])}" if accounts[0] else ""

    def get_partition_arg(self, job: JobExecutorInterface) -> str:
        """Name the partition of the job's resource ``slurm_partition``, or the one that the partition file gives."""
        if job.resources.get("slurm_partition") or self._partitions:
            return str(super().get_partition_arg(job))
        return ""

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job, unless everything is being cancelled. Called in the plugin's threads that submit."""
        if self._stopping.is_set():
            return
        self._refusals.discard(id(job))
        super().run_job(job)
        if id(job) not in self._refusals:
            self._held.accepted(job)

    def _submit_again(self, job: JobExecutorInterface) -> None:
        with suppress(RuntimeError):  # the threads are gone: everything is being cancelled
            self._job_submission_executor.submit(self.run_job, job)

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """Let a job wait that was refused for now; other jobs have failed."""
        if msg.startswith(_KILLED) and self._stopping.wait(_KILLED_WITH_US_S):
            return  # the interrupt that ends us has ended sbatch as well
        reason = worth_waiting(msg) if msg.startswith(_REFUSED) and job_info.external_jobid is None else None
        if reason is None:
            super()._report_job_error_threadsafe(job_info, msg)
            return
        job, settings = job_info.job, self.workflow.executor_settings
        self._refusals.add(id(job))
        if may_have_been_accepted(msg):
            self._cancel_twin(job)
        key = (reason, *(str(job.resources.get(name)) for name in ("slurm_account", "slurm_partition", "qos")))
        if self._held.refused(job, key, settings.submit_retry_s):
            jobs = job.jobs if job.is_group() else [job]
            self.logger.warning(
                f"Slurm does not accept job {job.jobid} for now ({last_words(msg)}); it will be submitted again.",
                extra={"snakeway_held": {"jobs": [each.jobid for each in jobs], "reason": reason}},
            )

    def _cancel_twin(self, job: JobExecutorInterface) -> None:
        """Cancel what Slurm may have accepted although its answer was lost; returns when nothing of it is left."""
        wildcards = get_job_wildcards(job)
        comment = f"rule_{job.name}_wildcards_{wildcards}" if wildcards else f"rule_{job.name}"  # as the plugin has it
        while not self._stopping.is_set():
            states = states_of(self.run_uuid)
            ours = {str(info.external_jobid) for info in list(self._submitted.values())}
            twins = (
                []
                if states is None
                else [
                    id_
                    for id_, (state, said) in states.items()
                    if said == comment and state in ALIVE and id_ not in ours
                ]
            )
            if states is not None and not twins:
                return
            for id_ in twins:
                cancel(id_)
            self._stopping.wait(_TWIN_PAUSE_S)

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        """Remember the job until its end. Here, because whoever hears of it next may be busy with cancelling."""
        self._submitted[id(job_info.job)] = job_info
        super()._report_job_submission_threadsafe(job_info)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Pass it on; the job need not be cancelled any more."""
        self._submitted.pop(id(job_info.job), None)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Pass it on, unless it was our own cancelling that ended the job."""
        if not self._stopping.is_set():
            self._submitted.pop(id(job_info.job), None)
            super().report_job_error(job_info, msg, **kwargs)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Look at the jobs, end those that the plugin would wait for in vain, and keep the next pause short."""
        waiting = [job_info async for job_info in super().check_active_jobs(active_jobs)]
        over = await self._look_for_overlooked(waiting)
        for job_info in waiting:
            id_ = str(job_info.external_jobid)
            state = over.get(id_)
            if state is None:
                yield job_info
            elif state == "COMPLETED":
                self.report_job_success(job_info)
            else:
                message = f"SLURM-job '{id_}' failed, SLURM status is: '{state}'."
                self.report_job_error(job_info, msg=message, aux_logs=[str((job_info.aux or {}).get("slurm_logfile"))])
        longest = self.workflow.executor_settings.longest_status_pause_s
        self.next_seconds_between_status_checks = min(self.pause_s, longest)

    async def _look_for_overlooked(self, waiting: list[SubmittedJobInfo]) -> dict[str, str]:
        """Return id -> state of jobs that are over although the plugin waits for them."""
        now = time.monotonic()
        if not waiting or now - self._looked_at < _OWN_LOOK_S:
            return {}
        self._looked_at = now
        states = await asyncio.to_thread(states_of, self.run_uuid)
        if states is None:
            return {}
        elsewhere = [info for info in waiting if not any(info.job.resources.get(name) for name in _CLUSTERS)]
        ids = [str(info.external_jobid) for info in elsewhere]
        over = self._overlooked.look(ids, {id_: state for id_, (state, _) in states.items()})
        forgotten = [id_ for id_, state in over.items() if state == FORGOTTEN]
        booked = await asyncio.to_thread(books_of, forgotten) if forgotten else {}
        for id_ in forgotten:
            state = FORGOTTEN if booked == {} else (booked or {}).get(id_, "RUNNING")
            if state in ALIVE:  # so the books say, or they do not answer
                del over[id_]
            else:
                over[id_] = state
        return over

    @property
    def pause_s(self) -> float:
        """Time in seconds until the plugin looks again."""
        return float(super().next_seconds_between_status_checks)

    def cancel(self) -> None:
        """Submit nothing any more, then cancel what was submitted."""
        self._stopping.set()
        self._held.close()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        super().cancel()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs whose end was not seen, not only those that the plugin has in its list at this moment."""
        everything = {id(info.job): info for info in active_jobs} | self._submitted
        super().cancel_jobs(list(everything.values()))
