"""Whole workflows on AWS Batch: the quickstart, and many jobs of which a tenth fails and is run again.

Their files are in Ceph's gateway, which unlike moto checks signatures; everything else on AWS Batch uses moto's S3.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_aws_batch import END_S, Hand, by_place, left, steps
from tests.support.aws import BUCKET, Aws
from tests.support.server import ROOT

pytestmark = [pytest.mark.xdist_group("aws"), pytest.mark.timeout(3000)]

# The sizes that were measured, with each of the two storages:
# AWS_JOBS=100 AWS_SPECIES=3 AWS_BATCHES=12 AWS_STORAGES="moto ceph" make test ARGS="-k aws_batch_size"
JOBS = int(os.environ.get("AWS_JOBS", "4"))
BATCHES = int(os.environ.get("AWS_BATCHES", "2"))
SPECIES = ["Adelie", "Gentoo", "Chinstrap"][: int(os.environ.get("AWS_SPECIES", "1"))]
STORAGES = (os.environ.get("AWS_STORAGES") or "ceph").split()
RESULTS = ("results/table.csv", "results/figure.svg")


@pytest.fixture(scope="module", params=STORAGES)
def batch(request: pytest.FixtureRequest, batch: Aws) -> Aws:
    """AWS, with the bucket in each of the storages."""
    kinds = {"moto": lambda: batch, "ceph": lambda: batch.stored_in(request.getfixturevalue("gateway"))}
    return kinds[request.param]()


def checkout(folder: Path) -> Path:
    """Make a checkout of the quickstart: what Snakemake sends to jobs is what git has."""
    shutil.copytree(ROOT / "workflows" / "quickstart", folder, ignore=shutil.ignore_patterns(".snake*", "results"))
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_quickstart_on_aws_batch_is_the_same_by_hand_and_by_the_service(
    batch: Aws, batch_server: StartServer, batch_profiles: Path, tmp_path: Path
) -> None:
    server = batch_server()
    run_id = server.submit("quickstart", target="quick", config={"batches": BATCHES, "species": SPECIES})
    hand = Hand(tmp_path / "login", checkout(tmp_path / "quickstart"), batch, batch_profiles / "quick")
    hand.env |= {"SNAKEWAY_URL": server.url}
    done = hand.snakemake("--config", f"batches={BATCHES}", f"species={SPECIES}")
    assert done.returncode == 0, done.stderr
    run = server.end_of(run_id, timeout_s=END_S + 30 * BATCHES * len(SPECIES))
    assert run["state"] == "succeeded", run
    assert by_place(server.jobs(run_id)) == by_place(server.jobs(hand.run_id))
    assert sum(job["external_id"] is not None for job in server.jobs(run_id)) == len(SPECIES) * (3 + BATCHES) + 1
    ours, theirs = batch.objects(f"runs/{run_id}/"), batch.objects("login/")
    for name in RESULTS:
        assert ours[name] == theirs[name]
    assert left(batch, run_id) == left(batch, hand.run_id) == []


# A tenth fails until there is an object `mended`.
FAILING = (
    'test $(( {wildcards.i} % 10 )) -ne 3 || python -c \'import boto3; boto3.client(\\"s3\\")'
    f'.head_object(Bucket=\\"{BUCKET}\\", Key=\\"mended\\")'
    "'; "
)


def ran(jobs: list[Any]) -> Counter[str]:
    return Counter(job["rule"] for job in jobs)


def test_a_tenth_fails_and_only_what_is_missing_is_made_also_from_a_new_directory(
    batch: Aws, batch_server: StartServer, batch_profiles: Path, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    server = batch_server(workflows_dir=workflows(many=steps(JOBS, FAILING)))
    failing = sum(i % 10 == 3 for i in range(JOBS))
    expected = "".join(f"{i}\n" for i in range(JOBS)).encode()
    before = batch.calls()
    run_id = server.submit("many", target="quick")
    run = server.end_of(run_id, timeout_s=END_S + 10 * JOBS)
    assert run["state"] == "failed"
    calls = batch.calls() - before
    took_s = (datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()
    print(f"{JOBS} jobs in {took_s:.0f} s:", dict(calls))
    hand = Hand(tmp_path / "by-hand", steps(JOBS, FAILING), batch, batch_profiles / "quick", SNAKEWAY_URL=server.url)
    assert hand.snakemake("--jobs", "12").returncode == 1
    assert by_place(server.jobs(run_id)) == by_place(server.jobs(hand.run_id))
    assert Counter(job["state"] for job in server.jobs(run_id)) == {"succeeded": JOBS - failing, "failed": failing}

    batch.client("s3").put_object(Bucket=BUCKET, Key="mended", Body=b"")
    shutil.rmtree(server.directory(run_id) / ".snakemake")
    server.rerun(run_id)
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "succeeded", run
    assert ran(server.jobs(run_id, attempt=2)) == {"step": failing, "sum": 1, "all": 1}
    again = Hand(tmp_path / "again" / "by-hand", steps(JOBS, FAILING), batch, hand.profile, SNAKEWAY_URL=server.url)
    done = again.snakemake()
    assert done.returncode == 0, done.stderr
    assert ran(server.jobs(again.run_id)) == {"step": failing, "sum": 1, "all": 1}
    assert batch.objects(f"runs/{run_id}/")["sum.txt"] == expected == batch.objects("by-hand/")["sum.txt"]
    assert left(batch, run_id) == left(batch, hand.run_id) == left(batch, again.run_id) == []
