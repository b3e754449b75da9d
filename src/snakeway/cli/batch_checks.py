"""What ``snakeway doctor --target`` looks at in an account of AWS. Runs no job; an object in the bucket is deleted."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from snakeway.cli.checks import Finding
from snakeway.cloudwatch import LOG_GROUP
from snakeway.model.storage import PREFIX_VARIABLE, StorageTrouble, wrong_prefix
from snakeway.targets.aws_batch import account
from snakeway.targets.aws_batch.account import Bucket, Environment, Queue, Refusal

EXECUTORS = frozenset({"snakeway-aws-batch", "aws-batch"})

_PACKAGES = ("boto3", "snakemake_executor_plugin_aws_batch", "snakemake_storage_plugin_s3")
_WRONG_KEY = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_SET = "set {} where snakemake is started, for a server in its environment"


@dataclass(frozen=True, slots=True)
class _Target:
    """The profile, and how the options of its executor are called."""

    profile: Mapping[str, Any]
    executor: str

    def option(self, name: str) -> str | None:
        """Return the value of an option of the executor, from the profile or from its variable."""
        told = self.plain(f"{self.executor}-{name}")
        return told or os.environ.get(self.variable(name)) or None

    def variable(self, name: str) -> str:
        """Return the environment variable of an option."""
        return f"SNAKEMAKE_{self.executor}_{name}".replace("-", "_").upper()

    def plain(self, name: str) -> str | None:
        """Return a value of the profile, with variables filled in; None if there is none or Python makes it."""
        told = self.profile.get(name)
        return None if told is None or str(told).startswith("?") else os.path.expandvars(str(told))

    def storage(self, name: str) -> str | None:
        """Return a setting of the storage plugin, from the profile or from its variable."""
        told = self.plain(f"storage-s3-{name}")
        return told or os.environ.get(f"SNAKEMAKE_STORAGE_S3_{name}".replace("-", "_").upper()) or None


def aws_batch(profile: Mapping[str, Any], executor: str) -> Iterator[Finding]:
    """Everything, in the order in which one thing needs the other."""
    target = _Target(profile, executor)
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding(
            "aws packages", "fail", f"not installed: {', '.join(missing)}", "install Snakeway with its extra 'aws'"
        )
        return
    yield Finding("aws packages", "ok", "installed")
    region = target.option("region") or account.region()
    if region is None:
        advice = f"{_SET.format('AWS_DEFAULT_REGION')}, such as AWS_DEFAULT_REGION=eu-central-1"
        yield Finding("aws region", "fail", "none is named", advice)
        return
    yield Finding("aws region", "ok", region)
    found = _credentials()
    yield found
    if found.state == "ok":
        yield _identity(region)
        yield from _batch(target, region)
    yield _image(target)
    yield from _storage(target)
    if found.state == "ok":
        yield _logs(target, region)


def _credentials() -> Finding:
    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"
    try:
        method = account.credentials()
    except Refusal as refusal:
        return Finding("aws credentials", "fail", f"they cannot be had ({refusal})", advice)
    if method is None:
        return Finding("aws credentials", "fail", "none are found", advice)
    return Finding("aws credentials", "ok", f"found ({method})")


def _identity(region: str) -> Finding:
    try:
        return Finding("aws identity", "ok", account.identity(region))
    except Refusal as refusal:
        said, advice = _refused("STS", "sts:GetCallerIdentity", refusal)
        wrong = refusal.code in _WRONG_KEY
        return Finding("aws identity", "fail" if wrong else "warn", said, advice if wrong else f"{advice}; only asked")


def _batch(target: _Target, region: str) -> Iterator[Finding]:
    name = target.option("job-queue")
    if name is None:
        advice = _SET.format(target.variable("job-queue"))
        yield Finding("batch queue", "fail", "none is named", advice)
        return
    try:
        queue = account.queue(name, region)
    except Refusal as refusal:
        needed = "batch:DescribeJobQueues and batch:DescribeComputeEnvironments"
        yield Finding("batch queue", "fail", *_refused("AWS Batch", needed, refusal))
        return
    if queue is None:
        advice = f"make it, or correct {target.variable('job-queue')}; is the region right?"
        yield Finding("batch queue", "fail", f"there is no queue {name} in {region}", advice)
        return
    yield _queue(queue)
    for environment in queue.environments:
        yield _environment(environment)
    yield from _roles(target, queue)


def _queue(queue: Queue) -> Finding:
    if not queue.enabled:
        advice = f"aws batch update-job-queue --job-queue {queue.name} --state ENABLED"
        return Finding("batch queue", "fail", f"{queue.name} is disabled and takes no jobs", advice)
    if queue.status != "VALID":
        said = f"{queue.name} is {queue.status}: {queue.reason or 'no reason told'}"
        return Finding("batch queue", "fail", said, "correct what AWS Batch says of it, or wait until it is VALID")
    if not queue.environments:
        return Finding("batch queue", "fail", f"{queue.name} has no compute environment", "give it one")
    return Finding("batch queue", "ok", f"{queue.name} is enabled and valid")


def _environment(environment: Environment) -> Finding:
    check = f"compute environment {environment.name}"
    if not environment.enabled:
        advice = f"aws batch update-compute-environment --compute-environment {environment.name} --state ENABLED"
        return Finding(check, "fail", "it is disabled: jobs wait for ever", advice)
    if environment.status != "VALID":
        said = f"it is {environment.status}: {environment.reason or 'no reason told'}"
        return Finding(check, "fail", said, "correct its roles, subnets or instance types; jobs wait until it is VALID")
    said = f"{environment.kind or 'managed elsewhere'}, at most {environment.max_vcpus} vCPUs"
    if environment.max_vcpus == 0:
        return Finding(check, "fail", said, "raise its maxvCpus: nothing can run")
    return Finding(check, "ok", said)


def _roles(target: _Target, queue: Queue) -> Iterator[Finding]:
    fargate = any(environment.kind.startswith("FARGATE") for environment in queue.environments)
    secrets = target.option("secrets") is not None
    job, execution = target.option("job-role"), target.option("execution-role")
    if job is not None:
        yield Finding("batch job role", "ok", job)
    elif target.option("pass-secrets") or secrets:
        yield Finding("batch job role", "ok", "none, jobs get keys")
    else:
        advice = f"{_SET.format(target.variable('job-role'))}: the ARN of a role that may use the bucket"
        yield Finding("batch job role", "warn", "none: jobs have what their machine's role allows", advice)
    if execution is not None:
        yield Finding("batch execution role", "ok", execution)
    elif fargate or secrets:
        advice = f"{_SET.format(target.variable('execution-role'))}: it pulls images, writes logs and reads secrets"
        why = "the queue is on Fargate" if fargate else "the profile has jobs get secrets"
        yield Finding("batch execution role", "fail", f"none, and {why}", advice)
    else:
        yield Finding("batch execution role", "ok", "none, and none is needed")


def _image(target: _Target) -> Finding:
    image = target.plain("container-image")
    if image is None:
        advice = "name it in the profile: container-image: $SNAKEMAKE_JOB_IMAGE"
        return Finding("job image", "fail", "the profile names none", advice)
    if image.startswith("$"):
        return Finding("job image", "fail", f"{image.removeprefix('$')} is not set", _SET.format(image[1:]))
    return Finding("job image", "ok", image)


def _storage(target: _Target) -> Iterator[Finding]:
    provider = target.plain("default-storage-provider")
    if provider != "s3":
        said = f"the profile's default-storage-provider is {provider or 'not set'}"
        yield Finding("storage prefix", "warn", said, "only a bucket (s3) is looked at")
        return
    prefix = target.plain("default-storage-prefix") or os.environ.get(PREFIX_VARIABLE) or f"${PREFIX_VARIABLE}"
    parts = urlsplit(prefix)
    if parts.scheme != "s3" or not parts.netloc:
        yield Finding("storage prefix", "fail", wrong_prefix(prefix), f"export {PREFIX_VARIABLE}=s3://BUCKET/PREFIX")
        return
    yield Finding("storage prefix", "ok", prefix)
    bucket = Bucket(
        parts.netloc,
        parts.path.strip("/"),
        target.storage("endpoint-url"),
        target.storage("region"),
        target.storage("access-key"),
        target.storage("secret-key"),
    )
    yield _bucket(bucket)


def _bucket(bucket: Bucket) -> Finding:
    try:
        same = account.probe(bucket)
    except Refusal as refusal:
        if refusal.code.startswith("ValueError"):
            said = f"the address of object storage is not a URL ({refusal})"
            return Finding("storage bucket", "fail", said, "correct AWS_ENDPOINT_URL")
        trouble = StorageTrouble(refusal.code, refusal.status, bucket.name, refusal.endpoint)
        advice = "runs would fail with the same words; needed are s3:ListBucket, GetObject, PutObject and DeleteObject"
        return Finding("storage bucket", "fail", trouble.judge()[1], advice)
    if not same:
        return Finding("storage bucket", "fail", f"{bucket.name} gives back another content", "do not use this storage")
    return Finding("storage bucket", "ok", f"{bucket.name}: an object was listed, written, read and deleted")


def _logs(target: _Target, region: str) -> Finding:
    name = target.option("log-group") or LOG_GROUP
    try:
        days = account.log_group(name, region)
    except Refusal as refusal:
        said, advice = _refused("CloudWatch Logs", "logs:DescribeLogGroups", refusal)
        return Finding("batch logs", "warn", said, advice)
    if days is None:
        made = " (AWS Batch makes it with the first job)" if name == LOG_GROUP else ""
        advice = f"aws logs create-log-group --log-group-name {name}"
        return Finding("batch logs", "warn" if made else "fail", f"there is no log group {name}{made}", advice)
    if days == 0:
        advice = f"aws logs put-retention-policy --log-group-name {name} --retention-in-days 30"
        return Finding("batch logs", "warn", f"{name} keeps everything for ever, which is paid for", advice)
    return Finding("batch logs", "ok", f"{name}, kept for {days} days")


def _refused(service: str, needed: str, refusal: Refusal) -> tuple[str, str]:
    """Return what was said, and what to do."""
    if refusal.code in _WRONG_KEY:
        return (
            f"{service} at {refusal.endpoint} does not take the credentials ({refusal})",
            "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or get new ones if they have expired",
        )
    if refusal.status is None:
        return (
            f"{service} does not answer at {refusal.endpoint} ({refusal})",
            "check the region, AWS_ENDPOINT_URL and the way to the network",
        )
    return f"{service} refuses ({refusal}, {refusal.status})", f"have {needed} allowed for these credentials"
