"""Several supervisors against one Postgres database: each attempt runs once, and a killed supervisor's are adopted."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import Server
from tests.support.waiting import wait_until

ONCE = 'rule all:\n    output: "out.txt"\n    shell: "echo once >> out.txt"\n'
PATIENT = """
rule all:
    output: "done.txt"
    shell: "touch up.txt; until [ -e go ]; do sleep 0.05; done; touch {output}"
"""

StartCluster = Callable[[int], tuple[Server, list["subprocess.Popen[bytes]"]]]


@pytest.fixture
def cluster(tmp_path: Path, postgres_url: str, workflows: Callable[..., Path]) -> Iterator[StartCluster]:
    """Starts an API server without a supervisor of its own, and some supervisors beside it."""
    processes: list[subprocess.Popen[bytes]] = []
    servers: list[Server] = []

    def start(supervisors: int) -> tuple[Server, list[subprocess.Popen[bytes]]]:
        server = Server(
            tmp_path / "data",
            workflows_dir=workflows(once=ONCE, patient=PATIENT),
            settings={"SNAKEWAY_DATABASE_URL": postgres_url},
            arguments=["--no-supervisor"],
        )
        servers.append(server)
        subprocess.run([sys.executable, "-m", "snakeway", "migrate"], env=server.env, check=True, timeout=60)
        for number in range(supervisors):
            with (tmp_path / f"supervisor-{number}.log").open("wb") as log:
                argv = [sys.executable, "-m", "snakeway", "supervise"]
                processes.append(subprocess.Popen(argv, env=server.env, stdout=log, stderr=log))
        return server.start(), processes

    yield start
    for process in processes:
        process.kill()
        process.wait()
    for server in servers:
        server.kill()


def test_every_run_is_run_once(cluster: StartCluster) -> None:
    server, _ = cluster(3)
    run_ids = [server.submit("once") for _ in range(12)]
    for run_id in run_ids:
        assert server.end_of(run_id)["state"] == "succeeded"
        assert (server.directory(run_id) / "out.txt").read_text() == "once\n"
        assert len(server.get(f"/runs/{run_id}/attempts")["items"]) == 1


def test_the_attempts_of_a_killed_supervisor_are_adopted(cluster: StartCluster) -> None:
    server, supervisors = cluster(1)
    run_id = server.submit("patient")
    up = server.directory(run_id) / "up.txt"
    wait_until(lambda: up.exists() or None, timeout_s=60, what="the job to run")
    supervisors[0].kill()
    supervisors[0].wait()
    argv = [sys.executable, "-m", "snakeway", "supervise"]
    supervisors.append(subprocess.Popen(argv, env=server.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    (server.directory(run_id) / "go").touch()
    assert server.end_of(run_id)["state"] == "succeeded"
    assert len(server.get(f"/runs/{run_id}/attempts")["items"]) == 1
