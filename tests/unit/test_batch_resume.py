"""Which jobs of a killed snakemake are taken up."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from snakemake_executor_plugin_snakeway_aws_batch.resume import Resume
from snakeway.wire import ENV_RESUME

RUN = "01990000-0000-7000-8000-000000000000"


class Batch:
    """A stand-in for AWS's client that knows one job."""

    def __init__(self, **job: Any) -> None:
        self.job = {"jobName": f"{RUN}-step-1", "status": "RUNNING", "createdAt": 2_000_000, **job}
        self.away = False

    def describe_jobs(self, jobs: list[str]) -> Any:
        if self.away:
            raise EndpointConnectionError(endpoint_url="https://batch")
        return {"jobs": [{"jobId": id_, **self.job} for id_ in jobs if id_ == "known"]}


class Workflow:
    """A stand-in for a workflow with two jobs, one of which depends on the other."""

    def __init__(self, *ids: str, anew: bool = False) -> None:
        self.first, self.second = _job(), _job()
        self.dag = SimpleNamespace(
            dependencies={self.first: {}, self.second: {self.first: set[str]()}}, needrun=lambda _job: anew
        )
        self.persistence = SimpleNamespace(external_jobids=lambda _job: list(ids))


class _Job:
    group = False

    def is_group(self) -> bool:
        return self.group


def _job() -> _Job:
    return _Job()


@pytest.fixture
def recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_RESUME, "1999.500")


def test_only_a_recovery_takes_jobs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV_RESUME, raising=False)
    workflow = Workflow("known")
    assert Resume(Batch(), RUN, workflow).find(workflow.second) is None


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (Workflow("known"), "known"),
        (Workflow(), None),
        (Workflow("a", "b"), None),
        (Workflow("known", anew=True), None),  # what it reads will be another
    ],
)
def test_the_job_that_snakemake_remembers(workflow: Workflow, expected: str | None) -> None:
    assert Resume(Batch(), RUN, workflow).find(workflow.second) == expected


@pytest.mark.usefixtures("recovery")
def test_a_group_is_not_taken_up() -> None:
    workflow = Workflow("known")
    workflow.second.group = True
    assert Resume(Batch(), RUN, workflow).find(workflow.second) is None


@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize(
    ("job", "usable"),
    [
        ({}, True),
        ({"status": "RUNNABLE"}, True),
        ({"status": "SUCCEEDED"}, True),
        ({"status": "FAILED"}, False),
        ({"jobName": "another-step-1"}, False),
        ({"createdAt": 1_999_000}, False),  # of an attempt that may have done something else
        ({"createdAt": 1_999_500}, True),
    ],
)
def test_it_has_to_be_of_this_run_and_not_to_have_failed(job: dict[str, Any], *, usable: bool) -> None:
    assert Resume(Batch(**job), RUN, Workflow()).usable("known") is usable


@pytest.mark.usefixtures("recovery")
def test_what_aws_does_not_know_or_tell_is_done_again() -> None:
    batch = Batch()
    resume = Resume(batch, RUN, Workflow())
    assert not resume.usable("unknown")
    batch.away = True
    assert not resume.usable("known")
