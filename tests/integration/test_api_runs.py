from typing import Any

import pytest

from snakeway import ids
from snakeway.model.attempt import AttemptState
from snakeway.model.run import RunState
from snakeway.rows import RunRow
from snakeway.store.page import encode
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]


def test_pages_show_1000_runs_once_each_while_others_are_added(api: Api) -> None:
    made = api.add_runs(1000)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 77}
    while True:
        page = api.get("/runs", **query)
        assert len(page["items"]) <= 77
        seen += [run["id"] for run in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        api.add_run()
    assert seen == sorted(made, reverse=True)


def listed(api: Api, query: Any) -> set[str]:
    return {run["id"] for run in api.get("/runs", **query)["items"]}


def test_filters_are_combined(api: Api) -> None:
    old = api.add_run(id=ids.new_id(1_000_000_000_000), labels={"a": "1", "b": "x=y"}, owner="ada")
    new = api.add_run(labels={"a": "1"}, workflow="strict", target="slurm")
    api.end(new, AttemptState.FAILED)
    assert listed(api, {"label": "a=1"}) == {old.id, new.id}
    assert listed(api, {"label": ["a=1", "b=x=y"]}) == {old.id}
    assert listed(api, {"label": "a=2"}) == set()
    assert listed(api, {"state": ["failed", "running"]}) == {new.id}
    assert listed(api, {"state": "queued", "label": "a=1", "owner": "ada"}) == {old.id}
    assert listed(api, {"workflow": "strict", "target": "slurm"}) == {new.id}
    assert listed(api, {"owner": "bob"}) == set()
    assert listed(api, {"created_after": "2020-01-01T00:00:00Z"}) == {new.id}
    assert listed(api, {"created_after": "1960-01-01T00:00:00Z"}) == {old.id, new.id}
    assert listed(api, {"created_before": "0001-01-01T00:00:00+14:00"}) == set()
    assert listed(api, {"created_before": "2020-01-01T00:00:00+02:00"}) == {old.id}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("state=done", "state"),
        ("state=failed&state=", "state"),
        ("label=a", "label"),
        ("label==1", "label"),
        ("label=a=1&label=a=2", "label"),
        ("&".join(f"label=k{i}=1" for i in range(33)), "label"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2020-01-01T00:00:00", "created_before"),
        ("created_before=2026", "created_before"),
        ("created_after=1e9", "created_after"),
        ("created_after=", "created_after"),
        ("stat=failed", "stat"),
        ("workflow=a%00b", "workflow"),
    ],
)
def test_a_query_that_does_not_fit_names_the_parameter(sqlite_api: Api, query: str, field: str) -> None:
    assert sqlite_api.refused("GET", f"/runs?{query}", "invalid_request")["field"] == field


def test_what_a_value_may_be_is_said(sqlite_api: Api) -> None:
    for query in ("state=foo", "state=failed&state=foo"):
        detail = sqlite_api.refused("GET", f"/runs?{query}", "invalid_request")["detail"]
        assert detail == f"state: Invalid enum value 'foo'; there are: {', '.join(RunState)}"
    pruned = sqlite_api.refused("POST", "/prune", "invalid_request", json={"older_than": "1d", "states": ["foo"]})
    assert pruned["detail"] == f"states[0]: Invalid enum value 'foo'; there are: {', '.join(RunState)}"
    time = sqlite_api.refused("GET", "/runs?created_before=2026", "invalid_request")["detail"]
    assert "'2026'" in time
    assert "such as 2026-03-02T09:30:00Z" in time


@pytest.mark.parametrize("cursor", ["%", "a", "ä", "A" * 9000, "", "AAAA", "MA", "eyJhIjoxfQ", encode("x/y")])
def test_a_cursor_of_somebody_else_is_refused(sqlite_api: Api, cursor: str) -> None:
    code = "invalid_request" if len(cursor) > 8192 else "invalid_cursor"
    sqlite_api.refused("GET", "/runs", code, params={"cursor": cursor})


@pytest.mark.parametrize("changed", ["{}=", "{}==", " {}", "{}\n"])
def test_a_cursor_that_was_changed_is_refused(sqlite_api: Api, changed: str) -> None:
    run = sqlite_api.add_run()
    cursor = encode(run.id)
    assert sqlite_api.get("/runs", cursor=cursor)["items"] == []
    sqlite_api.refused("GET", "/runs", "invalid_cursor", params={"cursor": changed.format(cursor)})


@pytest.mark.parametrize(
    ("path", "cursors"),
    [
        ("/inputs", ["", "MA", encode("x")]),
        ("/audit", ["", "MA", encode("x")]),
        ("/gates", ["", "MA", encode("x/y"), encode(ids.new_id()), encode(f"{ids.new_id()}/")]),
        ("/cost", ["", "MA", encode("workflow/x")]),
        ("/runs/{run}/deliveries", ["", "MA", encode("x")]),
        ("/runs/{run}/artifacts", ["", "AAAA"]),
        ("/runs/{run}/jobs?attempt=1", ["", encode("-1"), encode("01"), encode(ids.new_id())]),
        ("/runs/{run}/jobs", ["", encode(f"{ids.new_id()}/1")]),
    ],
)
def test_every_listing_refuses_a_cursor_that_is_not_its_own(sqlite_api: Api, path: str, cursors: list[str]) -> None:
    run = sqlite_api.add_run()
    sqlite_api.end(run)
    sqlite_api.add_attempt(run)
    joint = "&" if "?" in path else "?"
    for cursor in cursors:
        sqlite_api.refused("GET", f"{path.format(run=run.id)}{joint}cursor={cursor}", "invalid_cursor")


@pytest.mark.parametrize("path", ["", "/attempts", "/attempts/1", "/jobs", "/jobs/1", "/jobs/1/log", "/log", "/rules"])
@pytest.mark.parametrize("run_id", ["0198c5b2-7d30-7c4e-9a55-0f6a3f1c2d10", "x", "..", "%00"])
def test_a_run_that_is_not_there_is_not_found(sqlite_api: Api, run_id: str, path: str) -> None:
    if run_id != "..":  # the client itself resolves dots
        sqlite_api.refused("GET", f"/runs/{run_id}{path}", "run_not_found")


@pytest.mark.parametrize(
    "method_and_path", ["DELETE ", "POST /cancel", "POST /rerun", "GET /events", "GET /artifacts/x"]
)
def test_nothing_can_be_done_to_a_run_that_is_not_there(sqlite_api: Api, method_and_path: str) -> None:
    method, path = method_and_path.split(" ")
    sqlite_api.refused(method, f"/runs/{ids.new_id()}{path}", "run_not_found")


def test_a_queued_run_is_cancelled_at_once(api: Api) -> None:
    run = api.add_run()
    cancelled = api.post(f"/runs/{run.id}/cancel", status=202)
    assert cancelled["state"] == "cancelled"
    assert cancelled["stop_requested_at"] is not None
    api.refused("POST", f"/runs/{run.id}/cancel", "run_ended")


def test_a_running_run_is_asked_to_stop(api: Api) -> None:
    run = api.add_run()
    api.move(api.newest(run).id, AttemptState.STARTING, AttemptState.RUNNING)
    assert api.post(f"/runs/{run.id}/cancel", status=202)["state"] == "running"
    first = api.get(f"/runs/{run.id}")["stop_requested_at"]
    assert first is not None
    assert api.post(f"/runs/{run.id}/cancel", status=202)["stop_requested_at"] == first


def test_only_an_ended_run_is_deleted(api: Api) -> None:
    run = api.add_run()
    file = api.write_file(run, "results/a.txt", b"a")
    api.refused("DELETE", f"/runs/{run.id}", "run_active")
    api.end(run)
    response = api.request("DELETE", f"/runs/{run.id}")
    assert (response.status_code, response.content) == (204, b"")
    assert not file.exists()
    api.refused("GET", f"/runs/{run.id}", "run_not_found")
    api.refused("DELETE", f"/runs/{run.id}", "run_not_found")


def submitted(api: Api, **body: Any) -> RunRow:
    run_id = api.post("/runs", {"workflow": "plain", **body}, status=201)["id"]
    with api.store.read() as tx:
        run = tx.get(RunRow, run_id)
    assert run is not None
    return run


def test_an_ended_run_is_run_again(api: Api) -> None:
    run = submitted(api, config={"a": 1})
    api.refused("POST", f"/runs/{run.id}/rerun", "run_active", json={})
    api.end(run, AttemptState.FAILED)
    change = {"set_resources": {"all": {"mem_mb": 4000}}, "config": {"a": 2}, "forcerun": ["all"]}
    answer = api.post(f"/runs/{run.id}/rerun", change, status=202)
    assert answer["run"]["state"] == "queued"
    assert answer["run"]["config"] == {"a": 2}
    attempt = answer["attempt"]
    assert (attempt["number"], attempt["reason"], attempt["state"], attempt["plan"]) == (2, "rerun", "queued", None)
    assert attempt["overrides"]["set_resources"] == {"all": {"mem_mb": 4000}}
    assert api.get(f"/runs/{run.id}/attempts/2") == attempt


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_that_is_asked_again_keeps_what_it_was_asked_with(api: Api, dry_run: bool) -> None:
    run = submitted(api, config={"a": 1}, dry_run=dry_run)
    api.end(run)
    again = api.post(f"/runs/{run.id}/rerun", {"dry_run": True, "config": {"a": 2}}, status=202)["run"]
    assert (again["dry_run"], again["config"]) == ((True, {"a": 2}) if dry_run else (False, {"a": 1}))


def test_a_rerun_needs_no_body(api: Api) -> None:
    run = submitted(api)
    api.end(run, AttemptState.FAILED)
    response = api.request("POST", f"/runs/{run.id}/rerun")
    assert response.status_code == 202, response.text
    assert response.json()["attempt"]["overrides"]["forceall"] is False


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"unknown": 1}, "invalid_request", "unknown"),
        ({"workflow": "plain"}, "invalid_request", "workflow"),
        ({"target": 1}, "invalid_request", "target"),
        ({"target": "nowhere"}, "target_not_found", None),
        ({"target": "bad"}, "invalid_target", None),
        ({"set_threads": {"all": "2"}}, "invalid_request", "set_threads"),
    ],
)
def test_a_rerun_that_cannot_be_carried_out_is_refused(
    sqlite_api: Api, body: Any, code: str, field: str | None
) -> None:
    run = submitted(sqlite_api)
    sqlite_api.end(run)
    problem = sqlite_api.refused("POST", f"/runs/{run.id}/rerun", code, json=body)
    assert problem.get("field") == field or field is None
    assert len(sqlite_api.get(f"/runs/{run.id}/attempts")["items"]) == 1
