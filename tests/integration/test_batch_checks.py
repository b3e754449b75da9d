"""What ``snakeway doctor --target`` finds in an account of AWS; moto is AWS, and Ceph's gateway has wrong keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from snakeway import cli
from snakeway.cli import batch_checks
from snakeway.cli.checks import Finding
from tests.support.aws import BUCKET, QUEUE, REGION, set_up
from tests.support.ports import free_ports
from tests.support.s3 import S3Server, moto_server
from tests.support.server import ROOT

pytestmark = pytest.mark.xdist_group("gateway")

PROFILE: dict[str, Any] = {
    "executor": "snakeway-aws-batch",
    "container-image": "$SNAKEMAKE_JOB_IMAGE",
    "default-storage-provider": "s3",
    "default-storage-prefix": '?os.environ["SNAKEMAKE_S3_PREFIX"]',
}
QUEUE_VARIABLE = "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE"
ROLE_VARIABLE = "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_ROLE"
EXECUTION_VARIABLE = "SNAKEMAKE_SNAKEWAY_AWS_BATCH_EXECUTION_ROLE"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An account without containers."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        set_up(lambda service: client(server, service))
        client(server, "logs").create_log_group(logGroupName="/aws/batch/job")
        yield server


def client(server: S3Server, service: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own account."""
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_", "SNAKEMAKE_", "SNAKEWAY_", "OTEL_")):
            monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def account(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The account, with an environment in which everything is right."""
    told = {
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_DEFAULT_REGION": REGION,
        "SNAKEMAKE_S3_PREFIX": f"s3://{BUCKET}/runs",
        "SNAKEMAKE_JOB_IMAGE": "registry.example/job:1",
        QUEUE_VARIABLE: QUEUE,
        ROLE_VARIABLE: "arn:aws:iam::123456789012:role/snakeway",
        **moto.credentials,
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return moto


def look(**profile: Any) -> dict[str, Finding]:
    found = list(batch_checks.aws_batch(PROFILE | profile, "snakeway-aws-batch"))
    assert all(finding.state == "ok" or finding.advice for finding in found)
    return {finding.check: finding for finding in found}


def test_an_account_in_which_everything_is_right(account: S3Server) -> None:
    client(account, "logs").put_retention_policy(logGroupName="/aws/batch/job", retentionInDays=30)
    found = look()
    assert [finding for finding in found.values() if finding.state != "ok"] == []
    assert found["compute environment machines"].said == "EC2, at most 64 vCPUs"
    assert found["aws credentials"].said == "found (env)"
    assert found["aws identity"].said.startswith("arn:aws:")
    assert found["batch logs"].said.endswith("30 days")
    assert account.secret_key not in repr(found)
    objects = client(account, "s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    assert [each["Key"] for each in objects] == ["marker"]


UNSET = {
    "AWS_DEFAULT_REGION": "aws region",
    "AWS_SECRET_ACCESS_KEY": "aws credentials",
    QUEUE_VARIABLE: "batch queue",
    "SNAKEMAKE_JOB_IMAGE": "job image",
    "SNAKEMAKE_S3_PREFIX": "storage prefix",
}


@pytest.mark.parametrize("name", UNSET)
def test_a_variable_that_is_not_set(name: str, account: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    found = look()[UNSET[name]]
    assert found.state == "fail"
    assert name in found.said + found.advice


WRONG = {
    "no-such-queue": (QUEUE_VARIABLE, "nowhere", "batch queue", "there is no queue nowhere in us-east-1"),
    "no-such-bucket": ("SNAKEMAKE_S3_PREFIX", "s3://not-there/x", "storage bucket", "There is no bucket not-there at"),
    "a-prefix-that-is-none": ("SNAKEMAKE_S3_PREFIX", "/srv/x", "storage prefix", "must look like s3://BUCKET/PREFIX"),
    "an-address-that-is-none": ("AWS_ENDPOINT_URL_S3", "storage", "storage bucket", "is not a URL"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_its_own_words(case: str, account: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value, check, said = WRONG[case]
    monkeypatch.setenv(name, value)
    found = look()[check]
    assert found.state == "fail"
    assert said in found.said


def test_nothing_answers(account: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    found = look()
    assert {check: found[check].state for check in ("aws identity", "batch queue", "storage bucket", "batch logs")} == {
        "aws identity": "warn",
        "batch queue": "fail",
        "storage bucket": "fail",
        "batch logs": "warn",
    }
    assert f"AWS Batch does not answer at {url}" in found["batch queue"].said
    assert f"nothing answers at {url}" in found["storage bucket"].said


def test_a_queue_that_takes_no_jobs(account: S3Server) -> None:
    batch = client(account, "batch")
    batch.update_job_queue(jobQueue=QUEUE, state="DISABLED")
    try:
        assert "takes no jobs" in look()["batch queue"].said
    finally:
        batch.update_job_queue(jobQueue=QUEUE, state="ENABLED")
    batch.update_compute_environment(computeEnvironment="machines", state="DISABLED")
    try:
        assert look()["compute environment machines"].state == "fail"
    finally:
        batch.update_compute_environment(computeEnvironment="machines", state="ENABLED")


@pytest.fixture
def on_fargate(account: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ec2, batch = client(account, "ec2"), client(account, "batch")
    resources = {
        "type": "FARGATE",
        "maxvCpus": 8,
        "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
        "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
    }
    names = {each["computeEnvironmentName"] for each in batch.describe_compute_environments()["computeEnvironments"]}
    if "serverless" not in names:
        batch.create_compute_environment(
            computeEnvironmentName="serverless",
            type="MANAGED",
            computeResources=resources,
            serviceRole="arn:aws:iam::123456789012:role/snakeway",
        )
        place = [{"order": 1, "computeEnvironment": "serverless"}]
        batch.create_job_queue(jobQueueName="serverless", state="ENABLED", priority=1, computeEnvironmentOrder=place)
    monkeypatch.setenv(QUEUE_VARIABLE, "serverless")


@pytest.mark.usefixtures("on_fargate")
def test_fargate_needs_a_role_that_starts_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look()
    assert found["compute environment serverless"].said == "FARGATE, at most 8 vCPUs"
    assert found["batch execution role"].state == "fail"
    assert "Fargate" in found["batch execution role"].said
    monkeypatch.setenv(EXECUTION_VARIABLE, "arn:aws:iam::123456789012:role/start")
    assert look()["batch execution role"].state == "ok"


def test_roles_where_jobs_get_keys(account: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROLE_VARIABLE)
    assert look()["batch job role"].state == "warn"
    assert look(**{"snakeway-aws-batch-pass-secrets": True})["batch job role"].state == "ok"
    assert look(**{"snakeway-aws-batch-secrets": "A=arn"})["batch execution role"].state == "fail"


def test_logs(account: S3Server) -> None:
    found = look(**{"snakeway-aws-batch-log-group": "/lab/jobs"})["batch logs"]
    assert (found.state, found.said) == ("fail", "there is no log group /lab/jobs")
    client(account, "logs").create_log_group(logGroupName="/lab/jobs")
    found = look(**{"snakeway-aws-batch-log-group": "/lab/jobs"})["batch logs"]
    assert (found.state, "for ever" in found.said) == ("warn", True)


def test_files_elsewhere(account: S3Server) -> None:
    assert look(**{"default-storage-provider": "gcs"})["storage prefix"].state == "warn"


@pytest.fixture(scope="module")
def gateway(gateway: S3Server) -> S3Server:
    client(gateway, "s3").create_bucket(Bucket=BUCKET)
    return gateway


def test_wrong_keys(account: S3Server, gateway: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gateway.url)
    for name, value in gateway.credentials.items():
        monkeypatch.setenv(name, value)
    assert look()["storage bucket"] == Finding(
        "storage bucket", "ok", f"{BUCKET}: an object was listed, written, read and deleted"
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    found = look()
    assert "the secret key is not the one of the access key" in found["storage bucket"].said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hush-hush")
    found |= {"again": look()["storage bucket"]}
    assert "it does not know the access key" in found["again"].said
    assert "hush-hush" not in repr(found)
    # The storage plugin's own variables are stronger, as they are for snakemake.
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", gateway.access_key)
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_SECRET_KEY", gateway.secret_key)
    assert look()["storage bucket"].state == "ok"
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", gateway.url)
    found = look()
    assert found["batch queue"].state == "fail"
    assert "AWS Batch refuses (403" in found["batch queue"].said


def test_the_command(account: S3Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEWAY_PROFILES_DIR", str(ROOT / "profiles"))
    monkeypatch.setenv("SNAKEWAY_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    cli.main(["doctor", "--json", "--target", "aws-batch"])
    out = capfd.readouterr().out
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert found["batch queue"]["state"] == "ok"
    assert found["storage bucket"]["state"] == "ok"
    assert account.secret_key not in out
