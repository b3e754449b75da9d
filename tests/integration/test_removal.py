"""Removing runs by a rule, and what the audit keeps of them."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from snakeway import ids, removal
from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.directory import run_directory
from snakeway.errors import RunActive
from snakeway.model.attempt import AttemptState
from snakeway.model.audit import AuditAction
from snakeway.model.retention import Rule
from snakeway.model.run import RunState
from snakeway.removal import Actor, Pruned
from snakeway.rows import AttemptRow, AuditRow, RunRow, now
from snakeway.settings import RetentionRule, Settings
from snakeway.store import Store, attempts, audit, runs
from snakeway.supervisor.chores import ACTOR, Chores
from tests.integration.conftest import AddRun

MONTH = Rule(timedelta(days=30))
SOMEBODY = Actor("ada", AuditAction.PRUNE)

AddOld = Callable[..., RunRow]


@pytest.fixture
def add_old(store: Store, add_run: AddRun, tmp_path: Path) -> AddOld:
    """Commits an ended run of 31 days ago, with 1000 bytes of files; keyword arguments replace its members."""

    def add(days: float = 31, **members: Any) -> RunRow:
        at = now() - timedelta(days=days)
        values = {"state": RunState.FAILED, "created_at": at, "ended_at": at + timedelta(minutes=1)} | members
        run = add_run(id=ids.new_id(int(at.timestamp() * 1000)), **values)
        with store.write() as tx:
            attempt = attempts.of_run(tx, run.id)[0]
            attempt.state = AttemptState.FAILED
            tx.add(attempt)
        folder = run_directory(tmp_path, run.id).path / "results"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_bytes(b"x" * 1000)
        return run

    return add


@pytest.fixture
def prune(store: Store, tmp_path: Path) -> Callable[..., Pruned]:
    def prune(rule: Rule = MONTH, at: datetime | None = None, **options: Any) -> Pruned:
        return removal.prune(
            store, tmp_path, rule, at or now(), **({"keep_label": "keep", "actor": SOMEBODY} | options)
        )

    return prune


def left(store: Store) -> set[str]:
    with store.read() as tx:
        return {run.id for run in runs.list_(tx, runs.RunFilter(), None, 500).items}


def lines(store: Store) -> list[AuditRow]:
    with store.read() as tx:
        return list(audit.list_(tx, None, None, 500).items)


def test_what_the_rule_names_is_removed_and_noted(
    store: Store, add_old: AddOld, prune: Callable[..., Pruned], tmp_path: Path
) -> None:
    old, young = add_old(labels={"a": "1"}), add_old(days=29)
    [found] = prune().items
    assert (found.run.id, found.removed, found.size_bytes) == (old.id, True, 1000)
    assert left(store) == {young.id}
    assert not run_directory(tmp_path, old.id).path.exists()
    assert run_directory(tmp_path, young.id).path.exists()
    assert list((tmp_path / "runs" / ".trash").iterdir()) == []
    [line] = lines(store)
    assert (line.actor, line.action, line.run_id) == ("ada", AuditAction.PRUNE, old.id)
    assert (line.workflow, line.owner) == (old.workflow, old.owner)
    assert (line.details["state"], line.details["size_bytes"], line.details["labels"]) == ("failed", 1000, {"a": "1"})


def test_a_dry_run_changes_nothing(store: Store, add_old: AddOld, prune: Callable[..., Pruned], tmp_path: Path) -> None:
    run = add_old()
    [found] = prune(dry_run=True).items
    assert (found.run.id, found.removed, found.size_bytes) == (run.id, False, 1000)
    assert left(store) == {run.id}
    assert lines(store) == []


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("labels", [{}, {"a": "1"}, {"a": "1", "keep": "x"}, {"a": "2"}])
@pytest.mark.parametrize("days", [29, 31])
def test_the_database_names_what_the_rule_does(
    store: Store,
    add_old: AddOld,
    prune: Callable[..., Pruned],
    state: RunState,
    labels: dict[str, str],
    days: int,
) -> None:
    run = add_old(days=days, state=state, labels=labels)
    for states in (frozenset(), frozenset({RunState.FAILED, RunState.CANCELLED})):
        for wanted in ({}, {"a": "1"}):
            for workflow in (None, "w", "other"):
                rule = Rule(timedelta(days=30), states, wanted, workflow)
                named = bool(prune(rule, dry_run=True).items)
                assert named is rule.matches(run, now(), "keep"), rule


def test_a_call_is_bounded_and_goes_on_at_its_cursor(
    store: Store, add_old: AddOld, prune: Callable[..., Pruned]
) -> None:
    made = [add_old(days=40 - number).id for number in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = prune(limit=2, cursor=cursor)
        seen += [found.run.id for found in page.items]
        cursor = page.next
    assert (seen, cursor) == (made, None)
    assert left(store) == set()


def test_a_call_that_takes_long_ends_early(add_old: AddOld, prune: Callable[..., Pruned]) -> None:
    made = [add_old(days=40 - number).id for number in range(3)]
    page = prune(longest_s=-1)
    assert [found.run.id for found in page.items] == made[:1]
    assert [found.run.id for found in prune(cursor=page.next).items] == made[1:]


def test_only_the_owners_runs(store: Store, add_old: AddOld, prune: Callable[..., Pruned]) -> None:
    ada, bob = add_old(owner="ada"), add_old(owner="bob")
    assert [found.run.id for found in prune(owner="ada").items] == [ada.id]
    assert left(store) == {bob.id}


def test_a_run_that_was_rerun_meanwhile_is_left_alone(
    store: Store, add_old: AddOld, prune: Callable[..., Pruned], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_old()

    def rerun(*_: object) -> int:
        with store.write() as tx:
            again = attempts.of_run(tx, run.id)[0].model_dump() | {"id": ids.new_id(), "number": 2}
            attempts.add(tx, AttemptRow(**(again | {"state": AttemptState.QUEUED})))
            runs.settle(tx, run.id)
        return 7

    monkeypatch.setattr(removal, "size_bytes", rerun)
    [found] = prune().items
    assert (found.removed, found.size_bytes) == (False, 7)
    assert left(store) == {run.id}
    assert lines(store) == []


def test_a_run_with_a_dry_run_under_way_is_left_alone(
    store: Store, add_old: AddOld, prune: Callable[..., Pruned]
) -> None:
    run = add_old()
    with store.write() as tx:
        asked = attempts.of_run(tx, run.id)[0].model_dump() | {"id": ids.new_id(), "number": 2, "dry_run": True}
        attempts.add(tx, AttemptRow(**(asked | {"state": AttemptState.QUEUED})))
        row = runs.lock(tx, run.id)
        assert row is not None
        with pytest.raises(RunActive):
            removal.take_out(tx, row, SOMEBODY, 0)
    assert [found.removed for found in prune().items] == [False]
    assert left(store) == {run.id}


def test_two_that_remove_at_the_same_time_remove_each_run_once(
    store: Store, add_old: AddOld, prune: Callable[..., Pruned]
) -> None:
    made = {add_old().id for _ in range(8)}
    removed: list[str] = []
    threads = [
        threading.Thread(target=lambda: removed.extend(f.run.id for f in prune().items if f.removed)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(removed) == sorted(made)
    assert sorted(line.run_id for line in lines(store)) == sorted(made)


def test_a_crash_between_rows_and_files_is_cleaned_up(
    store: Store,
    add_old: AddOld,
    prune: Callable[..., Pruned],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crashed, there = add_old(), add_old(days=3)
    unknown = run_directory(tmp_path, ids.new_id()).path
    unknown.mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(removal, "discard", lambda *_: None)
        prune()
    assert run_directory(tmp_path, crashed.id).path.exists()
    removal.clean_up(store, tmp_path)
    assert not run_directory(tmp_path, crashed.id).path.exists()
    assert run_directory(tmp_path, there.id).path.exists()
    assert unknown.exists()


def test_cleaning_up_needs_no_run(store: Store, tmp_path: Path) -> None:
    removal.clean_up(store, tmp_path / "nothing")


def test_the_size_counts_each_file_once_and_follows_no_link(tmp_path: Path) -> None:
    run_id = ids.new_id()
    folder = run_directory(tmp_path, run_id).path
    assert removal.size_bytes(tmp_path, run_id) == 0
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a").write_bytes(b"x" * 10)
    (folder / "b").hardlink_to(folder / "deep" / "er" / "a")
    (tmp_path / "outside").write_bytes(b"x" * 5000)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    links = sum(path.lstat().st_size for path in (folder / "link", folder / "loop"))
    assert removal.size_bytes(tmp_path, run_id) == 10 + links


def test_the_rules_of_the_settings_are_applied_and_the_trash_is_emptied(
    store: Store, add_old: AddOld, tmp_path: Path
) -> None:
    failed, done = add_old(), add_old(days=400, state=RunState.SUCCEEDED)
    kept = add_old(days=400, labels={"keep": ""})
    forgotten = tmp_path / "runs" / ".trash" / ids.new_id()
    forgotten.mkdir(parents=True)
    rules = [{"older_than": "30d", "states": ["failed"]}, {"older_than": "52w", "labels": {"no": "such"}}]
    settings = Settings(data_dir=tmp_path, retention=[RetentionRule.model_validate(rule) for rule in rules])
    assert Chores(store, settings, Storages(open_location)).apply_retention() == 1
    assert left(store) == {done.id, kept.id}
    assert not forgotten.exists()
    [line] = lines(store)
    assert (line.actor, line.action, line.run_id) == (ACTOR, AuditAction.EXPIRE, failed.id)
    assert line.details["rule"]["older_than_s"] == 30 * 86400
