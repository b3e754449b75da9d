"""Files in a bucket: what a run says when the bucket cannot be used, and that a re-run makes only what is missing."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from snakeway.wire import EventType, read_events
from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.support.s3 import REGION, S3Server
from tests.support.server import ROOT, Server, free_port

pytestmark = pytest.mark.xdist_group("gateway")

BUCKET = "snakeway-tests"
END_S = 60

READS = 'rule copy:\n    input: "in.txt"\n    output: "out.txt"\n    shell: "cp {input} {output}"\n'
WRITES = 'rule make:\n    output: "out.txt"\n    shell: "echo > {output}"\n'

# The first step of ten fails until there is the object `good`, which no rule makes.
TENTHS = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{i}.txt"
    shell: "test {wildcards.i} != 0 || test -n \\"$GOOD\\"; echo {wildcards.i} > {output}"

rule sum:
    input: expand("steps/{i}.txt", i=range(10))
    output: "sum.txt"
    shell: "cat {input} | sort -n > {output}"
"""


@pytest.fixture(scope="module")
def gateway(gateway: S3Server) -> S3Server:
    """A server that speaks S3 and checks signatures, with a bucket that is never empty."""
    s3 = client(gateway)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="marker", Body=b"")
    return gateway


def client(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )


def environment(server: S3Server, **more: str) -> dict[str, str]:
    """What the target reads, with nothing of this machine's own account."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SNAKEMAKE_S3_PREFIX": f"s3://{BUCKET}/runs",
        "SNAKEMAKE_JOB_IMAGE": "localhost/job",
        "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE": "queue",
        **server.credentials,
        **more,
    }


def without(env: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target `aws-batch`, and `here`: jobs run on this machine, and files are in the bucket. Both wait less."""
    folder = tmp_path_factory.mktemp("profiles")
    text = (ROOT / "profiles/aws-batch/config.yaml").read_text()
    text = text.replace("storage-s3-retries: 8", "storage-s3-retries: 1")
    not_here = ("snakeway-aws", "container-image", "shared-fs")
    here = "\n".join(line for line in text.splitlines() if not line.startswith(not_here))
    for name, config in (("aws-batch", text), ("here", here.replace("snakeway-aws-batch", "local\ncores: 2"))):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(config)
    return folder


@pytest.fixture(scope="module")
def snakefiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workflows")
    for name, text in (("reads", READS), ("writes", WRITES)):
        (folder / name).mkdir()
        (folder / name / "Snakefile").write_text(text)
    return folder


def failed(server: Server, workflow: str, target: str = "aws-batch") -> dict[str, Any]:
    """Run a workflow that must fail; returns the failure of its attempt."""
    run_id = server.submit(workflow, target=target)
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "failed", run
    (attempt,) = server.get(f"/runs/{run_id}/attempts")["items"]
    failure: dict[str, Any] = attempt["failure"]
    assert failure["summary"] == run["error"]
    assert "Traceback" not in run["error"]
    assert "\n" not in run["error"]
    return failure


@pytest.fixture
def serve(start_server: StartServer, profiles: Path, snakefiles: Path) -> Any:
    """Starts servers whose environment is the one that is given."""

    def start(env: dict[str, str]) -> Server:
        return start_server(profiles_dir=profiles, workflows_dir=snakefiles, settings=env)

    return start


WRONG_KEYS = {
    "AWS_SECRET_ACCESS_KEY": "the secret key is not the one of the access key",
    "AWS_ACCESS_KEY_ID": "it does not know the access key",
}


@pytest.mark.parametrize("which", WRONG_KEYS)
def test_a_wrong_key(which: str, gateway: S3Server, serve: Any) -> None:
    server = serve(environment(gateway, **{which: "hush-hush"}))
    for workflow, target in (("reads", "aws-batch"), ("writes", "aws-batch"), ("reads", "here")):
        failure = failed(server, workflow, target)
        assert (failure["kind"], failure["suggestion"]) == ("storage_refused", None)
        assert f"the bucket {BUCKET} at {gateway.url}: {WRONG_KEYS[which]}" in failure["summary"]
        assert f"correct {which}" in failure["summary"]
    shown = subprocess.run(
        [sys.executable, "-m", "snakeway", "show", "last"], env=server.env, capture_output=True, text=True, check=True
    )
    assert WRONG_KEYS[which] in " ".join(shown.stdout.split())
    assert not [path for path in server.data_dir.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]


def test_no_key_at_all(gateway: S3Server, serve: Any) -> None:
    server = serve(without(environment(gateway), *gateway.credentials))
    failure = failed(server, "writes")
    assert failure["kind"] == "storage_refused"
    assert failure["summary"].startswith(f"There are no credentials for the bucket {BUCKET} at {gateway.url}")


@pytest.mark.parametrize("workflow", ["reads", "writes"])
def test_a_storage_that_does_not_answer(workflow: str, gateway: S3Server, serve: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    failure = failed(serve(environment(gateway, AWS_ENDPOINT_URL=url)), workflow)
    assert (failure["kind"], failure["suggestion"]) == ("storage_unreachable", {"set_resources": {}})
    assert failure["summary"].startswith(f"Object storage does not answer: nothing answers at {url}")
    assert f"the bucket {BUCKET}" in failure["summary"]


def test_no_such_bucket_and_no_such_file(gateway: S3Server, serve: Any) -> None:
    server = serve(environment(gateway, SNAKEMAKE_S3_PREFIX="s3://not-there/runs"))
    failure = failed(server, "reads")
    assert failure["kind"] == "storage_refused"
    assert failure["summary"] == (
        f"There is no bucket not-there at {gateway.url}: make it, or correct SNAKEMAKE_S3_PREFIX"
    )
    server.stop()
    server.settings["SNAKEMAKE_S3_PREFIX"] = f"s3://{BUCKET}/runs"
    server.start()
    failure = failed(server, "reads")
    assert (failure["kind"], failure["suggestion"]) == ("missing_input", None)
    assert f"s3://{BUCKET}/runs/" in failure["summary"]


PREFIXES = {
    None: "No place for files is named: set SNAKEMAKE_S3_PREFIX",
    "results of mine": "The place for files, 'results of mine",
    "s3://": "SNAKEMAKE_S3_PREFIX must look like s3://BUCKET/PREFIX",
    "/srv/runs": "is not in a bucket",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_place_for_files_that_is_none(prefix: str | None, gateway: S3Server, serve: Any) -> None:
    env = without(environment(gateway), "SNAKEMAKE_S3_PREFIX")
    failure = failed(serve(env | ({"SNAKEMAKE_S3_PREFIX": prefix} if prefix else {})), "reads")
    assert failure["kind"] in ("invalid_target", "storage_refused")
    assert PREFIXES[prefix] in failure["summary"]


UNSET = {
    "SNAKEMAKE_JOB_IMAGE": "SNAKEMAKE_JOB_IMAGE",
    "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE": "SNAKEMAKE_SNAKEWAY_AWS_BATCH_JOB_QUEUE",
    "AWS_DEFAULT_REGION": "AWS_DEFAULT_REGION",
}


@pytest.mark.parametrize("name", UNSET)
def test_a_variable_that_is_not_set(name: str, gateway: S3Server, serve: Any) -> None:
    failure = failed(serve(without(environment(gateway), name)), "writes")
    assert (failure["kind"], failure["suggestion"]) == ("invalid_target", None)
    assert UNSET[name] in failure["summary"]
    assert failure["file"] is None


def test_an_address_that_is_none(gateway: S3Server, serve: Any) -> None:
    failure = failed(serve(environment(gateway, AWS_ENDPOINT_URL="storage.example")), "writes")
    assert failure["kind"] == "invalid_target"
    assert "storage.example" in failure["summary"]


def test_a_batch_that_refuses_everything_does_not_keep_the_run_from_ending(gateway: S3Server, serve: Any) -> None:
    server = serve(environment(gateway))  # the gateway has files, and no idea of AWS Batch
    run_id = server.submit("writes", target="aws-batch")
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "failed", run
    (job,) = server.jobs(run_id)
    assert (job["state"], job["failure"]["kind"], job["external_id"]) == ("failed", "refused", None)


class Hand(ByHand):
    """Somebody who runs snakemake on this machine, with files in the bucket."""

    profile = ROOT

    @property
    def argv(self) -> list[str]:
        return [*super().argv[:-1], str(self.profile)]


def test_a_rerun_from_a_fresh_directory_makes_only_what_is_missing(
    gateway: S3Server, profiles: Path, tmp_path: Path
) -> None:
    env = environment(gateway, SNAKEMAKE_S3_PREFIX=f"s3://{BUCKET}/tenths")
    first = Hand(tmp_path / "first", TENTHS, **env)
    first.profile = profiles / "here"
    done = first.snakemake()
    assert done.returncode == 1, done.stderr
    assert len(keys(gateway, "tenths/")) == 9
    shutil.rmtree(first.folder)
    second = Hand(tmp_path / "second", TENTHS, GOOD="yes", **env)
    second.profile = profiles / "here"
    done = second.snakemake()
    assert done.returncode == 0, done.stderr
    events, _ = read_events(second.events, 0, 2**20)
    finished = [event["job"] for event in events if event["type"] == EventType.JOB_FINISHED]
    made = {event["job"]: (event["rule"], event["wildcards"]) for event in events if event["type"] == EventType.JOB}
    assert sorted(made[job][0] for job in finished) == ["all", "step", "sum"]
    assert ("step", {"i": "0"}) in made.values()
    body = client(gateway).get_object(Bucket=BUCKET, Key="tenths/sum.txt")["Body"].read()
    assert body.decode().split() == [str(i) for i in range(10)]


def keys(server: S3Server, prefix: str) -> list[str]:
    found = client(server).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for each in found.get("Contents", [])]
