"""What can be set, on the command line, in a profile, and where it says so in the environment."""

from dataclasses import dataclass, field, fields
from typing import Any, Optional

from snakemake_executor_plugin_aws_batch import ExecutorSettings as AwsBatchSettings
from snakemake_interface_common.exceptions import WorkflowError


def _setting(default: Any, text: str, *, env_var: bool = False, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, "env_var": env_var, "required": False, **more})


@dataclass
class ExecutorSettings(AwsBatchSettings):
    """The plugin's settings, some with another default or type, and ours. `Optional` is how Snakemake wants types."""

    region: Optional[str] = _setting(  # noqa: UP045
        None, "AWS region; unless given, the one that AWS's own configuration names."
    )
    job_queue: Optional[str] = _setting(  # noqa: UP045
        None,
        "Name or ARN of the job queue. A rule may name another with the resource aws_batch_queue.",
        env_var=True,  # not required: Snakemake would say so before anybody could record it
    )
    job_role: Optional[str] = _setting(  # noqa: UP045
        None,
        "ARN of the role that jobs have: it gives them the bucket. A rule may name another with the resource"
        " aws_batch_job_role.",
        env_var=True,
    )
    execution_role: Optional[str] = _setting(  # noqa: UP045
        None,
        "ARN of the role with which the image is pulled, logs are written and secrets are read. Needed on Fargate and"
        " for secrets.",
        env_var=True,
    )
    tags: Optional[str] = _setting(  # noqa: UP045
        None, "Tags of jobs and of what they run on, as NAME=VALUE,NAME=VALUE; a cost report can add up by them."
    )
    task_timeout: Optional[int] = _setting(  # noqa: UP045
        None, "Time in seconds after which a job without a resource `runtime` is ended, 60 or more. None: never."
    )
    platform: str = _setting(
        "auto",
        "What runs the containers of the queues: EC2 or FARGATE; `auto` asks AWS Batch.",
        choices=["auto", "EC2", "FARGATE"],
    )
    assign_public_ip: bool = _setting(False, "Give jobs on Fargate a public address: a public subnet needs it.")
    privileged: bool = _setting(False, "Run containers privileged, on EC2: apptainer in a container needs it.")
    log_group: Optional[str] = _setting(  # noqa: UP045
        None, "Log group of CloudWatch for what jobs print; unless given, that of AWS Batch (/aws/batch/job)."
    )
    log_settle_s: int = _setting(
        5, "Time in seconds after a job's end in which CloudWatch may still get some of what it printed."
    )
    poll_interval_s: int = _setting(10, "Time in seconds between two looks at the states of jobs.")
    unknown_grace_s: int = _setting(
        300, "Time in seconds after which a job that AWS Batch does not know (any more) counts as failed."
    )
    host_attempts: int = _setting(
        3, "How often AWS Batch starts a job at most when its machine is taken away (spot), from 1 to 10."
    )
    secrets: Optional[str] = _setting(  # noqa: UP045
        None,
        "Variables that jobs get from Secrets Manager or the Parameter Store, as NAME=ARN,NAME=ARN. They need an"
        " execution role.",
    )
    pass_secrets: bool = _setting(
        False,
        "Pass keys that are in this environment on to jobs. Whoever may describe jobs in the account can read them.",
    )


def checked(settings: ExecutorSettings, image: str) -> None:
    """Refuse what can be known to be wrong before anything is submitted. Raises WorkflowError."""
    prefix = "--snakeway-aws-batch-"
    values = {f"{prefix}{f.name.replace('_', '-')}": getattr(settings, f.name) for f in fields(settings)}
    for option, value in {**values, "--container-image": image}.items():
        if isinstance(value, str) and value.startswith("$"):
            raise WorkflowError(f"{option} is {value}, but no such environment variable is set.")
    if not settings.job_queue:
        raise WorkflowError(f"No job queue is named: set {prefix}job-queue or SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE.")
    if not 1 <= settings.host_attempts <= 10:
        raise WorkflowError(f"{prefix}host-attempts is {settings.host_attempts}; AWS Batch allows 1 to 10.")
    if settings.task_timeout is not None and settings.task_timeout < 60:
        raise WorkflowError(f"{prefix}task-timeout is {settings.task_timeout}; AWS Batch allows 60 seconds or more.")
    if settings.secrets and not settings.execution_role:
        raise WorkflowError(f"{prefix}secrets needs {prefix}execution-role: with it the secrets are read.")


def pairs(text: str | None, option: str) -> dict[str, str]:
    """Read ``NAME=VALUE,NAME=VALUE``. Raises WorkflowError, which names ``option``."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise WorkflowError(f"--snakeway-aws-batch-{option}: {part!r} is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found
