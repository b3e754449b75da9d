"""Notifications, pruning and the audit over HTTP."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from snakeway import ids
from snakeway.app import Parts, create_app
from snakeway.errors import Forbidden, RunNotFound
from snakeway.model.attempt import AttemptState
from snakeway.model.delivery import DeliveryState
from snakeway.model.retention import Rule
from snakeway.model.user import User
from snakeway.model.webhook import Subscription
from snakeway.rows import RunRow, now
from snakeway.store import Store, deliveries
from tests.integration.test_api_fixtures import URL, Api, make_parts, write_catalog

pytest_plugins = ["tests.integration.test_api_fixtures"]

SERVERS, OWN = "https://server.example.org/T0/secret", "https://own.example.org/hook"


@pytest.fixture
def told(store_url: str, tmp_path: Path) -> Iterator[Api]:
    """An application that tells one webhook of all runs, and lets runs have their own below another address."""
    store = Store(store_url, 10, [Subscription(SERVERS)])
    store.migrate()
    settings = write_catalog(tmp_path).model_copy(update={"webhook_url_prefixes": ["https://own.example.org/"]})
    parts: Parts = make_parts(store, settings)
    app = create_app(parts)
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield Api(app, client, store, settings, parts.commands, parts.reads)
    store.close()


def test_what_is_sent_is_part_of_what_the_api_says(told: Api) -> None:
    body = {"workflow": "plain", "webhooks": [f"{OWN}?key=secret"], "labels": {"a": "1"}, "note": "x"}
    run_id = told.post("/runs", body, status=201)["id"]
    with told.store.read() as tx:
        rows = deliveries.list_(tx, run_id, None, 10).items
    run = told.get(f"/runs/{run_id}")
    for row in rows:
        message = json.loads(row.body)
        assert {name: run[name] for name in message["data"]} == message["data"]
        assert (message["id"], message["type"]) == (row.id, "run.queued")


def test_deliveries_are_listed_without_what_may_be_secret(told: Api) -> None:
    run_id = told.post("/runs", {"workflow": "plain", "webhooks": [f"{OWN}?key=secret"]}, status=201)["id"]
    items = told.get(f"/runs/{run_id}/deliveries")["items"]
    assert sorted(item["url"] for item in items) == [OWN, "https://server.example.org"]
    assert {(item["type"], item["state"], item["try_count"]) for item in items} == {("run.queued", "pending", 0)}
    with told.store.write() as tx:
        row = deliveries.claim(tx, now(), now(), set(), 1)[0]
        tried = {"at": now().isoformat(), "status": 204, "error": None, "took_s": 0.1}
        deliveries.note_try(tx, row, tried, DeliveryState.DELIVERED, None)
    seen = {item["state"]: item for item in told.get(f"/runs/{run_id}/deliveries")["items"]}
    assert seen["delivered"]["tries"][0]["status"] == 204
    assert seen["delivered"]["next_try_at"] is None
    first = told.get(f"/runs/{run_id}/deliveries", limit=1)
    second = told.get(f"/runs/{run_id}/deliveries", limit=1, cursor=first["next"])
    assert [first["items"][0]["id"], second["items"][0]["id"]] == [item["id"] for item in items]
    assert second["next"] is None
    assert "secret" not in str(told.get(f"/runs/{run_id}/deliveries")) + str(told.get(f"/runs/{run_id}"))


def test_deliveries_of_a_run_that_is_not_there_are_not_found(sqlite_api: Api) -> None:
    sqlite_api.refused("GET", f"/runs/{ids.new_id()}/deliveries", "run_not_found")
    sqlite_api.refused("GET", f"/runs/{sqlite_api.add_run().id}/deliveries", "invalid_cursor", params={"cursor": "%"})


@pytest.mark.parametrize(
    "webhooks",
    [["https://elsewhere.org/"], ["nonsense"], [f"{OWN}/{number}" for number in range(5)], "https://own.example.org/"],
)
def test_webhooks_that_are_not_allowed_are_refused(told: Api, webhooks: Any) -> None:
    problem = told.refused("POST", "/runs", "invalid_request", json={"workflow": "plain", "webhooks": webhooks})
    assert problem["field"] == "webhooks"
    assert told.get("/runs")["items"] == []


def test_by_default_no_run_may_have_a_webhook(sqlite_api: Api) -> None:
    problem = sqlite_api.refused("POST", "/runs", "invalid_request", json={"workflow": "plain", "webhooks": [OWN]})
    assert "takes no webhooks" in problem["detail"]


def old_run(api: Api, days: int = 31, **members: Any) -> RunRow:
    at = now() - timedelta(days=days)
    run = api.add_run(id=ids.new_id(int(at.timestamp() * 1000)), created_at=at, **members)
    api.end(run, AttemptState.FAILED)
    with api.store.write() as tx:
        row = tx.get(RunRow, run.id)
        assert row is not None
        row.ended_at = at
        tx.add(row)
    api.write_file(run, "results/a.txt", b"x" * 100)
    return run


def test_pruning_only_says_what_it_would_do_unless_told_otherwise(api: Api) -> None:
    run, young = old_run(api, labels={"a": "1"}), old_run(api, days=3)
    active = api.add_run()
    body = {"older_than": "30d", "states": ["failed"], "labels": {"a": "1"}, "workflow": "plain"}
    said = api.post("/prune", body, status=200)
    assert [(item["id"], item["removed"]) for item in said["items"]] == [(run.id, False)]
    assert said["size_bytes"] == said["items"][0]["size_bytes"] > 100
    assert said["next"] is None
    done = api.post("/prune", body | {"dry_run": False}, status=200)
    assert [(item["id"], item["removed"]) for item in done["items"]] == [(run.id, True)]
    assert {item["id"] for item in api.get("/runs")["items"]} == {young.id, active.id}
    assert not api.reads.directory(run.id).path.exists()


def test_pruning_goes_on_at_its_cursor(api: Api) -> None:
    made = [old_run(api, days=50 - number).id for number in range(3)]
    page = api.post("/prune", {"older_than": "1d", "limit": 2, "dry_run": False}, status=200)
    assert [item["id"] for item in page["items"]] == made[:2]
    last = api.post("/prune", {"older_than": "1d", "dry_run": False, "cursor": page["next"]}, status=200)
    assert ([item["id"] for item in last["items"]], last["next"]) == (made[2:], None)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_request", None),
        ({"older_than": "30"}, "invalid_request", "older_than"),
        ({"older_than": 30}, "invalid_request", "older_than"),
        ({"older_than": "30d", "states": ["running"]}, "invalid_request", "states"),
        ({"older_than": "30d", "states": ["done"]}, "invalid_request", "states[0]"),
        ({"older_than": "30d", "dry_run": 0}, "invalid_request", "dry_run"),
        ({"older_than": "30d", "limit": 501}, "invalid_request", "limit"),
        ({"older_than": "30d", "state": []}, "invalid_request", "state"),
        ({"older_than": "30d", "cursor": "%"}, "invalid_cursor", None),
        ({"older_than": "30d", "cursor": ""}, "invalid_cursor", None),
        ({"older_than": "30d", "cursor": "MA"}, "invalid_cursor", None),
    ],
)
def test_a_rule_that_makes_no_sense_removes_nothing(sqlite_api: Api, body: Any, code: str, field: str | None) -> None:
    run = old_run(sqlite_api)
    problem = sqlite_api.refused("POST", "/prune", code, json={"dry_run": False, **body})
    assert problem.get("field") == field or field is None
    assert sqlite_api.get(f"/runs/{run.id}")["id"] == run.id


def test_the_longest_time_there_is_names_nothing(sqlite_api: Api) -> None:
    old_run(sqlite_api)
    assert sqlite_api.post("/prune", {"older_than": "999999w"}, status=200)["items"] == []


def test_every_removal_leaves_a_line(api: Api) -> None:
    by_rule, by_hand = old_run(api, owner="ada"), old_run(api)
    api.post("/prune", {"older_than": "30d", "labels": {}, "limit": 1, "dry_run": False}, status=200)
    assert api.request("DELETE", f"/runs/{by_hand.id}").status_code == 204
    last, first = api.get("/audit")["items"]
    assert (first["action"], first["actor"], first["run_id"], first["owner"]) == ("prune", "local", by_rule.id, "ada")
    assert first["details"]["rule"] == {"older_than_s": 2592000.0, "states": [], "labels": {}, "workflow": None}
    assert (last["action"], last["run_id"], last["workflow"]) == ("delete", by_hand.id, "plain")
    assert last["details"]["size_bytes"] > 100
    assert "rule" not in last["details"]
    assert api.get("/audit", run=by_rule.id)["items"] == [first]
    page = api.get("/audit", limit=1)
    assert page["items"] == [last]
    assert api.get("/audit", limit=1, cursor=page["next"])["items"] == [first]


def test_a_removal_that_is_refused_leaves_no_line(api: Api) -> None:
    api.refused("DELETE", f"/runs/{api.add_run().id}", "run_active")
    assert api.get("/audit")["items"] == []


def test_who_is_no_administrator_removes_only_what_is_theirs_and_reads_no_audit(api: Api) -> None:
    ada, bob = User("ada"), User("bob")
    theirs, others = old_run(api, owner="ada"), old_run(api, owner="bob")
    api.add_run(owner="ada")
    pruned = api.commands.prune(ada, Rule(timedelta(days=1)), dry_run=False, cursor=None, limit=100)
    assert [item.run.id for item in pruned.items] == [theirs.id]
    assert api.get(f"/runs/{others.id}")["owner"] == "bob"
    with pytest.raises(Forbidden):
        api.reads.audit(bob, None, None, 10)
    with pytest.raises(RunNotFound):
        api.reads.deliveries(ada, others.id, None, 10)
