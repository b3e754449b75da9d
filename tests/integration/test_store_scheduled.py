"""What schedulers say of jobs, in both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from snakeway.model.job import Job, JobState
from snakeway.model.scheduled import Phase, Scheduled
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.store import Store, attempts, jobs, scheduled
from tests.integration.conftest import AddRun

RUNNING = Scheduled("RUNNING", Phase.RUNNING, host="node1", queued_at=10.0, started_at=12.0)
DONE = Scheduled("COMPLETED", host="node1", queued_at=10.0, started_at=12.0, ended_at=20.0, succeeded=True, final=True)


@pytest.fixture
def run(store: Store, add_run: AddRun) -> RunRow:
    """A run with a submitted job, one that succeeded and one that failed, all known to a scheduler."""
    run = add_run()
    states = (JobState.SUBMITTED, JobState.SUCCEEDED, JobState.FAILED)
    made = [
        Job(number, state, 1, "fit", submitted_at=9.0, external_id=str(100 + number))
        for number, state in enumerate(states)
    ]
    for job in made[1:]:
        job.ended_at = 21.0
    made.append(Job(3, JobState.SUCCEEDED, 1, "local"))
    with store.write() as tx:
        jobs.save(tx, run.id, attempt_of(store, run).id, made)
    return run


def attempt_of(store: Store, run: RunRow) -> AttemptRow:
    with store.read() as tx:
        return attempts.of_run(tx, run.id)[0]


def open_jobs(store: Store, run: RunRow) -> list[str]:
    with store.read() as tx:
        return [external_id for _, external_id in scheduled.unaccounted(tx, [attempt_of(store, run).id], 10)]


def test_what_is_said_is_noted_once(store: Store, run: RunRow) -> None:
    attempt = attempt_of(store, run)
    said = {"100": RUNNING, "999": RUNNING}  # nobody knows the second one
    with store.write() as tx:
        news = scheduled.news(tx, attempt.id, said)
        assert [job.number for job in news] == [0]
        jobs.save(tx, run.id, attempt.id, news)
        assert scheduled.news(tx, attempt.id, said) == []
    with store.read() as tx:
        row = jobs.get(tx, attempt.id, 0)
    assert row is not None
    assert (row.state, row.started_at, row.accounted) == (JobState.RUNNING, 12.0, False)
    assert Scheduled.from_json(row.scheduled) == RUNNING


def test_the_books_are_asked_about_ended_jobs_until_they_are_read(store: Store, run: RunRow) -> None:
    attempt = attempt_of(store, run)
    assert sorted(open_jobs(store, run)) == ["101", "102"]
    with store.read() as tx:
        assert scheduled.unaccounted(tx, [attempt.id], 1, [JobState.FAILED]) == [(attempt.id, "102")]
    with store.write() as tx:
        jobs.save(tx, run.id, attempt.id, scheduled.news(tx, attempt.id, {"101": DONE}))
    assert open_jobs(store, run) == ["102"]
    with store.read() as tx:
        row = jobs.get(tx, attempt.id, 1)
        assert row is not None
        assert (row.started_at, row.ended_at) == (12.0, 20.0)
        assert scheduled.of_rules(tx, attempt.id) == {"fit": [DONE]}


def test_where_there_are_no_books_what_is_known_is_all(store: Store, run: RunRow) -> None:
    with store.write() as tx:
        scheduled.account_without_books(tx, attempt_of(store, run).id)
    assert open_jobs(store, run) == []


def test_an_ended_attempt_is_asked_about_until_its_books_are_closed(store: Store, run: RunRow) -> None:
    attempt = attempt_of(store, run)
    with store.read() as tx:
        assert scheduled.open_books(tx, 10) == []
    with store.write() as tx:
        tx.exec(update(AttemptRow).values(books_until=now() + timedelta(minutes=1)))
    with store.read() as tx:
        assert [row.id for row in scheduled.open_books(tx, 10)] == [attempt.id]
    with store.write() as tx:
        scheduled.close_books(tx, attempt.id)
    with store.read() as tx:
        assert scheduled.open_books(tx, 10) == []
