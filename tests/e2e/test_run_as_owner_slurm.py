"""Runs as the accounts of their owners on a real Slurm cluster, where users and limits are Slurm's own."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import QUICK
from tests.support.people import ALICE, BOB, PROGRAMS, SERVICE, House, become, house, missing, processes_of
from tests.support.server import ROOT, Server
from tests.support.services import need
from tests.support.slurm import Cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600)]

STEPS = """
rule all:
    input: expand("steps/{{i}}.txt", i=range({jobs}))

rule step:
    output: "steps/{{i}}.txt"
    shell: "sleep {seconds}; id -un > {{output}}; umask >> {{output}}"
"""


@pytest.fixture(scope="module")
def home() -> Iterator[House]:
    need(PROGRAMS, missing=missing(), root=True)
    with house() as made:
        made.workflow("short", STEPS.format(jobs=5, seconds=3))
        made.workflow("long", STEPS.format(jobs=6, seconds=600))
        shutil.copytree(ROOT / "profiles" / "slurm", made.path / "profiles" / "quick")
        config = made.path / "profiles" / "quick" / "config.yaml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith(tuple(QUICK))]
        config.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in QUICK.items())]) + "\n")
        yield made


@pytest.fixture
def servers(home: House, cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, Server]]:
    """A server for each of two people, both of the same service account, and a limit of two jobs for each person."""
    settings = {
        **cluster.env,
        "SNAKEWAY_SCHEDULER_INTERVAL_S": "1",
        "SNAKEWAY_STOP_INTERRUPT_GRACE_S": "2",
        "SNAKEWAY_MAX_RECOVERIES": "0",
        "SNAKEWAY_OWNER_ENVIRONMENT": '["SBATCH_QOS"]',
        "SBATCH_QOS": "tight",
    }
    del settings["HOME"]
    found = {name: home.server(f"{name}-{tmp_path.name}", account=name, settings=settings) for name in (ALICE, BOB)}
    for server in found.values():
        server.start()
    yield found
    for server in found.values():
        server.stop()


def users(cluster: Cluster) -> Counter[str]:
    """Return how many jobs each user has in the queue."""
    states = "PENDING,CONFIGURING,RUNNING,COMPLETING"
    return Counter(cluster.run("squeue", "--noheader", f"--states={states}", "--format=%u").split())


def wait_for_jobs(cluster: Cluster, run_id: str, count: int) -> None:
    def running() -> Any:
        found = cluster.run("squeue", "--noheader", f"--name={run_id}", "--states=RUNNING", "--format=%i")
        return len(found.split()) == count or None

    wait_until(running, timeout_s=60, what=f"{count} running jobs")


def test_jobs_are_their_owners_and_limits_hold_for_each_person(cluster: Cluster, servers: dict[str, Server]) -> None:
    runs = {name: server.submit("short", target="quick") for name, server in servers.items()}
    most: Counter[str] = Counter()
    together = 0

    def ended() -> Any:
        nonlocal most, together
        now = users(cluster)
        most |= now
        together = max(together, now.total())
        return all(
            server.get(f"/runs/{runs[name]}")["state"] in ("succeeded", "failed") for name, server in servers.items()
        )

    wait_until(ended, timeout_s=240, what="the end of both runs")
    assert most == {ALICE: 2, BOB: 2}
    assert together > 2
    for name, server in servers.items():
        run = server.get(f"/runs/{runs[name]}")
        assert run["state"] == "succeeded", run
        made = server.directory(runs[name]) / "steps"
        assert [path.read_text() for path in made.iterdir()] == [f"{name}\n0007\n"] * 5
        jobs = [job for job in server.jobs(runs[name]) if job["rule"] == "step"]
        assert all(job["external_id"] for job in jobs)
        assert server.request("DELETE", f"/runs/{runs[name]}").status_code == 204
        assert not server.directory(runs[name]).exists()


@pytest.mark.parametrize("stuck", [False, True])
def test_cancelling_leaves_nothing(cluster: Cluster, servers: dict[str, Server], stuck: bool) -> None:
    """A snakemake that works cancels its jobs itself; for one that does not answer the service has it done."""
    server = servers[ALICE]
    run_id = server.submit("long", target="quick")
    wait_for_jobs(cluster, run_id, 2)
    assert users(cluster) == {ALICE: 2}
    if stuck:
        for pid in processes_of(run_id):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"snakeway run") and os.getsid(pid) != pid:
                    os.kill(pid, signal.SIGSTOP)
    server.request("POST", f"/runs/{run_id}/cancel")
    run = server.end_of(run_id, timeout_s=90)
    assert run["state"] == "cancelled"
    assert cluster.jobs(run_id) == []
    assert ("that its snakemake left" in server.log.read_text()) is stuck
    wait_until(lambda: not processes_of(run_id) or None, timeout_s=15, what="every process of the run to be gone")


def test_the_service_itself_may_not_cancel_the_jobs(cluster: Cluster, servers: dict[str, Server]) -> None:
    """Without this the test before would prove nothing."""
    server = servers[BOB]
    run_id = server.submit("long", target="quick")
    wait_for_jobs(cluster, run_id, 2)
    refused = become(SERVICE, "scancel", f"--name={run_id}", *cluster.jobs(run_id), env=cluster.env)
    assert "Access/permission denied" in refused.stderr
    assert len(cluster.jobs(run_id)) == 2
    server.request("POST", f"/runs/{run_id}/cancel")
    assert server.end_of(run_id, timeout_s=90)["state"] == "cancelled"
    assert cluster.jobs(run_id) == []
