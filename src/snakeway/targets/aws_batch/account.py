"""What an account of AWS has of what the target needs, for those who set it up. Keys are never returned nor told.

Like every program for AWS this reads region, keys or role, and endpoints from the environment and AWS's own files.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_CONNECT_S, _READ_S = 3, 10
_TRIES = 2


class Refusal(Exception):
    """AWS, or the way to it, has something against a request. The text is the code only: more could name a key."""

    def __init__(self, code: str, status: int | None, endpoint: str | None) -> None:
        """Keep S3's or another service's code, or the name of botocore's exception."""
        super().__init__(code)
        self.code = code
        self.status = status
        self.endpoint = endpoint


@dataclass(frozen=True, slots=True)
class Environment:
    """A compute environment: what runs the containers of a queue."""

    name: str
    kind: str  # EC2, SPOT, FARGATE, FARGATE_SPOT; empty if it is managed elsewhere
    enabled: bool
    status: str  # VALID, or what it is instead
    reason: str  # AWS's, for the status
    max_vcpus: int | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A job queue."""

    name: str
    enabled: bool
    status: str
    reason: str
    environments: tuple[Environment, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where files are, and how the storage plugin reaches it. None means that AWS's own configuration says it."""

    name: str
    prefix: str  # without slashes at its ends; may be empty
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None

    def __repr__(self) -> str:
        """Show no key."""
        return f"Bucket({self.name!r}, {self.prefix!r}, {self.endpoint!r})"


def region() -> str | None:
    """Return the region that AWS's configuration names."""
    import botocore.session

    found = botocore.session.get_session().get_config_variable("region")
    return None if found is None else str(found)


def credentials() -> str | None:
    """Return where credentials come from, in botocore's words; None if there are none. Raises Refusal."""
    import botocore.session

    with _refused(None):
        found = botocore.session.get_session().get_credentials()
    return None if found is None else str(found.method)


def identity(region_name: str | None) -> str:
    """Return the ARN of the user or role whose credentials these are. Raises Refusal."""
    return str(_call("sts", region_name, "get_caller_identity")["Arn"])


def queue(name: str, region_name: str | None) -> Queue | None:
    """Return a queue by its name or ARN, with its compute environments; None if there is none. Raises Refusal."""
    found = _call("batch", region_name, "describe_job_queues", jobQueues=[name])["jobQueues"]
    if not found:
        return None
    told = found[0]
    names = [place["computeEnvironment"] for place in told.get("computeEnvironmentOrder", ())]
    places = (
        _call("batch", region_name, "describe_compute_environments", computeEnvironments=names)["computeEnvironments"]
        if names
        else []
    )
    return Queue(
        str(told["jobQueueName"]),
        told.get("state") != "DISABLED",
        str(told.get("status", "")),
        str(told.get("statusReason", "")),
        tuple(_environment(place) for place in places),
    )


def _environment(told: Mapping[str, Any]) -> Environment:
    resources = told.get("computeResources") or {}
    return Environment(
        str(told["computeEnvironmentName"]),
        str(resources.get("type", "")),
        told.get("state") != "DISABLED",
        str(told.get("status", "")),
        str(told.get("statusReason", "")),
        resources.get("maxvCpus"),
    )


def log_group(name: str, region_name: str | None) -> int | None:
    """Return for how many days a log group keeps what it gets, 0 for ever; None if there is none. Raises Refusal."""
    groups = _call("logs", region_name, "describe_log_groups", logGroupNamePrefix=name, limit=50)["logGroups"]
    return next((int(group.get("retentionInDays", 0)) for group in groups if group["logGroupName"] == name), None)


def probe(bucket: Bucket) -> bool:
    """Write, read and delete a small object below the prefix; returns whether it came back as it was. Raises Refusal.

    A crash between leaves an object of 32 bytes below ``PREFIX/.snakeway-doctor/``.
    """
    client = _client(
        "s3",
        bucket.region,
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    )
    name = uuid.uuid4().hex
    key = "/".join(filter(None, (bucket.prefix, ".snakeway-doctor", name)))
    with _refused(client):
        client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1)
        client.put_object(Bucket=bucket.name, Key=key, Body=name.encode())
        try:
            same: bool = client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == name.encode()
        finally:
            client.delete_object(Bucket=bucket.name, Key=key)
    return same


def _call(service: str, region_name: str | None, operation: str, **arguments: Any) -> Mapping[str, Any]:
    client = _client(service, region_name)
    method: Callable[..., Mapping[str, Any]] = getattr(client, operation)
    with _refused(client):
        return method(**arguments)


def _client(service: str, region_name: str | None, **more: Any) -> Any:
    import boto3  # a third of a second, only where it is used
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with _refused(None):
        return boto3.Session().client(service, region_name=region_name, config=config, **more)


@contextmanager
def _refused(client: Any) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    endpoint = None if client is None else str(client.meta.endpoint_url)
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        raise Refusal(str(error.response.get("Error", {}).get("Code", "unknown")), status, endpoint) from None
    except BotoCoreError as error:
        raise Refusal(type(error).__name__, None, endpoint) from None
    except ValueError as error:  # botocore's for an endpoint that is no URL, with the endpoint as its text
        raise Refusal(f"ValueError: {error}"[:200], None, endpoint) from None
