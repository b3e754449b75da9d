"""Webhooks of a real server: told of every change, once, in order, whatever is killed in between."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.support.receiver import HANG, Receiver, receiving
from tests.support.server import Server
from tests.support.waiting import wait_until

SECRET, COMMON = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
QUICK = 'rule all:\n    output: "done.txt"\n    shell: "touch {output}"\n'
BROKEN = 'rule all:\n    output: "done.txt"\n    shell: "exit 3"\n'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def settings(receiver: Receiver, **webhook: Any) -> dict[str, str]:
    return {
        "SNAKEWAY_WEBHOOKS": json.dumps([{"url": receiver.url, "secret": SECRET, **webhook}]),
        "SNAKEWAY_WEBHOOK_SECRET": COMMON,
        "SNAKEWAY_WEBHOOK_TIMEOUT_S": "0.5",
        "SNAKEWAY_WEBHOOK_RETRY_S": "0.05",
    }


def delivered(server: Server, run_id: str, count: int) -> list[Any]:
    """Wait until all of ``count`` deliveries are done; returns them."""

    def done() -> list[Any]:
        items: list[Any] = server.get(f"/runs/{run_id}/deliveries")["items"]
        assert [item["state"] for item in items] == ["delivered"] * count, items
        return items

    return wait_until(done, timeout_s=60, what=f"{count} deliveries")


def test_a_run_is_told_from_its_beginning_to_its_end(
    start_server: StartServer, workflows: Callable[..., Path], receiver: Receiver
) -> None:
    server = start_server(workflows_dir=workflows(quick=QUICK), settings=settings(receiver))
    run_id = server.submit("quick", labels={"a": "1"})
    end = server.end_of(run_id)
    messages = receiver.wait_for(3)
    bodies = [message.verified(SECRET) for message in messages]
    assert [body["type"] for body in bodies] == ["run.queued", "run.running", "run.succeeded"]
    last = bodies[-1]["data"]
    assert {name: end[name] for name in last} == last
    assert last["jobs"] == {"total": 1, "done": 1, "failed": 0}
    assert [item["id"] for item in delivered(server, run_id, 3)] == [message.id for message in messages]


def test_a_receiver_that_refuses_is_told_until_it_takes_it(
    start_server: StartServer, workflows: Callable[..., Path], receiver: Receiver
) -> None:
    receiver.statuses = [500, 503, HANG, 302]
    server = start_server(workflows_dir=workflows(broken=BROKEN), settings=settings(receiver, states=["failed"]))
    run_id = server.submit("broken")
    server.end_of(run_id)
    messages = receiver.wait_for(5)
    assert len({(message.id, message.text) for message in messages}) == 1
    assert messages[-1].verified(SECRET)["type"] == "run.failed"
    [item] = delivered(server, run_id, 1)
    assert [tried["status"] for tried in item["tries"]] == [500, 503, None, 302, 204]
    log = server.log.read_text()
    assert SECRET not in log
    assert COMMON not in log
    assert receiver.url not in log


def test_a_server_that_is_killed_before_the_delivery_makes_it_when_it_is_back(
    start_server: StartServer, workflows: Callable[..., Path], receiver: Receiver
) -> None:
    receiver.close()
    server = start_server(workflows_dir=workflows(broken=BROKEN), settings=settings(receiver, states=["failed"]))
    run_id = server.submit("broken")
    server.end_of(run_id)
    server.kill()
    receiver.open()
    assert receiver.messages == []
    server.start()
    assert [message.verified(SECRET)["data"]["id"] for message in receiver.wait_for(1)] == [run_id]
    assert len(delivered(server, run_id, 1)) == 1


def test_a_server_that_is_killed_in_the_middle_of_a_delivery_makes_it_again(
    start_server: StartServer, workflows: Callable[..., Path], receiver: Receiver
) -> None:
    receiver.statuses = [HANG]
    patient = settings(receiver, states=["succeeded"]) | {"SNAKEWAY_WEBHOOK_TIMEOUT_S": "2"}
    server = start_server(workflows_dir=workflows(quick=QUICK), settings=patient)
    run_id = server.submit("quick")
    first = receiver.wait_for(1)[0]
    server.kill()
    server.start()
    again = receiver.wait_for(2)[1]
    assert (again.id, again.text) == (first.id, first.text)
    [item] = delivered(server, run_id, 1)
    assert (item["try_count"], len(item["tries"])) == (2, 1)


def test_a_run_has_a_webhook_of_its_own(
    start_server: StartServer, workflows: Callable[..., Path], receiver: Receiver
) -> None:
    with receiving() as own:
        allowed = {"SNAKEWAY_WEBHOOK_URL_PREFIXES": json.dumps([f"http://127.0.0.1:{own.port}/"])}
        server = start_server(workflows_dir=workflows(quick=QUICK), settings=settings(receiver) | allowed)
        refused = server.request("POST", "/runs", json={"workflow": "quick", "webhooks": [receiver.url]})
        assert (refused.status_code, refused.json()["field"]) == (400, "webhooks")
        run_id = server.submit("quick", webhooks=[own.url])
        server.submit("quick")
        types = [message.verified(COMMON)["type"] for message in own.wait_for(3)]
        assert types == ["run.queued", "run.running", "run.succeeded"]
        assert {message.body["data"]["id"] for message in own.messages} == {run_id}
        assert len(receiver.wait_for(6)) == 6
