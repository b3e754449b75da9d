"""What Snakemake finds where the AWS Batch executor plugin is missing: an executor that says so when it is used."""

from typing import Any, NoReturn

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import AbstractExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=True, job_deploy_sources=True)


class ExecutorSettings(ExecutorSettingsBase):
    """None: the options are those of the missing plugin."""


class Executor(AbstractExecutor):
    """Refuses to work."""

    def __init__(self, *_: Any) -> None:
        raise WorkflowError("Jobs cannot be sent to AWS Batch from here; install Snakeway with its extra 'aws'")

    def run_job(self, _job: Any) -> NoReturn:
        raise NotImplementedError

    def shutdown(self) -> None:
        return

    def cancel(self) -> None:
        return

    def handle_job_success(self, _job: Any) -> None:
        return

    def handle_job_error(self, _job: Any) -> None:
        return
