"""What is to be submitted for a job: from its resources, the settings and the queue."""

from dataclasses import dataclass
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_snakeway_aws_batch.definitions import Definition
from snakemake_executor_plugin_snakeway_aws_batch.environment import Ways
from snakemake_executor_plugin_snakeway_aws_batch.fit import DoesNotFitError, Platform, Size, fit
from snakemake_executor_plugin_snakeway_aws_batch.queues import Queues
from snakemake_executor_plugin_snakeway_aws_batch.request import job_name, overrides, request, timeout_s, too_long
from snakemake_executor_plugin_snakeway_aws_batch.settings import ExecutorSettings

_MEM_MIB = 2048  # of a job that asks for none, as the plugin has it


@dataclass(frozen=True)
class Order:
    """A request, and the definition that goes with it."""

    definition: Definition
    request: dict[str, Any]


class Orders:
    """Makes the orders of one run."""

    def __init__(
        self, settings: ExecutorSettings, image: str, run: str, env: Ways, tags: dict[str, str], queues: Queues
    ) -> None:
        self._settings = settings
        self._image = image
        self._run = run
        self._env = env
        self._tags = tags
        self._queues = queues

    def order(self, job: JobExecutorInterface, command: str) -> Order:
        """Return what to submit. Raises WorkflowError if the job cannot be had, and what the client raises."""
        settings, named = self._settings, job.resources
        queue = str(named.get("aws_batch_queue") or settings.job_queue)
        platform = self._queues.platform(queue)
        argv = ["/bin/bash", "-c", command]
        alone = too_long(argv, self._env.passed)
        definition = Definition(
            image=str(named.get("aws_batch_image") or self._image),
            platform=platform,
            job_role=named.get("aws_batch_job_role") or settings.job_role,
            execution_role=settings.execution_role,
            environment=tuple(sorted(self._env.plain.items())),
            secrets=tuple(sorted(self._env.secrets.items())),
            privileged=settings.privileged,
            public_ip=settings.assign_public_ip,
            log_group=settings.log_group,
            disk_mb=_number(named.get("disk_mb")) if platform is Platform.FARGATE else 0,
            command=tuple(argv) if alone else (),
        )
        if platform is Platform.FARGATE and not settings.execution_role:
            raise WorkflowError(f"Queue {queue} is of Fargate, which needs --snakeway-aws-batch-execution-role.")
        runtime = named.get("runtime")
        return Order(
            definition=definition,
            request=request(
                name=job_name(self._run, str(job.name)),
                queue=queue,
                overrides=overrides(size_of(job, platform), [] if alone else argv, self._env.passed),
                timeout_s=timeout_s(runtime if isinstance(runtime, int | float) else None, settings.task_timeout),
                host_attempts=settings.host_attempts,
                tags=self._tags,
                run=self._run,
                rule=str(job.name),
            ),
        )


def size_of(job: JobExecutorInterface, platform: Platform) -> Size:
    """Return what the job gets. Raises WorkflowError, which names the job, what it asks for and what there is."""
    named = job.resources
    asked = Size(
        _number(named.get("_cores")) or 1,
        _number(named.get("mem_mb")) or _number(named.get("mem_mib")) or _MEM_MIB,
        _number(named.get("gpu")) or _number(named.get("_gpus")),
    )
    try:
        return fit(platform, asked)
    except DoesNotFitError as error:
        gpus = f" and {asked.gpus} GPUs" if asked.gpus else ""
        raise WorkflowError(
            f"rule {job.name} asks for {asked.vcpus} cores, {asked.mem_mib} MiB{gpus}, which cannot be had: {error}."
        ) from error


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
