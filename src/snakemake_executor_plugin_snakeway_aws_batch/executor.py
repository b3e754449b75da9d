"""The executor: snakemake-executor-plugin-aws-batch with what a service needs of it. Each difference says its purpose.

Written against version 0.2.1 of the plugin (its issue 34 has some of what follows, and its repository has part of it
merged and not released: 36, 40, 41). What AWS alone can show, the spot market and Fargate, is tested as rules only:

- A job gets at least the memory and cores that it asks for (the plugin: memory that is not in a table of Fargate's is
  lowered, also on EC2 queues; 3 or 6 cores end the run). What cannot be had fails before it is submitted. See `fit`.
- A job is ended after its own ``runtime`` (the plugin: after 300 seconds).
- One question for the states of 100 jobs (the plugin: one for each). A job that AWS does not know any more has failed
  after a grace (the plugin: is asked for without end). Jobs that have ended are not terminated (the plugin: all are).
- Job definitions are shared by jobs, hold no command, and are gone at the end. See `definitions`.
- What a killed snakemake's jobs go on to make is not made again by the attempt that recovers it. See `resume`.
- Names of jobs begin with the run's id, and it is a tag, so that whoever comes after a crash finds all of them.
- No secret gets into a job definition (the plugin: all variables do). See `environment`.
- A job whose machine was taken away is started again by AWS Batch itself.
- A rule may have its own queue, image and role: resources ``aws_batch_queue``, ``aws_batch_image``,
  ``aws_batch_job_role``. ``container:`` keeps Snakemake's meaning, the job's software, run by apptainer in the job's
  container; that needs ``privileged`` (the plugin: every container is privileged).
- GPUs are the resource ``gpu`` (the plugin: ``_gpus``, which no option sets).
- Jobs are submitted by threads. One that AWS does not accept *for now*, being asked too much or not reached, waits and
  is submitted again; where AWS's answer was lost, the job is looked for first. Another refusal fails the job, in AWS's
  words (the plugin: each refusal ends the run).
- Cancelling reaches every job (the plugin: not those whose state is being asked for at that moment).
- The number, the log and the start of each job, and why it failed, are told to whoever reads the log's records. What
  a job prints is kept in .snakemake/aws_batch_logs when it has ended (the plugin: only CloudWatch has it). See `logs`.
- In an image that says what it has, nothing is installed when a job starts, no plugins are searched for, and snakemake
  is started once (the plugin: pip, and snakemake twice). See `command` and `snakeway.node`.
- Jobs know the region and the addresses of AWS's services as snakemake does (the plugin: if they are `envvars`).
- The end of a run does not wait for the next look at the jobs.
"""

import asyncio
import dataclasses
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import NoRegionError
from snakemake import PIP_DEPLOYMENTS_PATH
from snakemake_executor_plugin_aws_batch import Executor as AwsBatchExecutor
from snakemake_executor_plugin_aws_batch import common_settings as plugin_common_settings
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

from snakemake_executor_plugin_snakeway_aws_batch.command import NODE, in_one_start, installing
from snakemake_executor_plugin_snakeway_aws_batch.definitions import Definitions
from snakemake_executor_plugin_snakeway_aws_batch.environment import ways
from snakemake_executor_plugin_snakeway_aws_batch.logs import Logs
from snakemake_executor_plugin_snakeway_aws_batch.order import Orders
from snakemake_executor_plugin_snakeway_aws_batch.patience import FAULTS, words
from snakemake_executor_plugin_snakeway_aws_batch.queues import Queues
from snakemake_executor_plugin_snakeway_aws_batch.resume import Resume
from snakemake_executor_plugin_snakeway_aws_batch.settings import ExecutorSettings, checked, pairs
from snakemake_executor_plugin_snakeway_aws_batch.states import Seen, Unknown, read
from snakemake_executor_plugin_snakeway_aws_batch.submit import Stopped, Submitter
from snakemake_logger_plugin_snakeway.identity import run_of
from snakeway.wire import ENV_RUN, STATE_FOLDER

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

# The storage plugin is installed by our own prefix of the command, which leaves it out where the image has it.
common_settings = dataclasses.replace(plugin_common_settings, auto_deploy_default_storage_provider=False)

_ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION")
_SUBMITTERS = 8
_ASKED_AT_ONCE = 100  # what DescribeJobs allows
_NAP_S = 0.2


class Executor(AwsBatchExecutor):
    """See the module's text."""

    def __post_init__(self) -> None:
        settings: ExecutorSettings = self.workflow.executor_settings
        self.settings = settings
        self.container_image = self.workflow.remote_execution_settings.container_image
        checked(settings, self.container_image)
        self.next_seconds_between_status_checks = settings.poll_interval_s
        self._stopping = threading.Event()
        self._reporting = threading.Lock()  # Snakemake's own bookkeeping is written for one thread
        self._threads = ThreadPoolExecutor(_SUBMITTERS, thread_name_prefix="snakeway-submit")
        self._submitted: dict[int, SubmittedJobInfo] = {}  # by id(job): in AWS's hands, its end not seen yet
        self._unknown = Unknown(settings.unknown_grace_s)
        self._last_fault = ""
        self.run = os.environ.get(ENV_RUN) or run_of(Path(STATE_FOLDER).absolute())
        tags = pairs(settings.tags, "tags")
        secrets = pairs(settings.secrets, "secrets")
        self._client = _client("batch", settings.region, tries=5)
        self._resume = Resume(self._client, self.run, self.workflow)
        self._logs = Logs(
            _client("logs", settings.region, tries=8), settings.log_settle_s, self._stopping, self.logger.warning
        )
        env = ways(self._addresses() | self.envvars(), secrets, pass_secrets=settings.pass_secrets)
        once = _client("batch", settings.region, tries=1)  # submitting twice what was accepted would run it twice
        self._definitions = Definitions(self._client, self.run, tags, self.logger)
        self._orders = Orders(
            settings, self.container_image, self.run, env, tags, Queues(self._client, settings.platform)
        )
        self._submitter = Submitter(once, self._client, self._definitions, self._stopping, self._tell_held)
        self.logger.info(f"The names of this run's jobs begin with {self.run} in AWS Batch.")

    def _addresses(self) -> dict[str, str]:
        """Return what jobs need to know of where AWS's services are, unless the workflow says it."""
        given = {name: os.environ[name] for name in _ADDRESSES if name in os.environ}
        return {"AWS_DEFAULT_REGION": str(self._client.meta.region_name)} | given

    def get_python_executable(self) -> str:
        """Start the job's snakemake without a search for executor plugins where the image says that it can."""
        return f"{super().get_python_executable()} {NODE}"

    def get_job_exec_prefix(self, _job: JobExecutorInterface) -> str:
        """Install the storage plugins that the image does not say it has."""
        registry = StoragePluginRegistry()
        names = sorted(registry.get_plugin_package_name(name) for name in registry.get_registered_plugins())
        return installing(names, PIP_DEPLOYMENTS_PATH)

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Return the command of a job."""
        return in_one_start(str(super().format_job_exec(job)))

    def run_job(self, job: JobExecutorInterface) -> None:
        """Hand a job to the threads that submit; returns at once."""
        if self._stopping.is_set():
            return
        submission = self._threads.submit(self._submit, job, self.format_job_exec(job), self._resume.find(job))
        submission.add_done_callback(partial(self._unexpected, job))

    def _submit(self, job: JobExecutorInterface, command: str, before: str | None) -> None:
        """Run in a thread: submit one job, however long that takes, or take up the one from ``before``."""
        try:
            if before is not None and self._resume.usable(before):
                id_ = before
            else:
                id_ = self._submitter.submit(_numbers(job), partial(self._orders.order, job, command))
        except Stopped:
            return
        except (WorkflowError, *FAULTS) as error:
            self.report_job_error(SubmittedJobInfo(job), msg=f"AWS Batch does not take the job: {words(error)} ")
            return
        log = str(self._logs.path(_rule(job), id_))
        info = SubmittedJobInfo(job, external_jobid=id_, aux={"log": log, "started": False})
        self._submitted[id(job)] = info
        try:
            with self._reporting:
                self.report_job_submission(info)
        except BaseException:  # Snakemake cannot note it, and would not wait for it
            self._terminate(id_)
            raise
        self._tell_submitted(info)

    def _unexpected(self, job: JobExecutorInterface, submission: "Future[None]") -> None:
        """Have a job fail whose submission broke, instead of waiting for it without end."""
        error = None if submission.cancelled() else submission.exception()
        if error is not None:
            self.report_job_error(SubmittedJobInfo(job), msg=f"Submitting it broke: {type(error).__name__}: {error} ")

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Pass it on, unless it was our own cancelling that ended the job."""
        if not self._stopping.is_set():
            self._submitted.pop(id(job_info.job), None)
            with self._reporting:
                super().report_job_error(job_info, msg, **kwargs)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Ask for the states of jobs, so many at once as is allowed; yields those that have not ended."""
        for start in range(0, len(active_jobs), _ASKED_AT_ONCE):
            infos = active_jobs[start : start + _ASKED_AT_ONCE]
            ids = [str(info.external_jobid) for info in infos]
            try:
                async with self.status_rate_limiter:
                    answer = await asyncio.to_thread(self._client.describe_jobs, jobs=ids)
            except FAULTS as error:
                self._tell_fault(words(error))
                seen: dict[str, Seen] = {id_: Seen() for id_ in ids}
            else:
                self._last_fault = ""
                seen = {detail["jobId"]: read(detail) for detail in answer["jobs"]}
            lost = self._unknown.look(ids, seen)
            for info in infos:
                id_ = str(info.external_jobid)
                if id_ in lost:
                    self.report_job_error(info, msg=f"AWS Batch does not know job {id_}. ")
                elif not self._judge(info, seen.get(id_, Seen())):
                    yield info

    def _judge(self, info: SubmittedJobInfo, seen: Seen) -> bool:
        """Tell what is new of a job; returns whether it is over."""
        if seen.started is not None and not info.aux["started"]:
            info.aux["started"] = True
            told = {"jobs": _numbers(info.job), "t": seen.started}
            self.logger.info(f"AWS Batch has started job {info.job.jobid}.", extra={"snakeway_started": told})
        if seen.stuck is not None and info.aux.get("stuck") != seen.stuck:
            info.aux["stuck"] = seen.stuck
            text = f"AWS Batch cannot start job {info.job.jobid}: {seen.stuck}"
            self._tell_held(_numbers(info.job), seen.stuck, text)
        if seen.over and seen.error is None:
            self._submitted.pop(id(info.job), None)
            self.report_job_success(info)
            self._logs.fetch(info.aux["log"], seen)
        elif seen.over:  # its log is looked into, and perhaps shown, as soon as the failure is known
            log = [info.aux["log"]] if seen.streams else []
            failed = partial(self.report_job_error, info, msg=f"{seen.error} ", aux_logs=log)
            self._logs.fetch(info.aux["log"], seen, failed)
        return seen.over

    async def sleep(self) -> None:
        """Pause between two looks, as long as anything is to be looked at."""
        began = time.monotonic()
        while self.wait and time.monotonic() - began < float(self.next_seconds_between_status_checks):
            await asyncio.sleep(_NAP_S)

    def cancel(self) -> None:
        """Submit nothing any more, then terminate what was submitted."""
        self._stopping.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        super().cancel()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Terminate all jobs whose end was not seen, not only those that are in the list at this moment."""
        everything = {id(info.job): info for info in active_jobs} | self._submitted
        with ThreadPoolExecutor(_SUBMITTERS) as threads:
            list(threads.map(self._terminate, [str(info.external_jobid) for info in everything.values()]))

    def _terminate(self, id_: str) -> None:
        try:
            self._client.terminate_job(jobId=id_, reason="cancelled by snakemake")
        except FAULTS as error:
            self.logger.warning(f"AWS Batch job {id_} could not be terminated: {words(error)}")

    def shutdown(self) -> None:
        """End the threads, and have AWS forget the job definitions.

        Jobs are left at this point only when the thread that looks at them has broken: they would run unseen.
        """
        super().shutdown()
        self._logs.close()
        left = not self._stopping.is_set() and not self.workflow.remote_execution_settings.immediate_submit
        if left:
            self._stopping.set()  # nor is anything to be submitted any more, however long it has been tried
        self._threads.shutdown(wait=True, cancel_futures=True)
        if left:
            self.cancel_jobs([])
        self._definitions.remove()

    def _tell_submitted(self, info: SubmittedJobInfo) -> None:
        told = {"jobs": _numbers(info.job), "external_id": info.external_jobid, "log": info.aux["log"]}
        text = f"Job {info.job.jobid} has been submitted to AWS Batch as {info.external_jobid}."
        self.logger.info(text, extra={"snakeway_submitted": told})

    def _tell_held(self, jobs: list[int], reason: str, text: str) -> None:
        self.logger.warning(text, extra={"snakeway_held": {"jobs": jobs, "reason": reason}})

    def _tell_fault(self, said: str) -> None:
        if said != self._last_fault:
            self._last_fault = said
            self.logger.warning(f"AWS Batch does not tell the states of jobs; it will be asked again. It said: {said}")


def _numbers(job: JobExecutorInterface) -> list[int]:
    jobs: Iterable[Any] = job.jobs if job.is_group() else [job]
    return sorted(each.jobid for each in jobs)


def _rule(job: JobExecutorInterface) -> str:
    return f"group_{job.groupid}" if job.is_group() else f"rule_{job.name}"


def _client(service: str, region: str | None, tries: int) -> Any:
    """Return a client of a service of AWS. Raises WorkflowError if the configuration of AWS is incomplete."""
    retries = {"mode": "standard", "total_max_attempts": tries}
    config = Config(retries=retries, connect_timeout=10, read_timeout=20, max_pool_connections=2 * _SUBMITTERS)
    try:
        return boto3.client(service, region_name=region, config=config)
    except NoRegionError as error:
        said = "AWS Batch cannot be used: no region is named. Set AWS_DEFAULT_REGION, or --snakeway-aws-batch-region."
        raise WorkflowError(said) from error
    except FAULTS as error:
        raise WorkflowError(f"AWS Batch cannot be used: {error}") from error
