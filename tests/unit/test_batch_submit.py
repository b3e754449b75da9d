"""Which errors of AWS are waited for, and that no job is submitted twice."""

import logging
import threading
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from snakemake_executor_plugin_snakeway_aws_batch import submit as module
from snakemake_executor_plugin_snakeway_aws_batch.definitions import Definition, Definitions
from snakemake_executor_plugin_snakeway_aws_batch.fit import Platform
from snakemake_executor_plugin_snakeway_aws_batch.order import Order
from snakemake_executor_plugin_snakeway_aws_batch.patience import (
    may_have_been_accepted,
    pause_s,
    words,
    worth_another_try,
)
from snakemake_executor_plugin_snakeway_aws_batch.submit import Stopped, Submitter


def refusal(code: str, status: int = 400, message: str = "no") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SubmitJob")


AWAY = EndpointConnectionError(endpoint_url="https://batch")
LOST = ReadTimeoutError(endpoint_url="https://batch")


@pytest.mark.parametrize(
    ("error", "worth", "unclear"),
    [
        (refusal("TooManyRequestsException", 429), True, False),
        (refusal("ThrottlingException"), True, False),
        (refusal("ServerException", 500), True, True),
        (refusal("ClientException"), False, True),
        (refusal("AccessDeniedException", 403), False, True),
        (AWAY, True, False),
        (LOST, True, True),
        (SSLError(endpoint_url="https://batch", error="self-signed"), False, True),
        (NoCredentialsError(), False, True),
    ],
)
def test_what_is_worth_another_try(error: Exception, worth: bool, unclear: bool) -> None:
    assert (worth_another_try(error) is not None) is worth
    assert may_have_been_accepted(error) is unclear


def test_pauses_grow_up_to_a_minute_and_differ() -> None:
    assert all(30 <= pause_s(20) <= 60 for _ in range(20))
    assert 0.5 <= pause_s(1) <= 1
    assert len({pause_s(5) for _ in range(20)}) > 1


def test_awss_own_words_are_told() -> None:
    assert words(refusal("ClientException", message="JobQueue x not found")) == "JobQueue x not found"


class Batch:
    """A stand-in for AWS's client: answers to SubmitJob one after another, an exception or an id."""

    def __init__(self, *answers: Any, there: list[str] | None = None) -> None:
        self.answers = list(answers)
        self.there = there or []
        self.registered: list[Any] = []
        self.gone: list[str] = []
        self.terminated: list[str] = []
        self.submissions = 0

    def submit_job(self, **_: Any) -> dict[str, str]:
        self.submissions += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"jobId": answer}

    def list_jobs(self, **_: Any) -> Any:
        return {"jobSummaryList": [{"jobId": id_} for id_ in self.there]}

    def terminate_job(self, **named: str) -> None:
        self.terminated.append(named["jobId"])

    def describe_job_definitions(self, **named: str) -> Any:
        known = [one for one in self.registered if one["jobDefinitionName"] == named["jobDefinitionName"]]
        return {"jobDefinitions": [{"jobDefinitionArn": one["jobDefinitionName"] + ":1"} for one in known]}

    def register_job_definition(self, **arguments: Any) -> Any:
        self.registered.append(arguments)
        return {"jobDefinitionArn": arguments["jobDefinitionName"] + ":1"}

    def deregister_job_definition(self, **named: str) -> None:
        self.gone.append(named["jobDefinition"])


class Talk:
    """One submitter, what it told, and its signal to stop."""

    def __init__(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.stopping = threading.Event()
        self.tries = 0
        monkeypatch.setattr(module, "pause_s", self.pause)
        self.definitions = Definitions(batch, "run", {}, logging.getLogger("test"))
        self.submitter = Submitter(
            batch, batch, self.definitions, self.stopping, lambda *told: self.told.append(told[1])
        )
        self.stop_after = 99

    def pause(self, tries: int) -> float:
        if tries >= self.stop_after:
            self.stopping.set()
        return 0.0

    def submit(self) -> str:
        made = Order(Definition("image", Platform.EC2), {"jobName": "run-a-1", "jobQueue": "main"})
        return self.submitter.submit([3], lambda: made)


def test_a_job_is_submitted_again_while_aws_is_asked_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(refusal("TooManyRequestsException", 429), AWAY, "7")
    talk = Talk(batch, monkeypatch)
    assert talk.submit() == "7"
    assert batch.submissions == 3
    assert talk.told == ["TooManyRequestsException: no"]  # once


def test_another_refusal_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match="no"):
        Talk(Batch(refusal("ClientException")), monkeypatch).submit()


def test_a_job_whose_answer_was_lost_is_found_and_not_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(LOST, there=["9"])
    assert Talk(batch, monkeypatch).submit() == "9"
    assert batch.submissions == 1


def test_a_job_that_aws_does_not_have_is_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(LOST, "9")
    assert Talk(batch, monkeypatch).submit() == "9"
    assert batch.submissions == 2


def test_nothing_is_submitted_after_a_stop_and_what_may_be_there_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(LOST, "9", there=["8"])
    talk = Talk(batch, monkeypatch)
    talk.stop_after = 1
    with pytest.raises(Stopped):
        talk.submit()
    assert (batch.submissions, batch.terminated) == (1, ["8"])


def test_a_definition_is_registered_once_and_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch("1", "2")
    talk = Talk(batch, monkeypatch)
    assert [talk.submit(), talk.submit()] == ["1", "2"]
    (made,) = batch.registered
    assert made["tags"] == {"snakeway-run": "run"}
    assert made["propagateTags"] is True
    talk.definitions.remove()
    assert batch.gone == [made["jobDefinitionName"] + ":1"]
    again = Talk(batch, monkeypatch)  # the next attempt of the run finds what is left
    batch.answers = ["3"]
    again.submit()
    assert len(batch.registered) == 1
