"""AWS on this machine: a moto server whose AWS Batch runs each job in a real container, by podman.

How it differs from AWS, which is what tests of it cannot show:

- Jobs start at once: nothing is scheduled by vCPU or memory, and no limit of memory is put on a container. DescribeJobs
  shows the size of the job definition, not the overrides of the job; those are in the requests (`Aws.requests`).
- A failed job has an exit code and no reason. What a job printed is in CloudWatch only after its end, and not when it
  was ended by its timeout.
- Jobs have no role: they need keys, and every key is accepted, of Batch and of S3.
- Retry strategies, Fargate, secrets and logConfiguration are accepted and not acted on.
- TerminateJob kills a container at once; AWS gives it 30 seconds.

By hand: `python -m tests.support.aws FOLDER` runs it until Ctrl-C and prints what to set.
"""

import base64
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import httpx

from .containers import Podman, image, podman
from .ports import free_ports
from .processes import guarded, log_tail
from .s3 import S3Server
from .waiting import wait_until

REGION = "us-east-1"
BUCKET = "snakeway-tests"
QUEUE = "snakeway"
_START_S = 120.0
_TRUST = '{"Version": "2012-10-17", "Statement": []}'
_CALL = re.compile(r'"POST /v1/(\w+)')


@dataclass(frozen=True)
class Aws:
    """The server, with a queue, a role, and a bucket that is never empty: a storage plugin deletes an empty one."""

    url: str
    log: Path
    containers: Podman
    image: str
    role: str
    storage: S3Server  # also moto, unless somebody else keeps the objects

    @property
    def env(self) -> dict[str, str]:
        """What a program needs that uses AWS: also what the profile of the target reads."""
        elsewhere = {} if self.storage.url == self.url else {"AWS_ENDPOINT_URL_S3": self.storage.url}
        return {
            "AWS_ENDPOINT_URL": self.url,
            **elsewhere,
            **self.storage.credentials,
            "AWS_DEFAULT_REGION": REGION,
            "SNAKEMAKE_S3_PREFIX": f"s3://{BUCKET}/runs",
            "SNAKEMAKE_JOB_IMAGE": self.image,
            "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE": QUEUE,
            "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_ROLE": self.role,
        }

    def client(self, service: str) -> Any:
        """Return a client of one of the services."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.storage.url if service == "s3" else self.url,
            aws_access_key_id=self.storage.access_key,
            aws_secret_access_key=self.storage.secret_key,
        )

    def stored_in(self, storage: S3Server) -> "Aws":
        """Return the same with another server for S3, in which the bucket is made."""
        server = replace(self, storage=storage)
        make_bucket(server.client("s3"))
        return server

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the bucket's objects below a prefix, by what follows it."""
        s3 = self.client("s3")
        return {
            key.removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in self.keys(prefix)
        }

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the objects below a prefix."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def jobs(self, run: str) -> list[dict[str, Any]]:
        """Return the details of all jobs of a run."""
        batch = self.client("batch")
        filters = [{"name": "JOB_NAME", "values": [f"{run}*"]}]
        ids = [job["jobId"] for job in batch.list_jobs(jobQueue=QUEUE, filters=filters)["jobSummaryList"]]
        found = [batch.describe_jobs(jobs=ids[start : start + 100])["jobs"] for start in range(0, len(ids), 100)]
        return [job for jobs in found for job in jobs]

    def printed(self, stream: str) -> str:
        """Return what CloudWatch has of a container."""
        found = self.client("logs").get_log_events(
            logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
        )
        return "".join(f"{event['message']}\n" for event in found["events"])

    def definitions(self) -> list[str]:
        """Return the names of the job definitions that can be used."""
        found = self.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        return [str(one["jobDefinitionName"]) for one in found]

    def calls(self) -> "Counter[str]":
        """Return how often each operation of AWS Batch was asked for, as the paths have it: ``describejobs``."""
        return Counter(_CALL.findall(self.log.read_text(errors="replace")))

    @contextmanager
    def recorded(self) -> Iterator["Recording"]:
        """Record the requests of the `with` block."""
        httpx.post(f"{self.url}/moto-api/recorder/reset-recording", timeout=30)
        httpx.post(f"{self.url}/moto-api/recorder/start-recording", timeout=30)
        try:
            yield Recording(self.url)
        finally:
            httpx.post(f"{self.url}/moto-api/recorder/stop-recording", timeout=30)


@dataclass(frozen=True)
class Recording:
    """Requests that were made while it was on."""

    url: str

    def requests(self, operation: str) -> list[Any]:
        """Return the bodies of the requests for an operation of AWS Batch (``submitjob``)."""
        text = httpx.get(f"{self.url}/moto-api/recorder/download-recording", timeout=30).text
        entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        bodies = [one["body"] for one in entries if one["url"].endswith(f"/v1/{operation}")]
        return [json.loads(body if body.startswith("{") else base64.b64decode(body)) for body in bodies]


@contextmanager
def aws(folder: Path) -> Iterator[Aws]:
    """Run it for the `with` block; the logs stay in ``folder``, and no container outlives it."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = podman()
    tag = image(ours, "job")
    (port,) = free_ports(1)
    url, log = f"http://127.0.0.1:{port}", folder / "moto.log"
    with ours.service(folder / "podman.log") as docker_host:
        env = ours.env | {
            "DOCKER_HOST": docker_host,
            "MOTO_DOCKER_NETWORK_MODE": "host",
            "MOTO_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }
        argv = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        with guarded(argv, log=log, env=env, cwd=folder) as process:

            def answers() -> bool | None:
                if process.poll() is not None:
                    raise RuntimeError(f"moto_server did not start:\n{log_tail(log)}")
                with suppress(httpx.TransportError):
                    return httpx.get(f"{url}/moto-api/data.json", timeout=30).is_success or None
                return None

            wait_until(answers, timeout_s=_START_S, what="moto_server to answer")
            server = Aws(url, log, ours, tag, role="", storage=S3Server(url, "test", "test"))
            server = replace(server, role=set_up(server.client))
            try:
                yield server
            finally:
                names = [name for job in _all_jobs(server) for name in ours.containers(job)]
                ours.remove(names)


def set_up(client: Callable[[str], Any]) -> str:
    """Make the bucket, the role and the queue; returns the role's ARN. ``client`` makes clients of services."""
    s3, iam, ec2, batch = (client(service) for service in ("s3", "iam", "ec2", "batch"))
    make_bucket(s3)
    role = str(iam.create_role(RoleName="snakeway", AssumeRolePolicyDocument=_TRUST)["Role"]["Arn"])
    iam.create_instance_profile(InstanceProfileName="snakeway")
    iam.add_role_to_instance_profile(InstanceProfileName="snakeway", RoleName="snakeway")
    profile = iam.get_instance_profile(InstanceProfileName="snakeway")["InstanceProfile"]["Arn"]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    groups = [group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    resources = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 64,
        "desiredvCpus": 0,
        "instanceTypes": ["optimal"],
        "subnets": subnets[:1],
        "securityGroupIds": groups[:1],
        "instanceRole": profile,
    }
    batch.create_compute_environment(
        computeEnvironmentName="machines", type="MANAGED", computeResources=resources, serviceRole=role
    )
    place = [{"order": 1, "computeEnvironment": "machines"}]
    batch.create_job_queue(jobQueueName=QUEUE, state="ENABLED", priority=1, computeEnvironmentOrder=place)
    return role


def make_bucket(s3: Any) -> None:
    """Make the bucket, and the object that keeps it from ever being empty."""
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="marker", Body=b"")


def _all_jobs(server: Aws) -> list[str]:
    filters = [{"name": "JOB_NAME", "values": ["*"]}]
    found = server.client("batch").list_jobs(jobQueue=QUEUE, filters=filters)["jobSummaryList"]
    return [str(job["jobName"]) for job in found]


def main() -> None:
    """Run it until Ctrl-C."""
    with aws(Path(sys.argv[1])) as server, suppress(KeyboardInterrupt):
        print("\n".join(f"export {name}={value}" for name, value in server.env.items()), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
