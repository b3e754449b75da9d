import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from snakeway.model.attempt import AttemptState
from snakeway.rows import AttemptRow, now
from snakeway.store import Store, attempts, runs
from tests.integration.conftest import AddRun

LEASE = timedelta(seconds=30)


def claim(store: Store, supervisor: str = "s1") -> AttemptRow | None:
    with store.write() as tx:
        attempt = attempts.claim(tx, supervisor, now() + LEASE, now())
        if attempt is not None:
            runs.settle(tx, attempt.run_id)
        return attempt


def test_the_queue_is_first_in_first_out(store: Store, add_run: AddRun) -> None:
    made = [add_run().id for _ in range(3)]
    claimed = [claim(store) for _ in range(4)]
    assert [attempt and attempt.run_id for attempt in claimed] == [*made, None]
    assert claimed[0] is not None
    assert claimed[0].state is AttemptState.STARTING
    assert claimed[0].lease_owner == "s1"


def test_an_owner_with_many_runs_does_not_keep_others_waiting(store: Store, add_run: AddRun) -> None:
    for _ in range(5):
        add_run(owner="ada")
    add_run(owner="bob")
    claimed = [claim(store) for _ in range(3)]
    assert [attempt.owner for attempt in claimed if attempt] == ["ada", "bob", "ada"]


def test_many_supervisors_claim_each_attempt_once(store: Store, add_run: AddRun) -> None:
    made = {add_run().id for _ in range(20)}
    barrier = threading.Barrier(4)

    def work(supervisor: int) -> list[str]:
        barrier.wait()
        found = []
        misses = 0
        while misses < 20:  # a miss may only mean that the others held the locks at that moment
            attempt = claim(store, f"s{supervisor}")
            misses = 0 if attempt else misses + 1
            found += [attempt.run_id] if attempt else []
        return found

    with ThreadPoolExecutor(4) as pool:
        claimed = [run_id for found in pool.map(work, range(4)) for run_id in found]
    assert sorted(claimed) == sorted(made)


def test_a_move_from_a_state_that_has_passed_does_nothing(store: Store, add_run: AddRun) -> None:
    add_run()
    attempt = claim(store)
    assert attempt is not None
    with store.write() as tx:
        assert not attempts.move(tx, attempt.id, AttemptState.QUEUED, AttemptState.CANCELLED)
    with store.read() as tx:
        found = attempts.get(tx, attempt.id)
    assert found is not None
    assert found.state is AttemptState.STARTING


def test_a_move_that_is_not_in_the_table_is_a_bug(store: Store, add_run: AddRun) -> None:
    add_run()
    attempt = claim(store)
    assert attempt is not None
    with pytest.raises(AssertionError), store.write() as tx:
        attempts.move(tx, attempt.id, AttemptState.SUCCEEDED, AttemptState.RUNNING)


def test_a_lease_that_ran_out_is_taken_over_by_one(store: Store, add_run: AddRun) -> None:
    add_run()
    attempt = claim(store)
    assert attempt is not None
    later = now() + 2 * LEASE
    with store.write() as tx:
        assert attempts.adoptable(tx, now(), 10) == []
        seen = attempts.adoptable(tx, later, 10)
        assert [row.id for row in seen] == [attempt.id]
        assert attempts.adopt(tx, seen[0], "s2", later + LEASE)
    with store.write() as tx:
        assert not attempts.adopt(tx, attempt, "s3", later + LEASE)  # saw the lease before it was taken
        assert [row.id for row in attempts.held_by(tx, "s2")] == [attempt.id]
        assert not attempts.note(tx, attempt.id, "s1", jobs_done=1)  # the old holder writes no more
        assert attempts.note(tx, attempt.id, "s2", jobs_done=1)


def test_a_lease_given_back_is_free_at_once(store: Store, add_run: AddRun) -> None:
    add_run()
    attempt = claim(store)
    assert attempt is not None
    with store.write() as tx:
        attempts.renew(tx, "s1", [attempt.id], None)
    with store.write() as tx:
        assert [row.id for row in attempts.adoptable(tx, now(), 10)] == [attempt.id]


def test_a_locked_database_is_a_clear_error(sqlite_url: str) -> None:
    from snakeway.errors import StoreBusy

    first, second = Store(sqlite_url, wait_s=5), Store(sqlite_url, wait_s=0.1)
    first.migrate()
    with first.write(), pytest.raises(StoreBusy, match="locked"), second.write():
        pass
    first.close()
    second.close()


@pytest.mark.parametrize("url", ["sqlite", "postgres"])
def test_a_database_without_tables_asks_for_migration(request: pytest.FixtureRequest, url: str) -> None:
    from snakeway.errors import StoreOutdated

    store = Store(request.getfixturevalue(f"{url}_url"))
    with pytest.raises(StoreOutdated, match="snakeway migrate"):
        store.check()
    with pytest.raises(StoreOutdated, match="snakeway migrate"), store.read() as tx:
        attempts.any_queued(tx)
    store.close()
