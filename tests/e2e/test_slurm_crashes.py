"""kill -9 of anything while jobs are on Slurm: nothing is left there, nothing is computed twice, the end is true."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_crashes import kill
from tests.support.server import ENDED, Server
from tests.support.slurm import Cluster
from tests.support.waiting import wait_until

# A longer drill: SLURM_DRILL_JOBS=100 SLURM_DRILL_KILLS=20 make test ARGS="-k killed_again_and_again_on_slurm"
JOBS = int(os.environ.get("SLURM_DRILL_JOBS", "20"))
KILLS = int(os.environ.get("SLURM_DRILL_KILLS", "4"))

pytestmark = [pytest.mark.xdist_group("slurm that fails"), pytest.mark.timeout(600 + 20 * JOBS + 60 * KILLS)]

# Each job notes in a file that is only ever appended to that it has finished: whoever does it twice is seen.
WORKFLOW = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{i}.txt"
    shell: "sleep 1; echo {wildcards.i} > {output}; echo {wildcards.i} >> finished.log"

rule sum:
    input: expand("steps/{i}.txt", i=range(%d))
    output: "sum.txt"
    shell: "cat {input} | sort -n > {output}"
"""


def ended(server: Server, cluster: Cluster, run_id: str, timeout_s: float) -> Any:
    """Wait for the end of a run, which has no job in Slurm at that moment."""

    def look() -> Any:
        run = server.get(f"/runs/{run_id}")
        if run["state"] not in ENDED:
            return None
        assert cluster.jobs(run_id) == []
        return run

    return wait_until(look, timeout_s=timeout_s, what=f"the end of run {run_id}; the server's log is {server.log}")


def test_killed_again_and_again_on_slurm_a_run_ends_right(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    choose = random.Random(JOBS)
    settings = {"SNAKEWAY_MAX_RECOVERIES": str(3 * KILLS)}
    server = slurm_server(workflows_dir=workflows(steps=WORKFLOW % JOBS), settings=settings)
    run_id = server.submit("steps", target="quick")
    finished = server.directory(run_id) / "finished.log"
    for number in range(KILLS):
        before = (number * JOBS) // (KILLS + 1)
        wait_until(
            lambda wanted=before: (finished.exists() and len(finished.read_text().splitlines()) >= wanted) or None,
            timeout_s=120,
            what=f"{before} finished jobs; the server's log is {server.log}",
        )
        kill(server, choose.choice(["server", "forkserver", "shim", "snakemake"]))
    run = ended(server, cluster, run_id, timeout_s=120 + 20 * JOBS)
    assert run["state"] == "succeeded", run
    assert (server.directory(run_id) / "sum.txt").read_text() == "".join(f"{i}\n" for i in range(JOBS))
    assert Counter(finished.read_text().split()) == {str(i): 1 for i in range(JOBS)}
    attempts = server.get(f"/runs/{run_id}/attempts")["items"]
    assert {attempt["state"] for attempt in attempts[:-1]} <= {"lost"}
    assert server.stop() == 0


GOING_ON = """
rule all:
    input: expand("{i}.txt", i=range(6))

rule step:
    output: "{i}.txt"
    resources: mem_mb=30000, slurm_extra="'--nodelist=node1'"
    shell: "touch up.{wildcards.i}; until [ -e go ]; do sleep 0.2; done; echo done >> finished.log; touch {output}"
"""


def test_what_runs_when_snakemake_is_killed_ends_in_peace_and_counts(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(going=GOING_ON))  # two jobs run, four wait for memory
    run_id = server.submit("going", target="quick")
    folder = server.directory(run_id)
    wait_until(lambda: len(list(folder.glob("up.*"))) == 2 or None, timeout_s=60, what="two running jobs")
    wait_until(lambda: len(cluster.jobs(run_id)) == 6 or None, timeout_s=60, what="six jobs in Slurm")
    kill(server, "snakemake")
    wait_until(lambda: len(cluster.jobs(run_id)) == 2 or None, timeout_s=60, what="the waiting jobs to be cancelled")
    assert server.get(f"/runs/{run_id}")["state"] == "running"
    (folder / "go").touch()
    assert ended(server, cluster, run_id, timeout_s=180)["state"] == "succeeded"
    assert len((folder / "finished.log").read_text().splitlines()) == 6
    states = Counter((job["attempt"], job["state"]) for job in server.jobs(run_id) if job["rule"] == "step")
    assert states == {(1, "succeeded"): 2, (1, "lost"): 4, (2, "succeeded"): 4}


def test_a_run_that_is_cancelled_while_its_orphans_run_leaves_none(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(going=GOING_ON))
    run_id = server.submit("going", target="quick")
    folder = server.directory(run_id)
    wait_until(lambda: len(list(folder.glob("up.*"))) == 2 or None, timeout_s=60, what="two running jobs")
    kill(server, "snakemake")
    wait_until(lambda: len(cluster.jobs(run_id)) == 2 or None, timeout_s=60, what="the waiting jobs to be cancelled")
    server.request("POST", f"/runs/{run_id}/cancel")
    run = ended(server, cluster, run_id, timeout_s=60)
    assert run["state"] == "cancelled"
    assert run["error"] == (
        "Cancelled on request. Jobs that it left in the scheduler, and that were cancelled there: 6."
        " No job of it is left in the scheduler."
    )
