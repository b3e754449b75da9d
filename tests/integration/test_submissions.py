"""Several submissions made at once, on both kinds of database."""

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from snakeway.api.run import Run
from snakeway.errors import IdempotencyConflict, InvalidConfig, StoreBusy, WorkflowNotFound
from snakeway.model.user import LOCAL
from snakeway.rows import AttemptRow, RunRow
from snakeway.service.submission import Submission
from snakeway.service.submissions import Asked, Made
from snakeway.store import attempts, runs
from snakeway.store.runs import RunFilter
from snakeway.tree import TakesLonger
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]


def asked(workflow: str = "plain", key: str | None = None, **members: object) -> Asked:
    return Asked(LOCAL, Submission(workflow=workflow, **members), key)  # type: ignore[arg-type]


def stored(api: Api) -> list[RunRow]:
    with api.store.read() as tx:
        return list(runs.list_(tx, RunFilter(), None, 100).items)


def first_attempts(api: Api, run: RunRow) -> list[AttemptRow]:
    with api.store.read() as tx:
        return list(attempts.of_run(tx, run.id))


def test_each_of_a_group_gets_its_own_run_or_its_own_error(api: Api) -> None:
    group = [
        asked(labels={"a": "1", "b": "2"}),
        asked("nothing"),
        asked("strict", config={"samples": [1]}),
        asked("strict", note="n"),
    ]
    first, missing, misfit, second = api.commands.submissions.make(group)
    assert isinstance(missing, WorkflowNotFound)
    assert isinstance(misfit, InvalidConfig)
    assert isinstance(first, Made)
    assert isinstance(second, Made)
    assert [row.id for row in stored(api)] == [second.run.id, first.run.id]
    with api.store.read() as tx:
        labelled = runs.list_(tx, RunFilter(labels={"a": "1", "b": "2"}), None, 10).items
    assert [row.id for row in labelled] == [first.run.id]
    for made in (first, second):
        [attempt] = first_attempts(api, made.run)
        assert (attempt.number, attempt.digest, attempt.state) == (1, made.run.digest, "queued")


def test_what_is_answered_is_what_is_stored(api: Api) -> None:
    members = {"config": {"x": [1, {"y": None}]}, "labels": {"k": "v"}, "note": "ü", "dry_run": True}
    made = api.commands.submissions.make_one(asked(**members))
    [row] = stored(api)
    assert Run.of(made.run) == Run.of(row)


def test_two_of_a_group_with_the_same_key_make_one_run(api: Api) -> None:
    group = [asked(key="k"), asked(key="other"), asked(key="k")]
    with pytest.raises(IntegrityError):
        api.commands.submissions.make(group)
    assert stored(api) == []
    first, other, again = (api.commands.submissions.make_one(each) for each in group)
    assert (first.new, other.new, again.new) == (True, True, False)
    assert again.run.id == first.run.id
    known, conflict = api.commands.submissions.make([asked(key="k"), asked(key="k", note="another")])
    assert isinstance(known, Made)
    assert (known.run.id, known.new) == (first.run.id, False)
    assert isinstance(conflict, IdempotencyConflict)
    assert len(stored(api)) == 2


def test_a_busy_database_refuses_what_needs_it_and_tells_the_others_their_own_fault(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_api.commands.submissions.make_one(asked())
    monkeypatch.setattr(sqlite_api.store, "_wait_s", 0.01)
    with sqlite_api.store.write():
        busy, missing = sqlite_api.commands.submissions.make([asked(), asked("nothing")])
    assert isinstance(busy, StoreBusy)
    assert isinstance(missing, WorkflowNotFound)
    assert len(stored(sqlite_api)) == 1


def test_what_may_take_seconds_is_not_done_at_once(sqlite_api: Api) -> None:
    submissions = sqlite_api.commands.submissions
    elsewhere = [asked("", git_url="https://git.example.org/x.git"), asked("name", bundle="sha256:" + "0" * 64)]
    assert [type(each) for each in submissions.make([asked(), *elsewhere], at_once=True)] == [TakesLonger] * 3
    submissions.make_one(asked())  # has the workflow's files copied
    [made, *_] = submissions.make([asked(), *elsewhere], at_once=True)
    assert isinstance(made, Made)


def test_a_workflow_that_was_edited_is_copied_before_it_is_run(sqlite_api: Api) -> None:
    first = sqlite_api.post("/runs", {"workflow": "plain"}, status=201)
    snakefile = Path(sqlite_api.settings.workflows_dir, "plain/workflow/Snakefile")
    snakefile.write_text(snakefile.read_text() + "# edited\n")
    second = sqlite_api.post("/runs", {"workflow": "plain"}, status=201)
    assert second["digest"] != first["digest"]
    assert (
        "# edited"
        in Path(
            sqlite_api.settings.data_dir, "workflows", second["digest"].removeprefix("sha256:"), "workflow/Snakefile"
        ).read_text()
    )
