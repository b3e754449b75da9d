"""Submitting and re-running, against a stand-in server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import RUN_ID, attempt, run
from tests.unit.test_client_stand_in import StandIn, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


class TestSubmit:
    def body(self, server: StandIn, call: Call, *args: str) -> Any:
        server.on("POST", "/runs", reply(run(state="queued"), 201))
        code, out, err = call("submit", *args)
        assert (code, out, err) == (0, f"{RUN_ID}\n", "")
        return server.requests[-1].body

    def test_the_least(self, server: StandIn, call: Call) -> None:
        assert self.body(server, call, "quickstart") == {
            "workflow": "quickstart",
            "target": "local",
            "config": {},
            "set_resources": {},
            "set_threads": {},
            "targets": [],
            "until": [],
            "forcerun": [],
            "forceall": False,
            "labels": {},
            "note": "",
            "dry_run": False,
        }

    def test_everything(self, server: StandIn, call: Call, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("a: {b: 1, c: 2}\nx: y\n")
        (tmp_path / "b.json").write_text('{"x": "z"}')
        body = self.body(
            server,
            call,
            *("w", "-t", "slurm", "--configfile", str(tmp_path / "a.yaml"), "--configfile", str(tmp_path / "b.json")),
            *(
                "-c",
                "a.b=7",
                "--config",
                "list=[1, two]",
                "--set-resources",
                "fit:mem_mb=100",
                "--set-threads",
                "fit=2",
            ),
            *("--until", "fit", "-R", "rows", "--forcerun", "x.txt", "-F", "-l", "k=v", "--note", "n", "-n"),
            *("--idempotency-key", "key", "--", "-odd", "results/a.txt"),
        )
        assert body == {
            "workflow": "w",
            "target": "slurm",
            "config": {"a": {"b": 7, "c": 2}, "x": "z", "list": [1, "two"]},
            "set_resources": {"fit": {"mem_mb": 100}},
            "set_threads": {"fit": 2},
            "targets": ["-odd", "results/a.txt"],
            "until": ["fit"],
            "forcerun": ["rows", "x.txt"],
            "forceall": True,
            "labels": {"k": "v"},
            "note": "n",
            "dry_run": True,
        }
        assert server.requests[-1].headers["Idempotency-Key"] == "key"

    def test_from_git(self, server: StandIn, call: Call) -> None:
        body = self.body(server, call, "--git", "https://h/r.git", "--ref", "v1", "--path", "p", "--", "t1", "t2")
        assert body["workflow"] == {"git": {"url": "https://h/r.git", "ref": "v1", "path": "p"}}
        assert body["targets"] == ["t1", "t2"]
        assert self.body(server, call, "--git", "u")["workflow"] == {"git": {"url": "u"}}

    def test_the_trace_of_the_caller(self, server: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRACEPARENT", "00-ab-cd-01")
        self.body(server, call, "w")
        assert server.requests[-1].headers["traceparent"] == "00-ab-cd-01"

    def test_on_a_terminal_it_says_what_to_do_next(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("POST", "/runs", reply(run(), 201))
        _, out, err = call("submit", "w")
        assert out == f"{RUN_ID}\n"
        assert f"snakeway show {SHORT} --follow" in err
        assert call("submit", "w", "-q")[1:] == (f"{RUN_ID}\n", "")

    def test_json(self, server: StandIn, call: Call) -> None:
        server.on("POST", "/runs", reply(run(), 201))
        assert json.loads(call("submit", "w", "--json")[1]) == run()


PLAN = {
    "total": 4,
    "by_rule": {"fit": 3, "all": 1},
    "jobs": [
        *(
            {"rule": "fit", "wildcards": {}, "reason": why, "output": [], "threads": 1, "resources": {}}
            for why in "aab"
        ),
        {"rule": "all", "wildcards": {}, "reason": "", "output": [], "threads": 1, "resources": {}},
    ],
    "truncated": False,
}


class TestRerun:
    def answer(self, server: StandIn, **changes: Any) -> None:
        made = attempt(number=2, reason="rerun", plan=PLAN, **changes)
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))

    def test_the_plan(self, server: StandIn, call: Call) -> None:
        self.answer(server)
        code, out, err = call("rerun", RUN_ID)
        assert (code, out, err) == (0, "fit\t3\ta (2 jobs); b\nall\t1\tno reason told\n", "")
        assert server.requests[-1].body["update_workflow"] is False
        assert not server.requests[-1].body.keys() & {"config", "target"}

    def test_the_plan_on_a_terminal(self, server: StandIn, call: Call, terminal: None) -> None:
        self.answer(server, dry_run=True)
        _, out, err = call("rerun", RUN_ID, "-n")
        assert out.splitlines()[0].split() == ["RULE", "JOBS", "WHY"]
        assert "would execute 4 jobs" in err

    def test_configuration_changes_that_of_the_run(self, server: StandIn, call: Call, tmp_path: Path) -> None:
        self.answer(server)
        (tmp_path / "c.json").write_text('{"batches": 5}')
        call("rerun", RUN_ID, "-c", "model.seed=9", "--configfile", str(tmp_path / "c.json"), "-t", "slurm", "--", "x")
        body = server.requests[-1].body
        assert body["config"] == {"batches": 5, "model": {"seed": 9, "kind": "ols"}}
        assert (body["target"], body["targets"]) == ("slurm", ["x"])

    def test_json(self, server: StandIn, call: Call) -> None:
        self.answer(server)
        said = json.loads(call("rerun", RUN_ID, "--json", "--update-workflow")[1])
        assert set(said) == {"run", "attempt"}
        assert server.requests[-1].body["update_workflow"] is True

    def test_a_dry_run_waits_for_its_plan(self, server: StandIn, call: Call) -> None:
        made = attempt(number=2, dry_run=True, plan=None)
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))
        server.on("GET", f"{BASE}/attempts/2", reply(made), reply({**made, "plan": PLAN, "state": "succeeded"}))
        assert call("rerun", RUN_ID, "--dry-run", "--follow")[1].startswith("fit\t3")
        assert not server.sent(f"{BASE}/events")

    def test_no_plan(self, server: StandIn, call: Call) -> None:
        made = attempt(number=2, plan=None, state="failed", error="MissingInputException in rule fit")
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))
        code, out, err = call("rerun", RUN_ID)
        assert (code, out) == (0, "")
        assert "MissingInputException" in err

    def test_a_dry_run_without_a_plan_has_failed(self, server: StandIn, call: Call) -> None:
        made = attempt(number=2, dry_run=True, plan=None, state="failed", error="MissingInputException in rule fit")
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))
        code, out, err = call("rerun", RUN_ID, "--dry-run")
        assert (code, out) == (1, "")
        assert "MissingInputException" in err

    def test_nothing_to_do(self, server: StandIn, call: Call, terminal: None) -> None:
        made = attempt(number=2, plan={"total": 0, "by_rule": {}, "jobs": [], "truncated": False})
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))
        assert call("rerun", RUN_ID)[2] == "Nothing to be done: every output is there and up to date.\n"
