"""Files that are uploaded and used by runs: connections that break, servers that are killed, jobs with files in S3."""

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.e2e.conftest import StartServer
from tests.support.s3 import REGION, S3Server, moto_server
from tests.support.server import Server
from tests.support.waiting import wait_until

DATA = b"".join(b"%07d\n" % number for number in range(1_000_000))  # 8 MB, no two lines alike
SHA = hashlib.sha256(DATA).hexdigest()
PATH = f"inputs/{SHA[:12]}/numbers.txt"

COUNTS = """
rule all:
    input: "counted.txt"

rule count:
    input: config["numbers"]["file"]
    output: "counted.txt"
    shell: "sha256sum < {input} > {output}; echo {input} >> {output}; echo x >> made.log"
"""

# A job that writes to what it was given to read, as far as its account can.
SPOILS = """
rule all:
    input: config["numbers"]["file"]
    output: "done.txt"
    shell: "chmod u+w {input}; echo spoiled > {input}; touch {output}"
"""

Upload = Callable[[Server], str]


def announced(server: Server, name: str = "numbers.txt", data: bytes = DATA) -> Any:
    body = {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    response = server.request("POST", "/inputs", json=body)
    assert response.is_success, response.text
    return response.json()


def sent(server: Server, input_id: str, offset: int, data: bytes) -> Any:
    headers = {"Content-Type": "application/octet-stream", "Upload-Offset": str(offset)}
    response = server.request("PATCH", f"/inputs/{input_id}", content=data, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def begin_to_send(server: Server, input_id: str, offset: int, data: bytes) -> socket.socket:
    """Send a request that is to bring all the rest, and only ``data`` of it; the connection stays open."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = (
        f"PATCH /api/v1/inputs/{input_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: {offset}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(DATA) - offset}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def arrived(server: Server, input_id: str, least: int) -> int:
    """Wait until the server has so many bytes of an upload; returns how many it has."""

    def enough() -> int | None:
        offset = int(server.request("HEAD", f"/inputs/{input_id}").headers["Upload-Offset"])
        return offset if offset >= least else None

    return wait_until(enough, timeout_s=30, what=f"{least} bytes of the upload")


def test_an_upload_survives_broken_connections_and_the_server_s_death(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = start_server(workflows_dir=workflows(counts=COUNTS))
    found = announced(server)
    # The connection breaks in the middle of a piece: what has come counts, to the byte.
    begin_to_send(server, found["id"], 0, DATA[:3_333_333]).close()
    assert arrived(server, found["id"], 3_333_333) == 3_333_333
    # The server is killed while a piece arrives: what was written by then counts.
    connection = begin_to_send(server, found["id"], 3_333_333, DATA[3_333_333:6_000_000])
    arrived(server, found["id"], 4_000_000)
    server.kill()
    connection.close()
    server.start()
    again = announced(server)
    assert (again["id"], again["state"]) == (found["id"], "uploading")
    offset = again["offset"]
    assert 4_000_000 <= offset < len(DATA)
    assert sent(server, found["id"], offset, DATA[offset : offset + 1000])["offset"] == offset + 1000
    server.kill()
    server.start()
    assert sent(server, found["id"], offset + 1000, DATA[offset + 1000 :])["state"] == "complete"

    run_id = server.submit("counts", config={"numbers": {"file": found["reference"]}})
    run = server.end_of(run_id)
    assert run["state"] == "succeeded", run["error"]
    directory = server.directory(run_id)
    assert (directory / "counted.txt").read_text().split() == [SHA, "-", PATH]
    assert [(each["path"], each["sha256"]) for each in run["inputs"]] == [(PATH, SHA)]
    assert stat.S_IMODE((directory / PATH).stat().st_mode) == 0o444
    before = (directory / PATH).stat()

    # A re-run leaves the file as it is, and finds nothing to do: the run goes on showing what it has done before.
    server.rerun(run_id)
    again = server.end_of(run_id)
    assert (again["state"], again["jobs"]) == ("succeeded", run["jobs"])
    assert run["jobs"]["done"] == run["jobs"]["total"] > 0
    assert (directory / "made.log").read_text() == "x\n"
    after = (directory / PATH).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_job_cannot_change_what_is_kept(start_server: StartServer, workflows: Callable[..., Path]) -> None:
    server = start_server(workflows_dir=workflows(spoils=SPOILS))
    data = b"a small one\n"
    found = announced(server, "small.txt", data)
    sent(server, found["id"], 0, data)
    run_ids = [server.submit("spoils", config={"numbers": {"file": found["reference"]}}) for _ in range(2)]
    for run_id in run_ids:
        assert server.end_of(run_id)["state"] == "succeeded"
        copy = server.directory(run_id) / "inputs" / hashlib.sha256(data).hexdigest()[:12] / "small.txt"
        assert copy.read_bytes() == b"spoiled\n"
    assert server.request("GET", f"/inputs/{found['id']}/content").content == data
    # What the job did to its own copy is made good before the next attempt, which here has nothing to do.
    server.rerun(run_ids[-1])
    assert server.end_of(run_ids[-1])["state"] == "succeeded"
    assert copy.read_bytes() == data


def test_inputs_that_cannot_be_brought_fail_the_attempt_with_a_reason(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = start_server(workflows_dir=workflows(counts=COUNTS))
    data = b"kept\n"
    found = announced(server, "kept.txt", data)
    sent(server, found["id"], 0, data)
    [blob] = (server.data_dir / "blobs").rglob("*.blob")
    blob.write_bytes(b"rot!\n")
    run = server.end_of(server.submit("counts", config={"numbers": {"file": found["reference"]}}))
    assert run["state"] == "failed"
    assert "is not that of its SHA-256 any more" in run["error"]
    assert not (server.directory(run["id"]) / "inputs").exists() or not list(
        (server.directory(run["id"]) / "inputs").rglob("kept.txt")
    )


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An object store."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


IN_S3 = """
__use_yte__: true
__definitions__:
  - import os
executor: local
cores: 2
default-storage-provider: s3
default-storage-prefix: ?"s3://lab/runs/" + os.environ.get("SNAKEWAY_RUN_ID", "by-hand")
storage-s3-endpoint-url: %s
shared-fs-usage: [persistence, software-deployment, sources, source-cache]
"""


def test_jobs_with_their_files_in_s3_find_their_inputs_there(
    start_server: StartServer, workflows: Callable[..., Path], moto: S3Server, tmp_path: Path
) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=moto.url,
        region_name=REGION,
        aws_access_key_id=moto.access_key,
        aws_secret_access_key=moto.secret_key,
    )
    for bucket in ("lab", "kept"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="lab", Key="never-empty", Body=b"")
    profile = tmp_path / "profiles" / "in-s3"
    profile.mkdir(parents=True)
    (profile / "config.yaml").write_text(IN_S3 % moto.url)
    keys = {"access_key": "ACCESS_KEY", "secret_key": "SECRET_KEY"}
    settings = {
        **moto.credentials,
        **{f"SNAKEMAKE_STORAGE_S3_{name}": getattr(moto, member) for member, name in keys.items()},
        "AWS_DEFAULT_REGION": REGION,
        "SNAKEWAY_BLOBS_URL": moto.blobs_url("kept", "snakeway"),
    }
    server = start_server(workflows_dir=workflows(counts=COUNTS), profiles_dir=tmp_path / "profiles", settings=settings)
    found = announced(server)
    assert sent(server, found["id"], 0, DATA)["state"] == "complete"
    run_id = server.submit("counts", target="in-s3", config={"numbers": {"file": found["reference"]}})
    run = server.end_of(run_id, timeout_s=120)
    assert run["state"] == "succeeded", run["error"]
    key = f"runs/{run_id}/{PATH}"
    put_at = s3.head_object(Bucket="lab", Key=key)["LastModified"]
    counted = s3.get_object(Bucket="lab", Key=f"runs/{run_id}/counted.txt")["Body"].read().decode()
    assert counted.split()[0] == SHA
    # Nothing of it is on the server's disk but what snakemake itself has fetched for the job.
    assert not (server.directory(run_id) / PATH).exists()
    assert not list((server.data_dir / "uploads").iterdir())
    server.rerun(run_id)
    assert server.end_of(run_id, timeout_s=120)["state"] == "succeeded"
    assert s3.head_object(Bucket="lab", Key=key)["LastModified"] == put_at
    assert [job["state"] for job in server.jobs(run_id, attempt=2)] == []


def snakeway(server: Server, *args: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakeway", *args],
        env=server.env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_line_uploads_takes_up_and_submits(
    start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    server = start_server(workflows_dir=workflows(counts=COUNTS))
    file = tmp_path / "numbers.txt"
    file.write_bytes(DATA)
    begun = announced(server)
    sent(server, begun["id"], 0, DATA[:5_000_000])  # an earlier upload of it, broken off
    assert snakeway(server, "upload", "numbers.txt", cwd=tmp_path) == f"{begun['reference']}\tnumbers.txt\n"
    again = json.loads(snakeway(server, "upload", "numbers.txt", "--json", "--name", "n.txt", cwd=tmp_path))
    assert (again[0]["state"], again[0]["name"]) == ("complete", "n.txt")
    assert len(list((server.data_dir / "blobs").rglob("*.blob"))) == 1
    lines = snakeway(server, "inputs", cwd=tmp_path).splitlines()
    assert [line.split("\t")[5] for line in lines] == ["n.txt", "numbers.txt"]
    snakeway(server, "inputs", "--rm", again[0]["reference"], cwd=tmp_path)
    run_id = snakeway(server, "submit", "counts", "-i", "numbers.file=numbers.txt", "-f", cwd=tmp_path).strip()
    assert (server.directory(run_id) / "counted.txt").read_text().split()[0] == SHA
    assert [each["id"] for each in json.loads(snakeway(server, "inputs", "--json", cwd=tmp_path))] == [begun["id"]]


def test_the_client_goes_on_when_the_server_comes_back(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(1024 * 1024))
    process = subprocess.Popen(
        [sys.executable, "-m", "snakeway", "upload", str(big), "--json"],
        env=server.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def some() -> bool | None:
        return any(path.stat().st_size for path in (server.data_dir / "uploads").glob("*")) or None

    wait_until(some, timeout_s=60, what="the first bytes")
    server.kill()
    server.start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    [found] = json.loads(out)
    assert found["state"] == "complete"
    content = server.request("GET", f"/inputs/{found['id']}/content").content
    assert hashlib.sha256(content).hexdigest() == hashlib.sha256(big.read_bytes()).hexdigest()
