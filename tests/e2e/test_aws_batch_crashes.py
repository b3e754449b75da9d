"""kill -9 while jobs are on AWS Batch: no container of a run that has ended goes on, and no job definition is left."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_aws_batch import END_S, left, running, steps
from tests.e2e.test_crashes import kill
from tests.support.aws import Aws
from tests.support.waiting import wait_until

# A longer drill: AWS_DRILL_JOBS=100 AWS_DRILL_KILLS=20 make test ARGS="-k killed_again_and_again_on_aws"
JOBS = int(os.environ.get("AWS_DRILL_JOBS", "8"))
KILLS = int(os.environ.get("AWS_DRILL_KILLS", "2"))

pytestmark = [pytest.mark.xdist_group("aws"), pytest.mark.timeout(1500 + 60 * JOBS + 120 * KILLS)]


def test_killed_again_and_again_on_aws_a_run_ends_right(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    choose = random.Random(JOBS)
    settings = {"SNAKEWAY_MAX_RECOVERIES": str(3 * KILLS)}
    server = batch_server(workflows_dir=workflows(steps=steps(JOBS)), settings=settings)
    run_id = server.submit("steps", target="quick")
    for number in range(KILLS):
        before = (number * JOBS) // (KILLS + 1)
        wait_until(
            lambda wanted=before: len(batch.keys(f"runs/{run_id}/steps/")) >= wanted or None,
            timeout_s=END_S,
            what=f"{before} finished jobs; the server's log is {server.log}",
        )
        kill(server, choose.choice(["server", "forkserver", "shim", "snakemake"]))
    run = server.end_of(run_id, timeout_s=END_S + 60 * JOBS)
    assert batch.containers.containers(run_id) == []  # at this moment
    assert run["state"] == "succeeded", run
    assert batch.objects(f"runs/{run_id}/")["sum.txt"] == "".join(f"{i}\n" for i in range(JOBS)).encode()
    assert left(batch, run_id) == []
    attempts = server.get(f"/runs/{run_id}/attempts")["items"]
    assert {attempt["state"] for attempt in attempts[:-1]} <= {"lost"}
    ended = Counter(job["status"] for job in batch.jobs(run_id))
    assert ended["SUCCEEDED"] == JOBS + 1, ended  # nothing was made twice


def test_what_runs_when_snakemake_is_killed_counts_and_a_recovery_does_the_rest(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = batch_server(workflows_dir=workflows(steps=steps(2, "sleep 5; ")))
    run_id = server.submit("steps", target="quick")
    wait_until(running(batch, run_id, 2), timeout_s=END_S, what="two containers")
    kill(server, "snakemake")
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "succeeded", run
    first, second = server.get(f"/runs/{run_id}/attempts")["items"]
    assert (first["state"], second["reason"], second["state"]) == ("lost", "recovery", "succeeded")
    ids = [{job["external_id"] for job in server.jobs(run_id, attempt=n) if job["rule"] == "step"} for n in (1, 2)]
    assert ids[0] == ids[1]  # taken up, not made again
    assert len(batch.jobs(run_id)) == 3
    assert batch.objects(f"runs/{run_id}/")["sum.txt"] == b"0\n1\n"
    assert left(batch, run_id) == []


def test_a_run_that_is_cancelled_after_its_snakemake_and_server_were_killed_leaves_nothing(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = batch_server(workflows_dir=workflows(steps=steps(2, "sleep 600; ")))
    run_id = server.submit("steps", target="quick")
    wait_until(running(batch, run_id, 2), timeout_s=END_S, what="two containers")
    kill(server, "snakemake")
    kill(server, "server")
    server.request("POST", f"/runs/{run_id}/cancel")
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "cancelled"
    assert run["error"].endswith("No job of it is left in the scheduler.")
    wait_until(lambda: left(batch, run_id) == [] or None, timeout_s=60, what="nothing to be left")
