"""How jobs fail on AWS Batch: the right reason, and everything that they printed.

Containers are real. Where AWS says why a job ended and moto says nothing, an edited answer has AWS's words.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_aws_batch import END_S, running
from tests.support.aws import Aws
from tests.support.containers import BASE
from tests.support.server import Server
from tests.support.unreliable import edited
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("aws"), pytest.mark.timeout(1500)]

# The plugin ends jobs after 300 s: LONG_JOB_S=370 make test ARGS="-k takes_its_time"
LONG_JOB_S = int(os.environ.get("LONG_JOB_S", "10"))
WITHIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ?")  # what podman puts between two writes of much output


def rule(shell: str, **resources: Any) -> str:
    told = ", ".join(f"{name}={value!r}" for name, value in resources.items())
    with_resources = f"    resources: {told}\n" if told else ""
    return f'rule only:\n    output: "only.txt"\n{with_resources}    shell: """{shell}"""\n'


def failed_job(server: Server, run_id: str) -> Any:
    run = server.end_of(run_id, timeout_s=END_S)
    assert run["state"] == "failed", run
    (job,) = server.jobs(run_id, attempt=1)
    assert job["state"] == "failed"
    return job


def says(batch: Aws, reason: str, container: str | None = None) -> AbstractContextManager[str]:
    """Have AWS Batch give this reason for every job that fails; yields its address."""

    def edit(told: Any) -> None:
        for job in told["jobs"]:
            if job["status"] == "FAILED":
                job["statusReason"] = reason
                job["container"] |= {"reason": container} if container else {}

    return edited(batch.url, "/v1/describejobs", edit)


def test_everything_that_a_job_has_printed_is_kept_however_much_and_short(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    """The second one has an image without Python, so it ends as soon as it has begun."""
    much, short = rule("seq 1 20000; exit 3"), rule("true", aws_batch_image=BASE)
    server = batch_server(workflows_dir=workflows(much=much, short=short))
    first, second = server.submit("much", target="quick"), server.submit("short", target="quick")
    job = failed_job(server, first)
    assert (job["failure"]["kind"], job["exit_code"]) == ("exit_code", 3)
    printed = WITHIN.sub("", server.text(f"/runs/{first}/jobs/{job['job']}/log")).splitlines()
    assert [line for line in printed if line.isdecimal()] == [str(number) for number in range(1, 20_001)]
    job = failed_job(server, second)
    assert job["exit_code"] == 127
    assert "command not found" in server.text(f"/runs/{second}/jobs/{job['job']}/log")
    assert "command not found" in job["log_tail"]


@pytest.mark.parametrize("how", ["terminated", "killed"])
def test_a_job_that_is_ended_from_outside(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path], how: str
) -> None:
    server = batch_server(workflows_dir=workflows(only=rule("echo it begins; sleep 600")))
    run_id = server.submit("only", target="quick")
    wait_until(running(batch, run_id, 1), timeout_s=END_S, what="a container")
    (name,) = batch.containers.containers(run_id)
    wait_until(lambda: "it begins" in batch.containers.run("logs", name) or None, timeout_s=60, what="its first words")
    if how == "terminated":
        (there,) = batch.jobs(run_id)
        batch.client("batch").terminate_job(jobId=there["jobId"], reason="Terminated by the operator")
    else:
        batch.containers.run("kill", name)
    job = failed_job(server, run_id)
    assert job["failure"]["kind"] == {"terminated": "cancelled", "killed": "signal"}[how]
    assert "it begins" in server.text(f"/runs/{run_id}/jobs/{job['job']}/log")


@pytest.mark.parametrize(
    ("reason", "container", "kind"),
    [
        ("Host EC2 (instance i-0123456789abcdef0) terminated.", None, "node_lost"),
        ("Task failed to start", "CannotPullContainerError: pull access denied for lab/tools", "image_pull"),
    ],
)
def test_what_aws_says_is_what_the_failure_is(
    batch: Aws,
    batch_server: StartServer,
    workflows: Callable[..., Path],
    reason: str,
    container: str | None,
    kind: str,
) -> None:
    gone = rule("true", aws_batch_image="localhost/not-here:1")
    with says(batch, reason, container) as url:
        server = batch_server(workflows_dir=workflows(gone=gone), settings={"AWS_ENDPOINT_URL_BATCH": url})
        run_id = server.submit("gone", target="quick")
        job = failed_job(server, run_id)
    assert job["failure"]["kind"] == kind
    assert reason in job["failure"]["scheduler"]
    answer = server.request("GET", f"/runs/{run_id}/jobs/{job['job']}/log")
    assert answer.status_code == 404, answer.text  # it has printed nothing


def test_what_ran_out_of_memory_succeeds_with_what_is_suggested(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    """No limit of memory holds here, so the job itself ends as it would on AWS."""
    hungry = rule("test {resources.mem_mb} -ge 1000 || kill -9 $$; touch {output}", mem_mb=600)
    with says(batch, "Essential container in task exited", "OutOfMemoryError: Container killed") as url:
        server = batch_server(workflows_dir=workflows(hungry=hungry), settings={"AWS_ENDPOINT_URL_BATCH": url})
        run_id = server.submit("hungry", target="quick")
        job = failed_job(server, run_id)
        assert job["failure"]["kind"] == "out_of_memory"
        assert job["failure"]["suggestion"] == {"set_resources": {"only": {"mem_mb": 1200}}}
        with batch.recorded() as recording:
            server.rerun(run_id, apply_suggestions=True)
            assert server.end_of(run_id, timeout_s=END_S)["state"] == "succeeded"
            (asked,) = recording.requests("submitjob")
    needs = {need["type"]: need["value"] for need in asked["containerOverrides"]["resourceRequirements"]}
    assert needs == {"VCPU": "1", "MEMORY": "1200"}


def test_a_job_takes_its_time(batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]) -> None:
    server = batch_server(workflows_dir=workflows(long=rule(f"sleep {LONG_JOB_S}; touch {{output}}", runtime=30)))
    run_id = server.submit("long", target="quick")
    assert server.end_of(run_id, timeout_s=END_S + LONG_JOB_S)["state"] == "succeeded"
    (job,) = server.jobs(run_id)
    assert job["scheduled"]["state"] == "SUCCEEDED"


def test_what_a_job_prints_is_read_while_it_runs(
    batch: Aws, batch_server: StartServer, workflows: Callable[..., Path]
) -> None:
    """Moto has a container's words after its end only. Here the test is the agent that sends them before."""
    group, logs = "/lab", batch.client("logs")
    logs.create_log_group(logGroupName=group)

    def edit(told: Any) -> None:
        for job in told["jobs"]:
            options = {"logDriver": "awslogs", "options": {"awslogs-group": group}}
            job["container"] |= {"logStreamName": job["jobId"], "logConfiguration": options}
            job.pop("attempts", None)

    def say(job: Any, words: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": words}
        logs.put_log_events(logGroupName=group, logStreamName=job["external_id"], logEvents=[event])

    waiting = rule("until test -e /tmp/go; do sleep 0.2; done; touch {output}")
    with edited(batch.url, "/v1/describejobs", edit) as url:
        server = batch_server(workflows_dir=workflows(waiting=waiting), settings={"AWS_ENDPOINT_URL_BATCH": url})
        run_id = server.submit("waiting", target="quick")
        wait_until(running(batch, run_id, 1), timeout_s=END_S, what="a container")
        (job,) = server.jobs(run_id)
        place = f"/runs/{run_id}/jobs/{job['job']}/log"
        assert server.request("GET", place).status_code == 404
        logs.create_log_stream(logGroupName=group, logStreamName=job["external_id"])
        say(job, "one")
        wait_until(lambda: server.request("GET", place).text == "one\n" or None, timeout_s=30, what="its first words")
        say(job, "two")
        more = wait_until(
            lambda: server.request("GET", place, headers={"Range": "bytes=4-"}).text == "two\n" or None,
            timeout_s=30,
            what="what it said then",
        )
        assert more
        (name,) = batch.containers.containers(run_id)
        batch.containers.run("exec", name, "touch", "/tmp/go")
        assert server.end_of(run_id, timeout_s=END_S)["state"] == "succeeded"
        assert server.text(place) == "one\ntwo\n"
        assert (server.directory(run_id) / job["scheduler_log"]).read_text() == "one\ntwo\n"
