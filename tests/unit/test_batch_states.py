"""What is read from DescribeJobs, and when a job that it does not name has failed."""

from typing import Any

import pytest

from snakemake_executor_plugin_snakeway_aws_batch.states import Seen, Unknown, read

STREAM = "d/default/1"
KEPT = {"group": "/aws/batch/job", "streams": (STREAM,)}


@pytest.mark.parametrize(
    ("detail", "seen"),
    [
        ({"status": "SUBMITTED"}, Seen()),
        ({"status": "RUNNABLE", "statusReason": "waiting"}, Seen()),
        (
            {"status": "RUNNABLE", "statusReason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large"},
            Seen(stuck="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large"),
        ),
        ({"status": "STARTING", "startedAt": 0}, Seen()),
        (
            {"status": "RUNNING", "startedAt": 5500, "container": {"logStreamName": "d/default/1"}},
            Seen(started=5.5, **KEPT),
        ),
        ({"status": "SUCCEEDED", "startedAt": 5500, "stoppedAt": 7500}, Seen(over=True, started=5.5, stopped=7.5)),
        (
            {"status": "RUNNABLE", "startedAt": 5500, "attempts": [{"container": {"logStreamName": "d/default/1"}}]},
            Seen(**KEPT),  # its first machine was taken away
        ),
    ],
)
def test_a_job_is_read(detail: dict[str, Any], seen: Seen) -> None:
    assert read(detail) == seen


def test_a_failure_says_all_that_is_known() -> None:
    detail = {
        "jobId": "7",
        "status": "FAILED",
        "statusReason": "Essential container in task exited",
        "container": {"reason": "OutOfMemoryError: Container killed due to memory usage", "exitCode": 137},
        "attempts": [{}, {}],
    }
    said = read(detail).error or ""
    assert said.startswith("AWS Batch job 7 failed: Essential container in task exited; its container: OutOfMemory")
    assert said.endswith("memory usage; exit code 137; after 2 attempts.")


def test_a_failure_without_a_container_is_one_too() -> None:
    assert read({"jobId": "7", "status": "FAILED"}).error == "AWS Batch job 7 failed: AWS Batch gives no reason."


def test_the_last_attempt_tells_what_the_container_does_not() -> None:
    last = {"container": {"exitCode": 2, "reason": "CannotPullContainerError", "logStreamName": "d/default/1"}}
    said = read({"jobId": "7", "status": "FAILED", "attempts": [last]}).error or ""
    assert "its container: CannotPullContainerError; exit code 2" in said
    assert said.endswith(f"log: /aws/batch/job:{STREAM} in CloudWatch.")


def test_a_log_group_of_ones_own_is_named() -> None:
    options = {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "lab"}}}
    seen = read({"status": "RUNNING", "container": {"logStreamName": "s", **options}})
    assert (seen.group, seen.streams) == ("lab", ("s",))


def test_each_start_of_a_job_has_a_stream() -> None:
    attempts = [{"container": {"logStreamName": "s/1"}}, {"container": {}}, {"container": {"logStreamName": "s/2"}}]
    detail = {"status": "FAILED", "attempts": attempts, "container": {"logStreamName": "s/2"}}
    assert read(detail).streams == ("s/1", "s/2")


def test_an_unknown_job_is_lost_after_the_grace_and_not_if_it_came_back() -> None:
    unknown = Unknown(grace_s=10)
    assert unknown.look(["a", "b"], ["b"], at=0) == set()
    assert unknown.look(["a", "b"], ["a"], at=9) == set()
    assert unknown.look(["a", "b"], [], at=15) == set()
    assert unknown.look(["a", "b"], [], at=19) == {"b"}
