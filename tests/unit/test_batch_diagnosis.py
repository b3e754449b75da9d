"""Jobs as AWS Batch describes them, and the reasons of their failures. Words are those of AWS's documentation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.cloudwatch import place_of
from snakeway.model.failure import Bounds, Facts, Failure, FailureKind
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.targets import diagnosis_for
from snakeway.targets.aws_batch.details import detail, summary

K = FailureKind
BOUNDS = Bounds(mem_mb=64_000, runtime_min=10_000)
ESSENTIAL = "Essential container in task exited"
NODE_LOG = """\
Building DAG of jobs...
Shell command: fit data > model
the job's own words
RuleException:
CalledProcessError in file "Snakefile", line 5:
Command 'set -euo pipefail;  fit data > model' returned non-zero exit status 3.
"""


def described(**more: Any) -> dict[str, Any]:
    """A job of DescribeJobs, as its reference page shows it."""
    container = {
        "exitCode": 0,
        "containerInstanceArn": "arn:aws:ecs:us-east-1:012345678910:container-instance/default/a1b2c3",
        "logStreamName": "snakeway/default/0123",
        "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}],
        **more.pop("container", {}),
    }
    job = {"jobId": "j-1", "status": "SUCCEEDED", "statusReason": ESSENTIAL, "container": container, "attempts": []}
    return {
        **job,
        "createdAt": 1_700_000_000_000,
        "startedAt": 1_700_000_030_500,
        "stoppedAt": 1_700_000_040_000,
    } | more


def test_a_job_that_has_ended_is_known_to_the_end() -> None:
    assert detail(described()) == Scheduled(
        "SUCCEEDED",
        Phase.ENDED,
        reason=ESSENTIAL,
        host="a1b2c3",
        queued_at=1_700_000_000.0,
        started_at=1_700_000_030.5,
        ended_at=1_700_000_040.0,
        succeeded=True,
        exit_code=0,
        cpus=2,
        mem_mb=4096.0,
        final=True,
    )
    assert place_of(described()) == ("/aws/batch/job", ["snakeway/default/0123"])


def test_the_last_attempt_tells_what_the_job_does_not() -> None:
    last = {"container": {"exitCode": 137, "reason": "OutOfMemoryError", "logStreamName": "s/2", "taskArn": "a/b/t9"}}
    job = described(status="FAILED", attempts=[{}, last])
    job["container"] = {}
    known = detail(job)
    assert (known.exit_code, known.host, known.succeeded) == (137, "t9", False)
    assert known.reason == f"{ESSENTIAL}; OutOfMemoryError"
    assert place_of(job) == ("/aws/batch/job", ["s/2"])


@pytest.mark.parametrize(
    ("status", "phase", "succeeded"),
    [
        *((status, Phase.QUEUED, None) for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "new")),
        ("RUNNING", Phase.RUNNING, None),
        ("SUCCEEDED", Phase.ENDED, True),
        ("FAILED", Phase.ENDED, False),
    ],
)
def test_every_status_comes_to_a_phase(status: str, phase: Phase, succeeded: bool | None) -> None:
    job = summary({"jobId": "1", "status": status, "createdAt": 1, "startedAt": 2, "stoppedAt": 3})
    assert (job.state, job.phase, job.succeeded, job.final) == (status, phase, succeeded, False)
    assert (job.started_at is None) == (phase is Phase.QUEUED)
    assert (job.ended_at is None) == (phase is not Phase.ENDED)


def judged(reason: str = "", *, exit_code: int | None = None, message: str = "", log: str = "") -> Failure:
    seen = Scheduled("FAILED", reason=reason, succeeded=False, exit_code=exit_code, host="i-1") if reason else None
    resources = {"mem_mb": 1000, "runtime": 10}
    facts = Facts(
        "fit", message=message, stderr_tail=log, shell="fit data > model", resources=resources, scheduler=seen
    )
    return diagnosis_for("snakeway-aws-batch").diagnose(facts, BOUNDS)


@pytest.mark.parametrize(
    ("reason", "exit_code", "kind", "suggestion"),
    [
        (
            f"{ESSENTIAL}; OutOfMemoryError: Container killed due to memory usage",
            137,
            K.OUT_OF_MEMORY,
            {"set_resources": {"fit": {"mem_mb": 2000}}},
        ),
        ("Job attempt duration exceeded timeout", 137, K.TIME_LIMIT, {"set_resources": {"fit": {"runtime": 20}}}),
        ("Host EC2 (instance i-0123456789abcdef0) terminated.", None, K.NODE_LOST, {}),
        ("Task failed to start; CannotPullContainerError: Error response from daemon", None, K.IMAGE_PULL, None),
        ("cancelled by somebody", None, K.CANCELLED, {}),
        (ESSENTIAL, 3, K.EXIT_CODE, None),
        (ESSENTIAL, 137, K.SIGNAL, None),
        ("ResourceInitializationError: unable to pull secrets", None, K.UNKNOWN, None),
    ],
)
def test_what_aws_says_decides(reason: str, exit_code: int | None, kind: K, suggestion: Any) -> None:
    failure = judged(reason, exit_code=exit_code)
    assert (failure.kind, failure.suggestion, failure.scheduler, failure.host) == (kind, suggestion, reason, "i-1")
    assert len(failure.summary) > 10
    told = judged(message=f"AWS Batch job j-1 failed: {reason}; exit code {exit_code}; log: cloudwatch:g:s. ")
    assert told.kind is kind or exit_code is None
    assert reason.partition(";")[0] in (told.scheduler or "")


def test_the_job_s_own_end_counts_more_than_its_snakemake_s() -> None:
    failure = judged(ESSENTIAL, exit_code=1, log=NODE_LOG)
    assert (failure.kind, failure.exit_code) == (K.EXIT_CODE, 3)
    assert failure.summary == "Exit code 3: the job's own words"


def test_a_job_that_is_not_taken_is_refused() -> None:
    failure = judged(message="AWS Batch does not take the job: ClientException: no such queue. ")
    assert (failure.kind, failure.scheduler) == (K.REFUSED, "ClientException: no such queue")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("status", "statusReason", "createdAt", "startedAt"), JSON)))
def test_no_answer_is_too_strange(job: dict[str, Any]) -> None:
    assert detail(job).state == summary(job).state


@given(st.text(), st.text(), st.integers(-300, 300) | st.none())
def test_no_words_are_too_strange(reason: str, log: str, exit_code: int | None) -> None:
    judged(reason, exit_code=exit_code, log=log, message=reason)
