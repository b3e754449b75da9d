"""Memory of the server while an input is uploaded, and used by a run: 1 GiB into a folder, 256 MiB into S3 (moto).

Moto, which stands for S3 here, holds objects in memory and fails with larger ones.

What is shown is the largest resident size of the server's process since it was idle, as the kernel keeps it.
"""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx

from tests.support.s3 import REGION, moto_server
from tests.support.server import Server

BLOCK = bytes(range(256)) * 4096  # 1 MiB

WORKFLOW = """
rule all:
    input: config["big"]
    output: "size.txt"
    shell: "wc -c < {input} > {output}"
"""


def blocks(size_bytes: int) -> Iterator[bytes]:
    for number in range(size_bytes // len(BLOCK)):
        yield number.to_bytes(8) + BLOCK[8:]


def peak_mib(server: Server) -> float:
    """Largest resident size since `forget_peak`."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_peak(server: Server) -> None:
    assert server.process is not None
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def measure(server: Server, name: str, size_bytes: int) -> None:
    total = hashlib.sha256()
    for block in blocks(size_bytes):
        total.update(block)
    warm = server.request(
        "POST", "/inputs", json={"name": "warm", "size_bytes": 1, "sha256": hashlib.sha256(b"w").hexdigest()}
    )
    headers = {"Content-Type": "application/octet-stream", "Upload-Offset": "0"}
    server.request("PATCH", f"/inputs/{warm.json()['id']}", content=b"w", headers=headers).raise_for_status()
    server.end_of(server.submit("big", config={"big": warm.json()["reference"]}))
    forget_peak(server)
    idle = peak_mib(server)
    found = server.request(
        "POST", "/inputs", json={"name": "big", "size_bytes": size_bytes, "sha256": total.hexdigest()}
    ).json()
    start = time.perf_counter()
    answer = httpx.patch(
        f"{server.url}/api/v1/inputs/{found['id']}",
        content=blocks(size_bytes),
        headers={**headers, "Content-Length": str(size_bytes)},
        timeout=600,
    )
    assert answer.is_success, answer.text
    took = time.perf_counter() - start
    sent = peak_mib(server)
    run = server.end_of(server.submit("big", config={"big": found["reference"]}), timeout_s=300)
    assert run["state"] == "succeeded", run["error"]
    used = peak_mib(server)
    told = f"upload {sent - idle:+7.1f} MiB in {took:5.1f} s   run {used - idle:+7.1f} MiB"
    print(f"{name:<8} idle {idle:7.1f} MiB   {told}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "workflows/big").mkdir(parents=True)
        (root / "workflows/big/Snakefile").write_text(WORKFLOW)
        server = Server(root / "folder", workflows_dir=root / "workflows").start()
        try:
            measure(server, "folder", 1024**3)
        finally:
            server.stop()
        with moto_server(root / "moto") as moto:
            keys = {"aws_access_key_id": moto.access_key, "aws_secret_access_key": moto.secret_key}
            boto3.client("s3", endpoint_url=moto.url, region_name=REGION, **keys).create_bucket(Bucket="bench")
            settings = {**moto.credentials, "SNAKEWAY_BLOBS_URL": moto.blobs_url("bench")}
            server = Server(root / "s3", workflows_dir=root / "workflows", settings=settings).start()
            try:
                measure(server, "s3", 256 * 1024**2)
            finally:
                server.stop()


if __name__ == "__main__":
    main()
