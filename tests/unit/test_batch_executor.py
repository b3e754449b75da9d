"""How the executor asks AWS Batch for the states of jobs, and what it makes of the answers."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_snakeway_aws_batch.executor import Executor
from snakemake_executor_plugin_snakeway_aws_batch.queues import Queues
from snakemake_executor_plugin_snakeway_aws_batch.states import Seen, Unknown


class Batch:
    """A stand-in for AWS's client that knows some jobs."""

    def __init__(self, **known: dict[str, Any]) -> None:
        self.known = known
        self.asked: list[int] = []
        self.away = False

    def describe_jobs(self, jobs: list[str]) -> Any:
        self.asked.append(len(jobs))
        if self.away:
            raise EndpointConnectionError(endpoint_url="https://batch")
        return {"jobs": [{"jobId": id_, **self.known[id_]} for id_ in jobs if id_ in self.known]}


class NoLogs:
    """Has nothing to wait for."""

    def fetch(self, _path: object, _seen: Seen, then: Callable[[], None] = lambda: None) -> None:
        then()


class Watched(Executor):  # type: ignore[misc]
    """The executor without a workflow: it notes what it reports."""

    def __init__(self, batch: Batch) -> None:
        self._client = batch
        self._stopping, self._reporting = threading.Event(), threading.Lock()
        self._submitted, self._unknown, self._last_fault = {}, Unknown(grace_s=0.0), ""
        self._logs = NoLogs()
        self.status_rate_limiter = AsyncExitStack()
        self.logger = logging.getLogger("test_batch_executor")
        self.over: dict[str, str | None] = {}

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        self.over[str(job_info.external_jobid)] = None

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **_: Any) -> None:
        self.over[str(job_info.external_jobid)] = msg

    def look(self, *ids: str) -> list[str]:
        infos = [SubmittedJobInfo(_job(), external_jobid=id_, aux={"log": None, "started": False}) for id_ in ids]

        async def waiting() -> list[str]:
            return [str(info.external_jobid) async for info in self.check_active_jobs(infos)]

        return asyncio.run(waiting())


def _job() -> Any:
    return SimpleNamespace(jobid=3, is_group=lambda: False)


def test_a_hundred_jobs_are_asked_for_at_once() -> None:
    ids = [str(number) for number in range(250)]
    batch = Batch(**{id_: {"status": "RUNNING"} for id_ in ids})
    assert Watched(batch).look(*ids) == ids
    assert batch.asked == [100, 100, 50]


def test_ends_are_reported_and_a_job_that_is_not_known_has_failed() -> None:
    watched = Watched(Batch(a={"status": "SUCCEEDED"}, b={"status": "FAILED", "statusReason": "gone"}))
    assert watched.look("a", "b", "c") == []
    assert watched.over["a"] is None
    assert "AWS Batch job b failed: gone." in str(watched.over["b"])
    assert "does not know job c" in str(watched.over["c"])


def test_nothing_is_over_while_aws_does_not_answer_which_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    batch = Batch()
    batch.away = True
    watched = Watched(batch)
    assert watched.look("a") == watched.look("a") == ["a"]
    assert watched.over == {}
    assert len(caplog.records) == 1


def test_a_start_is_told_and_a_job_that_cannot_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stuck = {"status": "RUNNABLE", "statusReason": "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - too small"}
    runs = {"status": "RUNNING", "startedAt": 5500, "container": {"logStreamName": "s"}}
    Watched(Batch(a=runs, b=stuck)).look("a", "b")
    told = [record.__dict__ for record in caplog.records]
    assert {"jobs": [3], "t": 5.5} in [one.get("snakeway_started") for one in told]
    assert {"jobs": [3], "reason": stuck["statusReason"]} in [one.get("snakeway_held") for one in told]


class Places:
    """A stand-in for AWS's client that knows queues."""

    def __init__(self, **kinds: str) -> None:
        self.kinds = kinds
        self.asked = 0

    def describe_job_queues(self, **named: list[str]) -> Any:
        self.asked += 1
        (queue,) = named["jobQueues"]
        place = [{"computeEnvironment": queue}]
        return {"jobQueues": [{"computeEnvironmentOrder": place}] if queue in self.kinds else []}

    def describe_compute_environments(self, **named: list[str]) -> Any:
        (queue,) = named["computeEnvironments"]
        return {"computeEnvironments": [{"computeResources": {"type": self.kinds[queue]}}]}


def test_the_platform_of_a_queue_is_asked_for_once() -> None:
    places = Places(a="FARGATE_SPOT", b="SPOT", c="EC2")
    queues = Queues(places, "auto")
    assert [queues.platform(name) for name in ("a", "b", "c", "a")] == ["FARGATE", "EC2", "EC2", "FARGATE"]
    assert places.asked == 3
    with pytest.raises(WorkflowError, match="no job queue d"):
        queues.platform("d")
    assert Queues(None, "FARGATE").platform("d") == "FARGATE"
