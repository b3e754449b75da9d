from datetime import UTC, datetime, timedelta

import pytest

from snakeway import ids
from snakeway.errors import InvalidCursor
from snakeway.model.attempt import AttemptState
from snakeway.model.run import RunState
from snakeway.rows import AttemptRow, IdempotencyRow, JobRow, RunRow, Table, now
from snakeway.store import Store, attempts, insert_all, jobs, runs
from snakeway.store.runs import RunFilter
from tests.integration.conftest import AddRun


def listed(store: Store, cursor: str | None = None, limit: int = 100, **where: object) -> list[str]:
    with store.read() as tx:
        return [run.id for run in runs.list_(tx, RunFilter(**where), cursor, limit).items]  # type: ignore[arg-type]


def test_a_run_is_read_back_as_it_was_written(store: Store, add_run: AddRun) -> None:
    run = add_run(config={"a": [1, {"b": None}]}, labels={"project": "x"}, note="ünïcode")
    with store.read() as tx:
        found = runs.get(tx, run.id)
    assert found is not None
    assert found.model_dump() == run.model_dump()
    assert found.state is RunState.QUEUED
    assert found.created_at.tzinfo is not None


def test_a_block_that_raises_leaves_nothing(store: Store, add_run: AddRun) -> None:
    run = add_run()
    with pytest.raises(ZeroDivisionError), store.write() as tx:  # noqa: PT012
        runs.remove(tx, run.id)
        raise ZeroDivisionError
    assert listed(store) == [run.id]


def test_pages_show_every_run_once_newest_first_while_others_are_added(store: Store, add_run: AddRun) -> None:
    made = [add_run().id for _ in range(10)]
    seen: list[str] = []
    cursor = None
    while True:
        with store.read() as tx:
            page = runs.list_(tx, RunFilter(), cursor, 3)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
        add_run()
    assert seen == sorted(made, reverse=True)


def test_filters_are_combined(store: Store, add_run: AddRun) -> None:
    plain = add_run()
    other = add_run(workflow="other", owner="bob", target="slurm", labels={"a": "1", "b": "2"})
    assert listed(store, workflow="other") == [other.id]
    assert listed(store, owner="ada") == [plain.id]
    assert listed(store, target="slurm", states=[RunState.QUEUED]) == [other.id]
    assert listed(store, states=[RunState.FAILED]) == []
    assert listed(store, labels={"a": "1", "b": "2"}) == [other.id]
    assert listed(store, labels={"a": "2"}) == []


def test_listing_by_time(store: Store, add_run: AddRun) -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    early, late = (add_run(id=ids.new_id(int((noon + timedelta(hours=h)).timestamp() * 1000))) for h in (-1, 1))
    assert listed(store, created_after=noon) == [late.id]
    assert listed(store, created_before=noon) == [early.id]


def test_a_foreign_cursor_is_refused(store: Store) -> None:
    with pytest.raises(InvalidCursor), store.read() as tx:
        runs.list_(tx, RunFilter(), "!!", 3)


def test_removing_a_run_removes_what_belongs_to_it(store: Store, add_run: AddRun) -> None:
    run = add_run(labels={"a": "1"})
    with store.write() as tx:
        attempt = attempts.of_run(tx, run.id)[0]
        tx.add(JobRow(attempt_id=attempt.id, number=1, run_id=run.id))
        used = {"owner": "ada", "key": "key", "request_digest": "digest", "run_id": run.id, "created_at": now()}
        insert_all(tx, [IdempotencyRow.record(**used)])
    with store.write() as tx:
        runs.remove(tx, run.id)
    with store.read() as tx:
        assert attempts.get(tx, attempt.id) is None
        assert jobs.get(tx, attempt.id, 1) is None
        assert runs.of_key(tx, "ada", "key") is None


def test_records_of_one_statement_may_lack_different_members(store: Store) -> None:
    given = {"owner": "ada", "workflow": "w", "digest": "", "target": "local", "created_at": now()}
    different: list[dict[str, object]] = [{}, {"traceparent": "00-aa"}, {"error": "broken", "started_at": now()}]
    made = [RunRow.record(id=ids.new_id(), **given, **each) for each in different]
    with store.write() as tx:
        runs.add_all(tx, made)
    with store.read() as tx:
        found = [runs.get(tx, run.id) for run in made]
    assert [run and run.model_dump() for run in found] == [run.model_dump() for run in made]


def test_settling_follows_the_attempts(store: Store, add_run: AddRun) -> None:
    run = add_run()
    steps = [
        (AttemptState.QUEUED, AttemptState.STARTING, RunState.RUNNING),
        (AttemptState.STARTING, AttemptState.RUNNING, RunState.RUNNING),
        (AttemptState.RUNNING, AttemptState.FAILED, RunState.FAILED),
    ]
    with store.read() as tx:
        attempt = attempts.of_run(tx, run.id)[0]
    for old, new, expected in steps:
        with store.write() as tx:
            assert attempts.move(tx, attempt.id, old, new)
            assert runs.settle(tx, run.id).state is expected
    with store.write() as tx:
        again = AttemptRow(**(attempt.model_dump() | {"id": ids.new_id(), "number": 2, "state": AttemptState.QUEUED}))
        attempts.add(tx, again)
        settled = runs.settle(tx, run.id)
    assert (settled.state, settled.ended_at) == (RunState.QUEUED, None)
    assert settled.started_at is not None


def test_the_schema_of_the_migrations_is_the_schema_of_the_tables(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store.check()
    with store.read() as tx:
        context = MigrationContext.configure(tx.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
