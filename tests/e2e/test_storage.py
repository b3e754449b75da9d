"""Runs whose files are in a bucket: what is listed, and how it is fetched."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.e2e.conftest import StartServer
from tests.support.s3 import S3Server, moto_server
from tests.support.server import Server
from tests.support.waiting import wait_until

BUCKET = "lab"

SNAKEFILE = """
rule all:
    input: "results/table.txt", "results/plots", "results/last.txt"
rule raw:
    output: temp("work/raw.txt")
    shell: "echo raw > {{output}}"
rule middle:
    input: "work/raw.txt"
    output: "work/middle.txt"
    shell: "cp {{input}} {{output}}"
rule table:
    input: "work/middle.txt"
    output: "results/table.txt"
    shell: "cp {{input}} {{output}}"
rule plots:
    output: directory("results/plots")
    shell: "mkdir -p {{output}}/deep; echo 1 > {{output}}/1.txt; echo 2 > {{output}}/deep/2.txt"
rule last:
    input: "results/table.txt"
    output: "results/last.txt"
    shell: "test -e {go} && cp {{input}} {{output}}"
"""

PROFILE = """
executor: local
cores: 2
logger: [snakeway]
keep-going: true
default-storage-provider: s3
default-storage-prefix: s3://{bucket}/runs/$SNAKEWAY_RUN_ID
storage-s3-endpoint-url: {url}
"""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that speaks S3, with a bucket."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        client(server).create_bucket(Bucket=BUCKET)
        yield server


def client(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file without which the workflow's last rule fails."""
    return tmp_path / "go"


@pytest.fixture
def server(
    moto: S3Server, start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path, go: Path
) -> Server:
    """A server whose target `bucket` keeps files in the bucket, beside snakemake on this machine."""
    for name, text in (("bucket", PROFILE.format(bucket=BUCKET, url=moto.url)), ("local", "executor: local\ncores: 2")):
        (tmp_path / "profiles" / name).mkdir(parents=True)
        (tmp_path / "profiles" / name / "config.yaml").write_text(text)
    return start_server(
        workflows_dir=workflows(stored=SNAKEFILE.format(go=go)),
        profiles_dir=tmp_path / "profiles",
        settings={**moto.credentials, "AWS_DEFAULT_REGION": "us-east-1"},
    )


def collected(server: Server, run_id: str) -> dict[str, Any]:
    """Return the run's artifacts by path, once all have digests."""

    def found() -> dict[str, Any] | None:
        items = server.get(f"/runs/{run_id}/artifacts")["items"]
        return {each["path"]: each for each in items} if items and all(each["sha256"] for each in items) else None

    found_by_path: dict[str, Any] = wait_until(found, timeout_s=30, what=f"the outputs; the log is {server.log}")
    return found_by_path


def snakeway(server: Server, *args: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command line; fails on anything but success."""
    argv = [sys.executable, "-m", "snakeway", *args]
    return subprocess.run(argv, env=server.env, cwd=cwd, capture_output=True, check=True, timeout=60)


def test_a_run_in_a_bucket(server: Server, moto: S3Server, go: Path, tmp_path: Path) -> None:
    run_id = server.submit("stored", target="bucket")
    assert server.end_of(run_id)["state"] == "failed"
    first = collected(server, run_id)
    plots = {"results/plots/1.txt": "target", "results/plots/deep/2.txt": "target"}
    made = {"work/middle.txt": "intermediate", "results/table.txt": "target", **plots}
    assert {path: each["kind"] for path, each in first.items()} == made
    assert first["results/table.txt"]["rule"] == "table"
    assert first["results/table.txt"]["sha256"] == hashlib.sha256(b"raw\n").hexdigest()
    outputs = {job["rule"]: job["outputs"] for job in server.jobs(run_id)}
    assert outputs["table"] == [f"s3://{BUCKET}/runs/{run_id}/results/table.txt"]

    go.touch()
    server.rerun(run_id)
    assert server.end_of(run_id)["state"] == "succeeded"
    wait_until(lambda: "results/last.txt" in collected(server, run_id), timeout_s=30, what="the last output")
    both = collected(server, run_id)
    assert {path: (each["kind"], each["attempt"]) for path, each in both.items()} == {
        **{path: (kind, 1) for path, kind in made.items()},
        "results/last.txt": ("target", 2),
    }

    files = {**dict.fromkeys(both, b"raw\n"), "results/plots/1.txt": b"1\n", "results/plots/deep/2.txt": b"2\n"}
    snakeway(server, "get", run_id, "-o", "here", cwd=tmp_path)
    assert {str(f.relative_to(tmp_path / "here")): f.read_bytes() for f in (tmp_path / "here").rglob("*.txt")} == files
    snakeway(server, "get", run_id, "--targets", "--archive", "all.tar", cwd=tmp_path)
    piped = snakeway(server, "get", run_id, "--targets", "--archive", "-", cwd=tmp_path).stdout
    assert (tmp_path / "all.tar").read_bytes() == piped
    with tarfile.open(fileobj=io.BytesIO(piped)) as tar:
        assert tar.getnames() == sorted(path for path, each in both.items() if each["kind"] == "target")
        assert tar.extractfile("results/plots/deep/2.txt").read() == b"2\n"  # type: ignore[union-attr]
    listed = json.loads(snakeway(server, "artifacts", run_id, "--targets", "--json", cwd=tmp_path).stdout)
    assert [each["path"] for each in listed] == sorted(path for path in both if path != "work/middle.txt")

    sent = server.request("GET", f"/runs/{run_id}/artifacts/results/table.txt")
    assert (sent.status_code, sent.headers["location"].startswith(moto.url)) == (307, True)


def test_a_large_object_streams_and_is_left(server: Server, moto: S3Server, tmp_path: Path, go: Path) -> None:
    """Whoever leaves in the middle takes the connection to the storage along."""
    go.touch()
    run_id = server.submit("stored", target="bucket")
    server.end_of(run_id)
    wait_until(lambda: "results/last.txt" in collected(server, run_id), timeout_s=30, what="the last output")
    large = os.urandom(1024 * 1024) * 64
    storage = client(moto)
    storage.put_object(Bucket=BUCKET, Key=f"runs/{run_id}/results/table.txt", Body=large)
    storage.close()
    port = httpx.URL(moto.url).port
    wait_until(lambda: connections(port) == 0 or None, timeout_s=30, what="our own connections to close")
    # The kernel can hold half of the object on its way to the server, but not the rest on its way to this client.
    narrow = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    with (
        httpx.Client(base_url=f"{server.url}/api/v1", transport=narrow) as http,
        http.stream("GET", f"/runs/{run_id}/artifacts/results/table.txt", params={"redirect": "false"}) as response,
    ):
        assert response.headers["content-length"] == str(len(large))
        chunks = response.iter_raw()  # kept: httpx leaves when nobody has it any more
        assert next(chunks)
        wait_until(lambda: connections(port) == 1 or None, timeout_s=30, what="one connection to the storage")
    wait_until(lambda: connections(port) == 0 or None, timeout_s=30, what="the connection to the storage to close")
    whole = server.request("GET", f"/runs/{run_id}/artifacts/results/table.txt", params={"redirect": "false"})
    assert hashlib.sha256(whole.content).digest() == hashlib.sha256(large).digest()


def connections(port: int | None) -> int:
    """The number of connections to a port of this machine that the client has not closed, whatever the server did."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(fields[2].partition(":")[2], 16) == port and fields[3] in ("01", "08") for fields in lines)


LARGE = """
rule all:
    input: "large.bin", "small.txt"
rule large:
    output: "large.bin"
    shell: "truncate -s 200M {output}"
rule small:
    output: "small.txt"
    shell: "touch {output}"
"""


def test_an_archive_that_cannot_be_completed_is_broken_off(
    start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    server = start_server(workflows_dir=workflows(large=LARGE))
    run_id = server.submit("large")
    assert server.end_of(run_id)["state"] == "succeeded"
    collected(server, run_id)
    address = f"{server.url}/api/v1/runs/{run_id}/archive"
    with httpx.stream("GET", address, trust_env=False) as response:
        chunks = response.iter_raw()
        next(chunks)
        os.truncate(server.directory(run_id) / "large.bin", 1024)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert "was broken off" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    (server.directory(run_id) / "large.bin").unlink()
    assert server.request("GET", f"/runs/{run_id}/archive").json()["code"] == "artifact_not_found"
    argv = [sys.executable, "-m", "snakeway", "get", run_id, "--archive", "all.tar"]
    said = subprocess.run(argv, env=server.env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stderr.count("\n")) == (4, 1)
    assert not (tmp_path / "all.tar").exists()
