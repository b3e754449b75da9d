"""Sending: to a receiver that takes, refuses, hangs, is away, or leads elsewhere."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import WebhookVerificationError

from snakeway.model.delivery import DeliveryState
from snakeway.rows import DeliveryRow, RunRow, now
from snakeway.settings import Settings, Webhook
from snakeway.store import Store, deliveries
from snakeway.supervisor.deliver import Deliverer
from tests.integration.conftest import AddRun
from tests.support.receiver import HANG, Receiver, receiving
from tests.support.waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"

Deliver = Callable[..., list[DeliveryRow]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def deliver(store: Store, tmp_path: Path) -> Deliver:
    """Sends what is due by the end of all pauses, with these settings; returns all deliveries of the run."""

    def deliver(run: RunRow, **settings: Any) -> list[DeliveryRow]:
        values = {"data_dir": tmp_path, "webhook_timeout_s": 0.3, "webhook_max_tries": 3} | settings
        deliverer = Deliverer(store, Settings(**values))
        for row in deliverer.claim(now() + timedelta(days=1)):
            deliverer.deliver(row)
        with store.read() as tx:
            return list(deliveries.list_(tx, run.id, None, 100).items)

    return deliver


def prefixes(receiver: Receiver) -> dict[str, list[str]]:
    return {"webhook_url_prefixes": [f"http://127.0.0.1:{receiver.port}/"]}


def statuses(row: DeliveryRow) -> list[int | None]:
    return [each["status"] for each in row.tries]


def test_a_message_is_signed_and_says_what_happened(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    run = add_run(webhooks=[receiver.url], labels={"a": "ü"}, note="first")
    [row] = deliver(run, **prefixes(receiver), webhook_secret=SecretStr(SECRET))
    [message] = receiver.messages
    body = message.verified(SECRET)
    assert (body["id"], body["type"]) == (row.id, "run.queued") == (message.id, body["type"])
    assert (body["data"]["id"], body["data"]["state"], body["data"]["labels"]) == (run.id, "queued", {"a": "ü"})
    assert "config" not in body["data"]
    assert message.headers["content-type"] == "application/json"
    assert message.headers["user-agent"].startswith("snakeway/")
    with pytest.raises(WebhookVerificationError):
        message.verified(OTHER)
    assert (row.state, row.try_count, statuses(row)) == (DeliveryState.DELIVERED, 1, [204])


def test_without_a_secret_there_is_no_signature(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    deliver(add_run(webhooks=[receiver.url]), **prefixes(receiver))
    assert "webhook-signature" not in receiver.messages[0].headers


@pytest.mark.parametrize(("own", "expected"), [(OTHER, OTHER), (None, SECRET)])
def test_a_webhook_of_the_server_has_its_own_secret_or_the_common_one(
    receiver: Receiver, add_run: AddRun, deliver: Deliver, store: Store, own: str | None, expected: str
) -> None:
    webhook = Webhook(url=receiver.url, secret=None if own is None else SecretStr(own))
    run = add_run(webhooks=[receiver.url])
    with store.write() as tx:
        for row in deliveries.list_(tx, run.id, None, 10).items:
            row.of_run = False
            tx.add(row)
    deliver(run, webhooks=[webhook], webhook_secret=SecretStr(SECRET))
    assert receiver.messages[0].verified(expected)


def test_a_refused_message_is_tried_again_with_the_same_id_and_body(
    receiver: Receiver, add_run: AddRun, deliver: Deliver
) -> None:
    receiver.statuses = [500, 503]
    run = add_run(webhooks=[receiver.url])
    for expected in (DeliveryState.PENDING, DeliveryState.PENDING, DeliveryState.DELIVERED):
        [row] = deliver(run, **prefixes(receiver))
        assert row.state is expected
    assert statuses(row) == [500, 503, 204]
    assert len({(message.id, message.text) for message in receiver.messages}) == 1
    assert row.tries[0]["error"] == "The receiver answered 500."


def test_the_pause_before_the_next_try_grows(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    receiver.statuses = [500, 500]
    run = add_run(webhooks=[receiver.url])
    for low, high in ((80, 120), (320, 480)):
        [row] = deliver(run, **prefixes(receiver), webhook_retry_s=100)
        assert row.next_try_at is not None
        assert low - 10 < (row.next_try_at - now()).total_seconds() <= high


def test_after_the_last_try_it_is_given_up(
    receiver: Receiver, add_run: AddRun, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500] * 9
    run = add_run(webhooks=[f"{receiver.url}?key=secret"])
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            [row] = deliver(run, **prefixes(receiver), webhook_secret=SecretStr(SECRET))
    assert (row.state, row.try_count, row.next_try_at) == (DeliveryState.FAILED, 3, None)
    assert row.ended_at is not None
    assert len(receiver.messages) == 3
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("snakeway"))
    assert f"run.queued of run {run.id}" in ours
    assert "secret" not in ours
    assert SECRET not in caplog.text


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(
    receiver: Receiver, add_run: AddRun, deliver: Deliver
) -> None:
    receiver.statuses = [410]
    [row] = deliver(add_run(webhooks=[receiver.url]), **prefixes(receiver))
    assert (row.state, statuses(row)) == (DeliveryState.FAILED, [410])


def test_a_redirect_is_not_followed(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    with receiving() as elsewhere:
        receiver.statuses, receiver.location = [302], elsewhere.url
        [row] = deliver(add_run(webhooks=[receiver.url]), **prefixes(receiver))
        assert elsewhere.messages == []
    assert (row.state, statuses(row)) == (DeliveryState.PENDING, [302])
    assert "Redirects are not followed" in row.tries[0]["error"]


def test_a_receiver_that_hangs_is_left_after_the_timeout(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    receiver.statuses = [HANG]
    [row] = deliver(add_run(webhooks=[receiver.url]), **prefixes(receiver))
    assert (row.state, statuses(row)) == (DeliveryState.PENDING, [None])
    assert row.tries[0]["error"].startswith("ReadTimeout")
    assert 0.2 < row.tries[0]["took_s"] < 10


def test_a_receiver_that_is_away_is_tried_again(receiver: Receiver, add_run: AddRun, deliver: Deliver) -> None:
    receiver.close()
    run = add_run(webhooks=[receiver.url])
    [row] = deliver(run, **prefixes(receiver))
    assert (row.state, statuses(row)) == (DeliveryState.PENDING, [None])
    assert "refused" in row.tries[0]["error"]
    receiver.open()
    [row] = deliver(run, **prefixes(receiver))
    assert row.state is DeliveryState.DELIVERED


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "nowhere.invalid"])
def test_a_host_that_cannot_be(add_run: AddRun, deliver: Deliver, host: str) -> None:
    [row] = deliver(add_run(webhooks=[f"http://{host}/"]), webhook_url_prefixes=[f"http://{host}/"])
    assert (row.state, statuses(row)) == (DeliveryState.PENDING, [None])
    assert row.tries[0]["error"]


@pytest.mark.parametrize("of_run", [True, False])
def test_an_address_that_the_settings_do_not_name_any_more_gets_nothing(
    receiver: Receiver, add_run: AddRun, deliver: Deliver, store: Store, of_run: bool
) -> None:
    run = add_run(webhooks=[receiver.url])
    with store.write() as tx:
        for row in deliveries.list_(tx, run.id, None, 10).items:
            row.of_run = of_run
            tx.add(row)
    other = [Webhook(url="https://elsewhere.example.org/")]
    [row] = deliver(run, webhooks=other, webhook_url_prefixes=["https://elsewhere.example.org/"])
    assert receiver.messages == []
    assert (row.state, statuses(row)) == (DeliveryState.FAILED, [None])
    assert "any more" in row.tries[0]["error"]


def test_a_receiver_that_hangs_does_not_hold_up_others(store: Store, add_run: AddRun, tmp_path: Path) -> None:
    """Both are sent to at once, by the thread that does it in a supervisor."""
    with ExitStack() as stack:
        hanging, other = (stack.enter_context(receiving(*statuses)) for statuses in ((HANG, HANG), ()))
        for _ in range(3):
            add_run(webhooks=[hanging.url, other.url])
        settings = Settings(data_dir=tmp_path, webhook_timeout_s=60, webhook_url_prefixes=["http://127.0.0.1:1/"])
        allowed = [f"http://127.0.0.1:{each.port}/" for each in (hanging, other)]
        deliverer = Deliverer(store, settings.model_copy(update={"webhook_url_prefixes": allowed}))
        stop = threading.Event()
        thread = threading.Thread(target=deliverer.run, args=(stop,))
        thread.start()
        assert len(other.wait_for(3)) == 3
        assert len(hanging.messages) == 1
        stop.set()
        deliverer.wake()
        thread.join(10)
        assert not thread.is_alive()
        hanging.close()
        wait_until(nobody_sends, timeout_s=30, what="the end of the try that hung")


def nobody_sends() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "snakeway-notify"]
