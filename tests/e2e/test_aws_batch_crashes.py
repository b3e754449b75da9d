"""kill -9 while jobs are on AWS Batch: no container of a run that has ended goes on, and no job definition is left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_aws_batch import END_S, left, running, steps
from tests.e2e.test_crashes import kill
from tests.support.aws import Aws
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("aws"), pytest.mark.timeout(1500)]


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
