"""From submit to the first job through a warm service, against the same from a bare snakemake start."""

import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.common import SNAKEMAKE, ratio, row, timed
from tests.support.server import Server

ROUNDS = 10

WORKFLOW = """
rule all:
    input: "started.txt"

rule first:
    output: "started.txt"
    shell: "date +%s.%N > {output}"
"""


def bare(folder: Path) -> float:
    """Seconds from the start of snakemake to the moment its first job began."""
    folder.mkdir()
    (folder / "Snakefile").write_text(WORKFLOW)
    begin = time.time()
    timed([SNAKEMAKE, "--cores", "all"], folder)
    return float((folder / "started.txt").read_text()) - begin


def served(server: Server, client: httpx.Client) -> float:
    """Seconds from the request to the moment the first job began."""
    begin = time.time()
    run_id = client.post("/runs", json={"workflow": "first"}).json()["id"]
    server.end_of(run_id)
    return float((server.directory(run_id) / "started.txt").read_text()) - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "workflows/first").mkdir(parents=True)
        (root / "workflows/first/Snakefile").write_text(WORKFLOW)
        server = Server(root / "data", workflows_dir=root / "workflows").start()
        try:
            with httpx.Client(base_url=f"{server.url}/api/v1", timeout=60) as client:
                served(server, client)  # the forkserver has imported snakemake from here on
                bare(root / "warm-up")
                pairs = [(served(server, client), bare(root / f"bare-{number}")) for number in range(ROUNDS)]
        finally:
            server.stop()
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    print(f"{'':<42} {'min':>8} {'median':>8} {'max':>8}")
    print(row("submit -> first job, warm service", ours))
    print(row("snakemake start -> first job", theirs))
    print(f"ratio {ratio(ours, theirs):.2f}")


if __name__ == "__main__":
    main()
