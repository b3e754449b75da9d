"""The thread that collects outputs: a storage that does not answer holds up no other attempt, and is asked again."""

import logging

import pytest

from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.model.job import Job, JobState
from snakeway.rows import RunRow
from snakeway.store import artifacts, attempts
from snakeway.supervisor.collector import Collector
from snakeway.supervisor.report import Report
from snakeway.telemetry import Spans
from snakeway.telemetry.metrics import Metrics
from tests.integration.test_api_fixtures import Api
from tests.support.server import free_port

pytest_plugins = ["tests.integration.test_api_fixtures"]


@pytest.fixture
def silent() -> str:
    """A place in a storage where nobody answers."""
    return f"s3://lab/runs/1?endpoint=http://127.0.0.1:{free_port()}&region=us-east-1"


def ended(api: Api, storage_url: str | None, output: str) -> RunRow:
    """Commit a run that has ended, with one output to collect."""
    run = api.add_run()
    api.write_file(run, "here.txt", b"local")
    api.end(run)
    attempt = api.newest(run)
    api.add_jobs(attempt, Job(number=1, state=JobState.SUCCEEDED, outputs=[output]))
    with api.store.write() as tx:
        row = attempts.get(tx, attempt.id)
        assert row is not None
        row.storage_url, row.collect_owner = storage_url, "me"
        tx.add(row)
    return run


def test_a_silent_storage_holds_up_no_other_attempt(
    sqlite_api: Api, silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    stuck = ended(sqlite_api, silent, "s3://lab/runs/1/a.txt")
    fine = ended(sqlite_api, None, "here.txt")
    report = Report(sqlite_api.store, Spans(lambda _: None), Metrics())
    collector = Collector("me", sqlite_api.store, sqlite_api.settings, Storages(open_location), report)
    with caplog.at_level(logging.WARNING):
        while collector.collect_one():
            pass
    assert [each["path"] for each in sqlite_api.get(f"/runs/{fine.id}/artifacts")["items"]] == ["here.txt"]
    assert caplog.text.count("are collected later") == 1
    with sqlite_api.store.read() as tx:
        assert [row.run_id for row in artifacts.to_collect(tx, "me", 10)] == [stuck.id]
