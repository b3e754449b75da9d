"""Runs on AWS Batch, in real containers: what they make, what is seen of them, failures, cancelling."""

import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from snakeway.wire import EventType, read_events
from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.support.aws import BUCKET, Aws
from tests.support.server import Server
from tests.support.unreliable import unreliable
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("aws"), pytest.mark.timeout(1500)]
END_S = 600  # a job takes seconds of processor time for its container and two starts of snakemake

STEPS = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{{i}}.txt"
    shell: "{before}echo {{wildcards.i}} > {{output}}"

rule sum:
    input: expand("steps/{{i}}.txt", i=range({jobs}))
    output: "sum.txt"
    shell: "cat {{input}} | sort -n > {{output}}"
"""
# Fails until there is an object `good`, but for the first step.
UNTIL_GOOD = (
    'test {wildcards.i} = 0 || python -c \'import boto3; boto3.client(\\"s3\\")'
    f'.head_object(Bucket=\\"{BUCKET}\\", Key=\\"good\\")'
    "'; "
)


def steps(jobs: int, before: str = "") -> str:
    return STEPS.format(jobs=jobs, before=before)


class Hand(ByHand):
    """Somebody who runs snakemake with the profile of AWS Batch, below a prefix of their own."""

    timeout_s = END_S

    def __init__(self, folder: Path, workflow: str | Path, aws: Aws, profile: Path, **env: str) -> None:
        super().__init__(folder, workflow, **aws.env | {"SNAKEMAKE_S3_PREFIX": f"s3://{BUCKET}/{folder.name}"} | env)
        self.profile = profile

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", str(self.profile)]


def by_place(jobs: list[Any]) -> list[Any]:
    return sorted((job["rule"], sorted(job["wildcards"].items()), job["state"]) for job in jobs)


def left(aws: Aws, run: str) -> list[str]:
    """What a run has left behind in AWS."""
    return aws.containers.containers(run) + [name for name in aws.definitions() if run in name]


def test_by_hand_and_by_the_service_the_same_is_made_and_recorded(
    batch: Aws, batch_server: StartServer, batch_profiles: Path, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    server = batch_server(workflows_dir=workflows(steps=steps(3)))
    before = batch.calls()
    run_id = server.submit("steps", target="quick")
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "succeeded", run
    calls = batch.calls() - before
    assert (calls["submitjob"], calls["registerjobdefinition"], calls["terminatejob"]) == (4, 1, 0)
    took_s = (datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()
    assert 0 < calls["describejobs"] <= took_s + 2  # one a second, for all jobs
    assert left(batch, run_id) == []
    hand = Hand(tmp_path / "hand", steps(3), batch, batch_profiles / "quick", SNAKEWAY_URL=server.url)
    done = hand.snakemake()
    assert done.returncode == 0, done.stderr
    assert batch.objects(f"runs/{run_id}/")["sum.txt"] == b"0\n1\n2\n" == batch.objects("hand/")["sum.txt"]
    assert by_place(server.jobs(run_id)) == by_place(server.jobs(hand.run_id))
    known = {job["jobId"]: job for job in batch.jobs(run_id)}
    remote = [job for job in server.jobs(run_id) if job["rule"] != "all"]
    assert {job["external_id"] for job in remote} == known.keys()
    for job in remote:
        there = known[job["external_id"]]
        assert there["jobName"].startswith(f"{run_id}-{job['rule']}-")
        assert there["tags"]["snakeway-run"] == run_id
        assert job["scheduler_log"] == f".snakemake/aws_batch_logs/rule_{job['rule']}/{job['external_id']}.log"
        printed = server.text(f"/runs/{run_id}/jobs/{job['job']}/log")
        assert printed == batch.printed(there["container"]["logStreamName"])
        assert f"rule {job['rule']}:" in printed
        assert job["submitted_at"] <= job["started_at"] <= job["ended_at"]


def test_a_rerun_executes_only_what_is_missing_in_the_image_that_was_asked_for(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = batch_server(workflows_dir=workflows(half=steps(2, UNTIL_GOOD)))
    another = f"{batch.image.rpartition(':')[0]}:another"
    batch.containers.run("tag", batch.image, another)
    with batch.recorded() as recording:
        run_id = server.submit("half", target="quick", image="another")
        run = server.end_of(run_id, timeout_s=END_S)
        (definition,) = recording.requests("registerjobdefinition")
    assert definition["containerProperties"]["image"] == another
    assert run["state"] == "failed"
    (failed,) = [job for job in server.jobs(run_id) if job["state"] == "failed"]
    assert failed["wildcards"] == {"i": "1"}
    assert f"AWS Batch job {failed['external_id']} failed" in failed["message"]
    assert batch.objects(f"runs/{run_id}/").keys() >= {"steps/0.txt"}
    batch.client("s3").put_object(Bucket=BUCKET, Key="good", Body=b"")
    server.rerun(run_id)
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "succeeded", run
    again = [(job["rule"], job["wildcards"]) for job in server.jobs(run_id, attempt=2)]
    assert sorted(rule for rule, _ in again) == ["all", "step", "sum"]
    assert ("step", {"i": "1"}) in again
    assert [attempt["image"] for attempt in server.get(f"/runs/{run_id}/attempts")["items"]] == [another, another]
    assert left(batch, run_id) == []


def running(aws: Aws, run: str, count: int) -> Callable[[], Any]:
    return lambda: len(aws.containers.containers(run)) == count or None


def test_cancelling_leaves_nothing_in_aws(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server: Server = batch_server(workflows_dir=workflows(steps=steps(3, "sleep 600; ")))
    run_id = server.submit("steps", target="quick")
    wait_until(running(batch, run_id, 3), timeout_s=END_S, what="three containers")
    server.request("POST", f"/runs/{run_id}/cancel")
    assert server.end_of(run_id, timeout_s=END_S)["state"] == "cancelled"
    submitted = len(batch.jobs(run_id))
    wait_until(lambda: left(batch, run_id) == [] or None, timeout_s=60, what="nothing to be left")
    assert {job["state"] for job in server.jobs(run_id)} <= {"cancelled"}
    assert len(batch.jobs(run_id)) == submitted == 3


def test_an_interrupt_by_hand_leaves_nothing_in_aws(batch: Aws, batch_profiles: Path, tmp_path: Path) -> None:
    hand = Hand(tmp_path / "stopped", steps(2, "sleep 600; "), batch, batch_profiles / "quick")
    with hand.started() as process:
        wait_until(lambda: list(hand.folder.glob(".snakeway/run.json")) or None, timeout_s=END_S, what="the run")
        wait_until(running(batch, hand.run_id, 2), timeout_s=END_S, what="two containers")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
    wait_until(lambda: left(batch, hand.run_id) == [] or None, timeout_s=60, what="nothing to be left")


def test_what_a_killed_snakemake_leaves_is_found_by_the_runs_id_and_used_by_the_next(
    batch: Aws, batch_profiles: Path, tmp_path: Path
) -> None:
    hand = Hand(tmp_path / "killed", steps(1, "sleep 600; "), batch, batch_profiles / "quick")
    with hand.started() as process:
        wait_until(lambda: list(hand.folder.glob(".snakeway/run.json")) or None, timeout_s=END_S, what="the run")
        wait_until(running(batch, hand.run_id, 1), timeout_s=END_S, what="a container")
        process.kill()
    (job,) = batch.jobs(hand.run_id)
    assert job["status"] == "RUNNING"
    batch.client("batch").terminate_job(jobId=job["jobId"], reason="nobody waits for it")
    wait_until(lambda: batch.containers.containers(hand.run_id) == [] or None, timeout_s=60, what="its end")
    (hand.folder / "Snakefile").write_text(steps(1))
    before = batch.calls()
    assert hand.snakemake("--unlock").returncode == 0
    done = hand.snakemake()
    assert done.returncode == 0, done.stderr
    assert (batch.calls() - before)["registerjobdefinition"] == 0
    assert batch.objects("killed/")["sum.txt"] == b"0\n"
    assert left(batch, hand.run_id) == []


def test_a_group_is_one_job_of_which_all_parts_are_recorded(batch: Aws, batch_profiles: Path, tmp_path: Path) -> None:
    text = """
rule second:
    input: "first.txt"
    output: "second.txt"
    group: "both"
    shell: "cat {input} > {output}"

rule first:
    output: "first.txt"
    group: "both"
    shell: "echo 1 > {output}"
"""
    hand = Hand(tmp_path / "group", text, batch, batch_profiles / "quick")
    done = hand.snakemake()
    assert done.returncode == 0, done.stderr
    assert batch.objects("group/")["second.txt"] == b"1\n"
    (job,) = batch.jobs(hand.run_id)
    events, _ = read_events(hand.events, 0, 2**20)
    for type_ in (EventType.JOB_SUBMITTED, EventType.JOB_STARTED):
        assert [event["job"] for event in events if event["type"] == type_] == [0, 1]
    ids = {event["external_id"] for event in events if event["type"] == EventType.JOB_SUBMITTED}
    assert ids == {job["jobId"]}


def test_a_lost_answer_and_a_refusal_for_now_end_in_one_job_each(
    batch: Aws, batch_profiles: Path, tmp_path: Path
) -> None:
    with unreliable(batch.url, "/v1/submitjob", ["lose", "refuse", "refuse"]) as (url, asked):
        hand = Hand(tmp_path / "lost-answer", steps(2), batch, batch_profiles / "quick", AWS_ENDPOINT_URL_BATCH=url)
        done = hand.snakemake()
    assert done.returncode == 0, done.stderr
    assert batch.objects("lost-answer/")["sum.txt"] == b"0\n1\n"
    assert len(batch.jobs(hand.run_id)) == 3
    assert asked == ["lose", "refuse", "refuse", "pass", "pass"]  # the lost one was found, and not asked for again
    events, _ = read_events(hand.events, 0, 2**20)
    held = [event["reason"] for event in events if event["type"] == EventType.JOB_HELD]
    assert sorted(reason.partition(":")[0] for reason in held) == ["ConnectionClosedError", "TooManyRequestsException"]


def test_what_is_asked_for_and_an_image_that_is_not_there(batch: Aws, batch_profiles: Path, tmp_path: Path) -> None:
    text = """
rule hungry:
    output: "hungry.txt"
    threads: 3
    retries: 1
    resources: mem_mb=lambda wildcards, attempt: 6000 * attempt, runtime=2, aws_batch_image="localhost/not-here:1"
    shell: "touch {output}"
"""
    hand = Hand(tmp_path / "hungry", text, batch, batch_profiles / "quick")
    with batch.recorded() as recording:
        done = hand.snakemake("--cores", "3")
        submitted = recording.requests("submitjob")
        (registered,) = recording.requests("registerjobdefinition")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("failed: AWS Batch gives no reason") >= 2  # moto's; AWS tells of the image
    asked = [
        {need["type"]: need["value"] for need in one["containerOverrides"]["resourceRequirements"]} for one in submitted
    ]
    assert asked == [{"VCPU": "3", "MEMORY": "6000"}, {"VCPU": "3", "MEMORY": "12000"}]
    assert {one["timeout"]["attemptDurationSeconds"] for one in submitted} == {120}
    assert registered["containerProperties"]["image"] == "localhost/not-here:1"
    plain = {one["name"] for one in registered["containerProperties"]["environment"]}
    assert "AWS_ENDPOINT_URL" in plain
    assert not plain & {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert left(batch, hand.run_id) == []


def test_what_cannot_be_had_is_an_error_before_anything_is_submitted(
    batch: Aws, batch_profiles: Path, tmp_path: Path
) -> None:
    text = 'rule big:\n    output: "big.txt"\n    resources: mem_mb=200000\n    shell: "touch {output}"\n'
    fargate = {"SNAKEMAKE_SNAKEWAY_AWS_BATCH_EXECUTION_ROLE": batch.role}
    hand = Hand(tmp_path / "big", text, batch, batch_profiles / "quick", **fargate)
    before = batch.calls()
    done = hand.snakemake("--snakeway-aws-batch-platform", "FARGATE")
    assert done.returncode == 1
    assert "rule big asks for 1 cores, 200000 MiB, which cannot be had: Fargate gives at most" in done.stderr
    assert (batch.calls() - before)["submitjob"] == 0


def test_a_queue_that_is_not_there_fails_the_job_in_awss_words(
    batch: Aws, batch_profiles: Path, tmp_path: Path
) -> None:
    text = 'rule lost:\n    output: "a.txt"\n    resources: aws_batch_queue="nowhere"\n    shell: "touch {output}"\n'
    hand = Hand(tmp_path / "lost", text, batch, batch_profiles / "quick")
    done = hand.snakemake()
    assert done.returncode == 1
    assert "AWS Batch does not take the job: AWS Batch has no job queue nowhere." in done.stderr


def test_a_key_in_the_environment_does_not_reach_jobs_by_accident(
    batch: Aws, batch_profiles: Path, tmp_path: Path
) -> None:
    hand = Hand(tmp_path / "key", steps(1), batch, batch_profiles / "aws-batch")
    done = hand.snakemake("--envvars", "AWS_SECRET_ACCESS_KEY")
    assert done.returncode == 1
    assert "AWS_SECRET_ACCESS_KEY would be passed on to jobs" in done.stderr
