"""Several submissions made at once, on both kinds of database."""

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from snakeway import ids, tree
from snakeway.api.run import Run
from snakeway.catalog import Workflow
from snakeway.errors import IdempotencyConflict, InvalidConfig, StoreBusy, WorkflowNotFound
from snakeway.model.user import LOCAL
from snakeway.rows import AttemptRow, RunRow
from snakeway.service.submission import Submission
from snakeway.service.submissions import Asked, Made, NotTogether
from snakeway.store import attempts, runs
from snakeway.store.runs import RunFilter
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]


def asked(workflow: str = "plain", key: str | None = None, **members: object) -> Asked:
    return Asked(LOCAL, Submission(workflow=workflow, **members), key)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def files_that_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as known from the first look on, as if they had been written long before."""
    monkeypatch.setattr(tree, "_RACY_NS", 0)


def at_hand(api: Api, *workflows: str) -> None:
    """Have the workflows read and copied, as after a submission of each."""
    for workflow in workflows:
        api.commands.submissions.make_one(asked(workflow))
    with api.store.write() as tx:
        for run in runs.list_(tx, RunFilter(), None, 100).items:
            runs.remove(tx, run.id)


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
    at_hand(api, "plain", "strict")
    first, missing, misfit, second = api.commands.submissions.make_all(group)
    assert isinstance(missing, WorkflowNotFound)
    assert isinstance(misfit, InvalidConfig)
    assert isinstance(first, Made)
    assert isinstance(second, Made)
    assert {row.id for row in stored(api)} == {first.run.id, second.run.id}  # both may be of the same millisecond
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


def test_the_second_of_a_group_with_the_same_key_is_made_by_itself(api: Api) -> None:
    at_hand(api, "plain")
    group = [asked(key="k"), asked(key="other"), asked(key="k")]
    first, other, later = api.commands.submissions.make_all(group)
    assert isinstance(first, Made)
    assert isinstance(other, Made)
    assert isinstance(later, NotTogether)
    again = api.commands.submissions.make_one(group[2])
    assert (again.run.id, again.new) == (first.run.id, False)
    known, conflict = api.commands.submissions.make_all([asked(key="k"), asked(key="k", note="another")])
    assert isinstance(known, Made)
    assert (known.run.id, known.new) == (first.run.id, False)
    assert isinstance(conflict, IdempotencyConflict)
    assert len(stored(api)) == 2


def test_a_key_that_is_used_between_look_and_insert_makes_one_run(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    at_hand(api, "plain")
    submissions = api.commands.submissions
    first = submissions.make_one(asked(key="k"))
    look = submissions._known
    monkeypatch.setattr(submissions, "_known", lambda _group: {})
    with pytest.raises(IntegrityError):
        submissions.make_all([asked(), asked(key="k")])
    assert [row.id for row in stored(api)] == [first.run.id]
    looks = iter([lambda _group: {}, look])
    monkeypatch.setattr(submissions, "_known", lambda group: next(looks)(group))
    again = submissions.make_one(asked(key="k"))
    assert (again.run.id, again.new) == (first.run.id, False)


def test_a_busy_database_refuses_what_needs_it_and_tells_the_others_their_own_fault(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand(sqlite_api, "plain")
    monkeypatch.setattr(sqlite_api.store, "_wait_s", 0.01)
    with sqlite_api.store.write():
        busy, missing = sqlite_api.commands.submissions.make_all([asked(), asked("nothing")])
    assert isinstance(busy, StoreBusy)
    assert isinstance(missing, WorkflowNotFound)
    assert stored(sqlite_api) == []


def test_what_may_take_long_is_not_made_together(sqlite_api: Api) -> None:
    submissions = sqlite_api.commands.submissions
    others = [
        asked("", git_url="https://git.example.org/x.git"),
        asked("name", bundle="sha256:" + "0" * 64),
        asked(config={"file": f"input:{ids.new_id()}"}),
    ]
    assert [type(each) for each in submissions.make_all([asked(), *others])] == [NotTogether] * 4
    at_hand(sqlite_api, "plain")
    made, *still = submissions.make_all([asked(), *others])
    assert isinstance(made, Made)
    assert [type(each) for each in still] == [NotTogether] * 3


def test_a_workflow_is_looked_at_once_for_a_group_whatever_comes_of_it(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    pin = sqlite_api.commands.submissions._catalog.pin

    def counting(name: str, *, at_once: bool = False) -> Workflow:
        looks.append(name)
        return pin(name, at_once=at_once)

    at_hand(sqlite_api, "plain")
    monkeypatch.setattr(sqlite_api.commands.submissions._catalog, "pin", counting)
    names = ["plain", "nothing", "strict", "broken"]
    outcomes = sqlite_api.commands.submissions.make_all([asked(name) for name in names * 3])
    assert looks == names
    assert [type(each) for each in outcomes] == [Made, WorkflowNotFound, NotTogether, NotTogether] * 3
    assert len({id(each) for each in outcomes}) == 12


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
