"""The outbox: a change and its messages are stored together, and every message is claimed by one at a time."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from snakeway.model.attempt import AttemptState
from snakeway.model.delivery import DeliveryState
from snakeway.model.run import RunState
from snakeway.model.webhook import Subscription
from snakeway.rows import DeliveryRow, now
from snakeway.store import Store, attempts, deliveries, runs
from tests.integration.conftest import AddRun

ALL, FAILURES, OWN = "https://all.example.org/x", "https://failures.example.org/y", "https://own.example.org/z"
LEASE = timedelta(seconds=30)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store with two webhooks of the server's own, once on each kind of database."""
    store = Store(store_url, 10, [Subscription(ALL), Subscription(FAILURES, frozenset({RunState.FAILED}))])
    store.migrate()
    yield store
    store.close()


def stored(store: Store, run_id: str) -> list[DeliveryRow]:
    with store.read() as tx:
        return list(deliveries.list_(tx, run_id, None, 100).items)


def move(store: Store, run_id: str, *states: AttemptState) -> None:
    for state in states:
        with store.write() as tx:
            attempt = attempts.of_run(tx, run_id)[-1]
            assert attempts.move(tx, attempt.id, attempt.state, state)
            runs.settle(tx, run_id)


def claim(store: Store, limit: int = 8, **busy: set[str]) -> list[DeliveryRow]:
    with store.write() as tx:
        return list(deliveries.claim(tx, now(), now() + LEASE, busy.get("busy", set()), limit))


def test_every_change_is_told_to_whom_it_concerns(store: Store, add_run: AddRun) -> None:
    run = add_run(webhooks=[OWN])
    move(store, run.id, AttemptState.STARTING, AttemptState.RUNNING, AttemptState.FAILED)
    told = [(row.url, row.of_run, row.type) for row in stored(store, run.id)]
    assert sorted(told) == sorted(
        [(ALL, False, f"run.{state}") for state in ("queued", "running", "failed")]
        + [(OWN, True, f"run.{state}") for state in ("queued", "running", "failed")]
        + [(FAILURES, False, "run.failed")]
    )
    assert len({row.id for row in stored(store, run.id)}) == 7


def test_an_address_of_the_server_and_of_the_run_is_told_once(store: Store, add_run: AddRun) -> None:
    run = add_run(webhooks=[ALL, OWN, OWN])
    assert sorted((row.url, row.of_run) for row in stored(store, run.id)) == [(ALL, False), (OWN, True)]


def test_a_change_that_is_rolled_back_is_not_told(store: Store, add_run: AddRun) -> None:
    run = add_run()
    before = stored(store, run.id)
    with pytest.raises(ZeroDivisionError), store.write() as tx:  # noqa: PT012
        attempt = attempts.of_run(tx, run.id)[0]
        attempts.move(tx, attempt.id, AttemptState.QUEUED, AttemptState.STARTING)
        runs.settle(tx, run.id)
        tx.flush()
        raise ZeroDivisionError
    assert stored(store, run.id) == before


def test_settling_without_a_change_tells_nothing(store: Store, add_run: AddRun) -> None:
    run = add_run()
    with store.write() as tx:
        runs.settle(tx, run.id)
    assert len(stored(store, run.id)) == 1


def test_a_claim_takes_one_message_of_each_address_oldest_first(store: Store, add_run: AddRun) -> None:
    first = add_run(webhooks=[OWN])
    second = add_run()
    taken = claim(store)
    assert {(row.url, row.run_id, row.try_count) for row in taken} == {(ALL, first.id, 1), (OWN, first.id, 1)}
    assert [(row.url, row.run_id) for row in claim(store)] == [(ALL, second.id)]  # the others have a lease on them
    assert claim(store) == []


def test_a_busy_address_is_left_alone(store: Store, add_run: AddRun) -> None:
    add_run(webhooks=[OWN])
    assert [row.url for row in claim(store, busy={ALL})] == [OWN]
    assert [row.url for row in claim(store, limit=0)] == []


def test_many_senders_claim_each_message_once(store: Store, add_run: AddRun) -> None:
    made = {add_run().id for _ in range(12)}
    barrier = threading.Barrier(4)

    def work(_: int) -> list[str]:
        barrier.wait()
        found, misses = [], 0
        while misses < 20:  # a miss may only mean that the others held the locks at that moment
            taken = claim(store)
            misses = 0 if taken else misses + 1
            found += [row.run_id for row in taken]
        return found

    with ThreadPoolExecutor(4) as pool:
        taken = [run_id for found in pool.map(work, range(4)) for run_id in found]
    assert sorted(taken) == sorted(made)


def test_a_claim_that_ran_out_is_somebody_elses(store: Store, add_run: AddRun) -> None:
    run = add_run()
    with store.write() as tx:
        [slow] = deliveries.claim(tx, now(), now() - LEASE, set(), 8)
    [fast] = claim(store)
    assert (fast.id, fast.try_count) == (slow.id, 2)
    tried = {"at": now().isoformat(), "status": 500, "error": "x", "took_s": 1.0}
    with store.write() as tx:
        assert not deliveries.note_try(tx, slow, tried, DeliveryState.FAILED, None)
        assert deliveries.note_try(tx, fast, tried | {"status": 204, "error": None}, DeliveryState.DELIVERED, None)
    [row] = stored(store, run.id)
    assert (row.state, row.next_try_at, [each["status"] for each in row.tries]) == (
        DeliveryState.DELIVERED,
        None,
        [204],
    )
    assert row.ended_at is not None
    with store.read() as tx:
        assert not deliveries.any_due(tx, now() + 10 * LEASE)


def test_pages_show_every_delivery_once(store: Store, add_run: AddRun) -> None:
    run = add_run(webhooks=[f"{OWN}/{number}" for number in range(4)])
    seen, cursor = [], None
    while True:
        with store.read() as tx:
            page = deliveries.list_(tx, run.id, cursor, 2)
        seen += [row.id for row in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == sorted(row.id for row in stored(store, run.id))
    assert len(seen) == 5


def test_deliveries_go_with_their_run(store: Store, add_run: AddRun) -> None:
    run = add_run()
    with store.write() as tx:
        runs.remove(tx, run.id)
    assert stored(store, run.id) == []
