"""Commands that make room and tell of it, and the one about notifications, against a stand-in server."""

import json
from typing import Any

import pytest

from snakeway.cli import output
from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import OTHER_ID, RUN_ID, audit_line, delivery, pruned, run
from tests.unit.test_client_stand_in import StandIn, page, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


def answer(*runs: dict[str, Any], next_: str | None = None) -> Any:
    return reply({"items": list(runs), "size_bytes": sum(run["size_bytes"] for run in runs), "next": next_})


class TestPrune:
    def test_a_dry_run_asks_nobody_and_says_what_would_go(self, server: StandIn, call: Call) -> None:
        server.on("POST", "/prune", answer(pruned(), next_="c"), answer(pruned(id=OTHER_ID)))
        code, out, err = call(
            "prune", "--older-than", "30d", "-s", "failed", "--label", "a=b", "-w", "quickstart", "--dry-run"
        )
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            f"{id_}\tfailed\tquickstart\tlocal\t2026-01-02T03:05:05Z\t2048\tno" for id_ in (RUN_ID, OTHER_ID)
        ]
        rule = {"older_than": "30d", "states": ["failed"], "labels": {"a": "b"}, "workflow": "quickstart"}
        assert [request.body for request in server.requests] == [
            {**rule, "dry_run": True, "cursor": cursor} for cursor in (None, "c")
        ]

    def test_with_yes_they_are_removed_at_once(self, server: StandIn, call: Call) -> None:
        server.on("POST", "/prune", answer(pruned(removed=True)))
        assert call("prune", "--older-than", "30d", "--yes")[1].endswith("\t2048\tyes\n")
        assert [request.body["dry_run"] for request in server.requests] == [False]

    def test_nobody_to_ask_is_an_error(self, server: StandIn, call: Call) -> None:
        server.on("POST", "/prune", answer(pruned()))
        code, _, err = call("prune", "--older-than", "30d")
        assert (code, "--yes" in err) == (2, True)
        assert [request.body["dry_run"] for request in server.requests] == [True]

    def test_a_no_removes_nothing(
        self, server: StandIn, call: Call, terminal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.on("POST", "/prune", answer(pruned()))
        monkeypatch.setattr(output, "stdin_is_terminal", lambda: True)
        monkeypatch.setattr("typer.confirm", lambda *_, **__: (_ for _ in ()).throw(__import__("typer").Abort()))
        assert call("prune", "--older-than", "30d")[0] == 130
        assert [request.body["dry_run"] for request in server.requests] == [True]

    def test_a_yes_removes_what_was_shown(
        self, server: StandIn, call: Call, terminal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.on("POST", "/prune", answer(pruned()), answer(pruned(removed=True)))
        monkeypatch.setattr(output, "stdin_is_terminal", lambda: True)
        asked: list[str] = []
        monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text))
        code, out, err = call("prune", "--older-than", "30d")
        assert (code, asked) == (0, ["Remove 1 run (2.0 KiB) and all their files?"])
        assert SHORT in out
        assert err.strip() == "1 run (2.0 KiB) removed."

    def test_json(self, server: StandIn, call: Call) -> None:
        server.on("POST", "/prune", answer(pruned()))
        assert json.loads(call("prune", "--older-than", "30d", "-n", "--json")[1]) == [pruned()]

    def test_a_time_that_is_none_reaches_no_server(self, server: StandIn, call: Call) -> None:
        code, _, err = call("prune", "--older-than", "30", "--yes")
        assert (code, "--older-than" in err) == (2, True)
        assert server.requests == []


class TestAudit:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/audit", page(audit_line()))
        assert call("audit", "--run", RUN_ID) == (
            0,
            f"2026-01-03T03:04:05Z\tlocal\tprune\t{RUN_ID}\tquickstart\tlocal\tfailed\t2048\n",
            "",
        )
        assert ("run", RUN_ID) in server.requests[0].query

    def test_table_and_limit(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/audit", page(*[audit_line()] * 3, next_="c"))
        out = call("audit", "--limit", "2")[1]
        assert out.count(SHORT) == 2
        assert "2.0 KiB" in out

    def test_all_of_them_as_json(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/audit", page(audit_line(), next_="c"), page(audit_line(details={})))
        assert json.loads(call("audit", "--all", "--json")[1]) == [audit_line(), audit_line(details={})]

    def test_a_line_of_a_newer_server_lacks_something(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/audit", page(audit_line(details={})))
        assert call("audit")[0] == 0


class TestDeliveries:
    def test_lines(self, server: StandIn, call: Call) -> None:
        done = delivery(state="delivered", next_try_at=None, tries=[*delivery()["tries"], {**OK}])
        server.on("GET", f"{BASE}/deliveries", page(delivery(), done, delivery(tries=[])))
        out = [line.split("\t") for line in call("deliveries", RUN_ID)[1].splitlines()]
        assert out[0] == [
            delivery()["id"],
            "run.failed",
            "pending",
            "https://hooks.example.org",
            "2",
            "The receiver answered 503.",
            "2026-01-02T03:05:36Z",
            "2026-01-02T03:05:56Z",
        ]
        assert [line[5] for line in out] == ["The receiver answered 503.", "204", ""]

    def test_table_and_json(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", f"{BASE}/deliveries", page(delivery()))
        assert "pending" in call("deliveries", RUN_ID)[1]
        assert json.loads(call("deliveries", RUN_ID, "--json")[1]) == [delivery()]


OK = {"at": "2026-01-02T03:05:37Z", "status": 204, "error": None, "took_s": 0.01}


def test_submit_sends_webhooks(server: StandIn, call: Call) -> None:
    server.on("POST", "/runs", reply(run(), 201))
    assert call("submit", "quickstart", "--webhook", "https://a/", "--webhook", "https://b/")[0] == 0
    assert server.requests[0].body["webhooks"] == ["https://a/", "https://b/"]
    assert call("submit", "quickstart")[0] == 0
    assert "webhooks" not in server.requests[1].body
