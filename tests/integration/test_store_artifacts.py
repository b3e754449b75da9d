"""Artifacts in the database: which files were asked for, and how the record follows."""

from typing import Any

import pytest

from snakeway.model.artifact import Kind
from snakeway.rows import RunRow, now
from snakeway.store import Store, artifacts, runs
from tests.integration.conftest import AddRun


def values(run: RunRow, path: str, **members: Any) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "path": path,
        "kind": Kind.INTERMEDIATE,
        "storage_url": None,
        "size_bytes": 3,
        "mtime": 1.5,
        "etag": None,
        "sha256": None,
        "rule": "fit",
        "attempt_id": "a",
        "job_number": 1,
        "created_at": now(),
    } | members


@pytest.fixture
def run(store: Store, add_run: AddRun) -> RunRow:
    """A run with two targets and an output made on the way."""
    run = add_run()
    with store.write() as tx:
        found = [values(run, "a"), values(run, "b", kind=Kind.TARGET), values(run, "c/d", kind=Kind.TARGET)]
        artifacts.save(tx, found)
    return run


def test_they_are_listed_by_kind(store: Store, run: RunRow) -> None:
    with store.read() as tx:
        for kind, paths in ((None, ["a", "b", "c/d"]), (Kind.TARGET, ["b", "c/d"]), (Kind.INTERMEDIATE, ["a"])):
            assert [row.path for row in artifacts.list_(tx, run.id, kind, None, 10).items] == paths
        first = artifacts.list_(tx, run.id, Kind.TARGET, None, 1)
        assert [row.path for row in artifacts.list_(tx, run.id, Kind.TARGET, first.next, 1).items] == ["c/d"]
        assert [row.path for row in artifacts.after_path(tx, run.id, None, "a", 1)] == ["b"]


def test_a_kind_changes_with_what_is_asked_for(store: Store, run: RunRow, add_run: AddRun) -> None:
    other = add_run()
    with store.write() as tx:
        artifacts.save(tx, [values(other, "a")])
        artifacts.mark(tx, run.id, ["a", "nothing"], Kind.TARGET)
    with store.read() as tx:
        assert artifacts.known(tx, run.id)["a"].kind is Kind.TARGET
        assert artifacts.known(tx, other.id)["a"].kind is Kind.INTERMEDIATE


def test_an_output_that_was_made_anew_replaces_what_was_known(store: Store, run: RunRow) -> None:
    with store.write() as tx:
        artifacts.save(tx, [values(run, "b", storage_url="s3://lab/1", etag="e", size_bytes=4)])
    with store.read() as tx:
        assert artifacts.known(tx, run.id)["b"] == (4, 1.5, "e", "s3://lab/1", None, Kind.INTERMEDIATE)


def test_what_is_gone_is_forgotten(store: Store, run: RunRow) -> None:
    with store.write() as tx:
        artifacts.forget(tx, run.id, ["a", "c/d", "nothing"])
    with store.read() as tx:
        assert artifacts.known(tx, run.id).keys() == {"b"}


def test_what_was_asked_for_adds_up(store: Store, run: RunRow) -> None:
    odd = ["a", "", 1, None, "x" * 2000, "ü" * 600, {"a": 1}]
    for names in (["a", "b"], odd, ["c/d", "b"]):
        with store.write() as tx:
            artifacts.request(tx, run.id, names)
    with store.read() as tx:
        assert sorted(artifacts.requested(tx, run.id)) == ["a", "b", "c/d"]


def test_what_was_asked_for_is_bounded(store: Store, run: RunRow) -> None:
    for start in (0, artifacts.MOST_REQUESTED - 1000):
        with store.write() as tx:
            artifacts.request(tx, run.id, [f"{number}.txt" for number in range(start, start + 99_500)])
    with store.read() as tx:
        assert len(artifacts.requested(tx, run.id)) == artifacts.MOST_REQUESTED


def test_it_goes_with_the_run(store: Store, run: RunRow) -> None:
    with store.write() as tx:
        artifacts.request(tx, run.id, ["a"])
        row = tx.get(RunRow, run.id)
        assert row is not None
        tx.delete(row)
    with store.read() as tx:
        assert artifacts.requested(tx, run.id) == []
        assert artifacts.known(tx, run.id) == {}
        assert runs.get(tx, run.id) is None
