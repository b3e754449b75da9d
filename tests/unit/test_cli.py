"""The commands against a stand-in server: what they send, print and return."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakeway import __version__, cli, errors
from snakeway.cli import failures, output
from snakeway.errors import SnakewayError
from tests.support.server import free_port
from tests.unit.test_client_stand_in import (
    OTHER_ID,
    RUN_ID,
    StandIn,
    artifact,
    attempt,
    file,
    frame,
    job,
    page,
    problem,
    reply,
    run,
    running,
    stream,
    target,
    text,
    workflow,
)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in list(os.environ):
        if name.startswith(("SNAKEWAY_", "TRACEPARENT")):
            monkeypatch.delenv(name)
    with running() as stand_in:
        monkeypatch.setenv("SNAKEWAY_URL", stand_in.url)
        stand_in.on("GET", BASE, reply(run()))
        yield stand_in


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(server: StandIn, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the command line; returns exit code, stdout, stderr."""

    def call(*args: str) -> tuple[int, str, str]:
        code = cli.main(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda **_: True)
    monkeypatch.setenv("COLUMNS", "100")


class TestErrors:
    @pytest.mark.parametrize("cls", errors.every_error(), ids=lambda cls: cls.__name__)
    def test_every_class_has_one_line_and_a_code(self, cls: type[SnakewayError], server: StandIn, call: Call) -> None:
        server.on("GET", BASE, problem(cls.code, 418, "what\nis\x1b[2J wrong", field="a.b"))
        code, out, err = call("show", RUN_ID)
        kinds = {
            errors.Invalid: 2,
            errors.NotFound: 4,
            errors.Unavailable: 5,
            errors.Unauthorized: 6,
            errors.Forbidden: 6,
            errors.Conflict: 7,
        }
        assert code == next((number for kind, number in kinds.items() if issubclass(cls, kind)), 1)
        assert out == ""
        assert err.startswith("snakeway: error: what is [2J wrong")
        assert err.endswith("(a.b)\n")
        assert err.count("\n") == 1

    @pytest.mark.parametrize("cls", errors.every_error(), ids=lambda cls: cls.__name__)
    def test_with_json_it_is_a_problem(self, cls: type[SnakewayError], server: StandIn, call: Call) -> None:
        server.on("GET", BASE, problem(cls.code, 418, "what", field="a.b"))
        code, out, err = call("show", RUN_ID, "--json")
        said = json.loads(err)
        assert (code, out) == (failures.exit_code(cls("x")), "")
        assert said["detail"].startswith("what")
        assert {**said, "detail": ""} == {
            "type": f"/problems/{cls.code}",
            "title": cls.title,
            "detail": "",
            "code": cls.code,
            "field": "a.b",
        }

    def test_no_server(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SNAKEWAY_URL", f"http://127.0.0.1:{free_port()}")
        code, _, err = call("runs")
        assert code == 5
        assert "snakeway serve" in err

    def test_a_bug_is_one_line_and_its_traceback_is_for_who_asks(
        self, server: StandIn, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.on("GET", BASE, reply({"not": "a run"}))
        code, _, err = call("show", RUN_ID)
        assert code == 1
        assert err == "snakeway: error: unexpected KeyError: 'id'; this is a bug: SNAKEWAY_DEBUG=1 shows where\n"
        monkeypatch.setenv("SNAKEWAY_DEBUG", "1")
        assert "Traceback" in call("show", RUN_ID)[2]

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["nonsense"], "No such command 'nonsense'"),
            (["runs", "--nonsense"], "--nonsense"),
            (["show"], "Missing argument"),
            (["runs", "--state", "nonsense"], "nonsense"),
            (["runs", "--limit", "0"], "--limit"),
            (["logs", RUN_ID, "--job", "x"], "--job"),
            (["show", "no"], "nor the end of one"),
            (["show", "nothexhex"], "nor the end of one"),
            (["submit"], "name a workflow"),
            (["submit", "one", "--ref", "x"], "--git"),
            (["submit", "one", "-c", "x"], "KEY=VALUE"),
            (["submit", "one", "--configfile", "/nonexistent"], "cannot read"),
            (["submit", "one", "--set-resources", "x"], "RULE:NAME=VALUE"),
            (["submit", "one", "--set-threads", "x"], "RULE=N"),
            (["submit", "one", "--label", "x"], "KEY=VALUE"),
            (["runs", "--since", "x"], "neither a span"),
            (["rm", RUN_ID], "needs --yes"),
        ],
    )
    @pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
    def test_wrong_use(self, as_json: bool, args: list[str], said: str, server: StandIn, call: Call) -> None:
        if as_json and args[0] == "logs":
            args = [*args[:2], "--json", *args[2:]]
        elif as_json:
            args = [*args, "--json"]
        code, out, err = call(*args)
        assert (code, out) == (2, "")
        assert said in (json.loads(err)["detail"] if as_json else err)
        assert err.count("\n") == 1
        assert all(request.method == "GET" for request in server.requests)

    def test_the_disk(self, server: StandIn, call: Call, tmp_path: Path) -> None:
        server.on("GET", f"{BASE}/artifacts", page(artifact(path="a/b")))
        server.on("GET", f"{BASE}/artifacts/a/b", file(b"x"))
        (tmp_path / "a").write_text("in the way")
        code, _, err = call("get", RUN_ID, "-o", str(tmp_path))
        assert code == 1
        assert err == f"snakeway: error: {tmp_path / 'a'}: File exists\n"


class TestWhichRun:
    def test_a_whole_id_is_not_looked_for(self, server: StandIn, call: Call) -> None:
        server.on("POST", f"{BASE}/cancel", reply(run(state="cancelled"), 202))
        assert call("cancel", RUN_ID)[:2] == (0, f"{RUN_ID}\tcancelled\n")
        assert [request.method for request in server.requests] == ["POST"]

    @pytest.mark.parametrize("words", [SHORT, SHORT[-5:], SHORT.upper(), RUN_ID[10:], f" {SHORT} "])
    def test_the_end_of_an_id(self, words: str, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run(id=OTHER_ID), next_="c"), page(run()))
        server.on("GET", f"{BASE}/attempts", page())
        code, out, _ = call("show", words)
        assert (code, out.splitlines()[0]) == (0, f"run\t{RUN_ID}")

    def test_an_end_of_several(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run(), run(id=OTHER_ID)))
        code, _, err = call("rm", "89ab", "--yes")
        assert code == 2
        assert RUN_ID in err
        assert OTHER_ID in err
        assert all(request.method == "GET" for request in server.requests)

    def test_no_such_end(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run()))
        assert call("show", "ffff")[0] == 4

    def test_the_last(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run()))
        server.on("GET", f"{BASE}/attempts", page())
        assert call("show", "last")[0] == 0
        assert dict(server.requests[0].query) == {"limit": "1"}
        server.on("GET", "/runs", page())
        assert call("show", "last")[0] == 4


class TestRuns:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run(note="a\tnote", labels={"b": "2", "a": "1"})))
        assert call("runs") == (
            0,
            f"{RUN_ID}\trunning\tquickstart\tlocal\t3/8\t0\t2026-01-02T03:04:05Z\t\ta=1,b=2\ta note\n",
            "",
        )

    def test_table(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/runs", page(run(state="failed", jobs={"total": 8, "done": 3, "failed": 1})))
        _, out, _ = call("runs")
        heading, line = out.splitlines()
        assert heading.split() == ["RUN", "STATE", "WORKFLOW", "TARGET", "JOBS", "FAILED", "CREATED", "TOOK", "LABELS"]
        assert line.startswith(f"{SHORT}  failed  quickstart  local    3/8       1  ")
        assert "\x1b" not in out

    def test_json_is_the_array(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run()))
        assert json.loads(call("runs", "--json")[1]) == [run()]
        server.on("GET", "/runs", page())
        assert call("runs", "--json")[1] == "[]\n"

    def test_filters(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page())
        words = "-s failed --state queued -w w -t t -l a=1 --owner me --since 2026-01-31T00:00:00Z --limit 7"
        assert call("runs", *words.split())[0] == 0
        assert sorted(server.requests[0].query) == [
            ("created_after", "2026-01-31T00:00:00Z"),
            ("label", "a=1"),
            ("limit", "7"),
            ("owner", "me"),
            ("state", "failed"),
            ("state", "queued"),
            ("target", "t"),
            ("workflow", "w"),
        ]

    def test_all_reads_every_page(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(run(), next_="c"), page(run(id=OTHER_ID)))
        assert call("runs", "--all", "-q")[1] == f"{RUN_ID}\n{OTHER_ID}\n"

    def test_a_limit_beyond_a_page(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/runs", page(*[run()] * 400, next_="c"))
        assert len(call("runs", "-q", "--limit", "700")[1].splitlines()) == 700

    def test_cancel_waits(self, server: StandIn, call: Call) -> None:
        server.on("POST", f"{BASE}/cancel", reply(run(), 202))
        server.on("GET", BASE, reply(run()), reply(run(state="cancelled")))
        assert call("cancel", RUN_ID)[1] == f"{RUN_ID}\tstopping\n"
        assert call("cancel", RUN_ID, "--wait")[1] == f"{RUN_ID}\tcancelled\n"
        assert json.loads(call("cancel", RUN_ID, "--json")[1]) == run()

    def test_rm(self, server: StandIn, call: Call) -> None:
        server.on("DELETE", BASE, lambda handler: handler.send(204, b"", {}))
        assert call("rm", RUN_ID, "--yes") == (0, f"{RUN_ID}\tremoved\n", "")
        assert json.loads(call("rm", RUN_ID, "-y", "--json")[1]) == {"id": RUN_ID, "removed": True}

    def test_rm_asks(self, server: StandIn, call: Call, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(output, "stdin_is_terminal", lambda: True)
        monkeypatch.setattr("typer.confirm", lambda *_, **__: (_ for _ in ()).throw(__import__("typer").Abort()))
        assert call("rm", RUN_ID)[0] == 130
        assert all(request.method == "GET" for request in server.requests)


class TestShow:
    def attempts(self, server: StandIn) -> None:
        first = attempt(state="failed", exit_code=1, error="1 of 3 jobs failed.", ended_at="2026-01-02T03:05:05Z")
        again = attempt(
            number=2,
            reason="rerun",
            config={"batches": 3, "model": {"seed": 1}},
            overrides={**attempt()["overrides"], "set_resources": {"fit": {"mem_mb": 1}}},
        )
        server.on("GET", f"{BASE}/attempts", page(first, again))
        server.on("GET", f"{BASE}/rules", page({"rule": "fit", "states": {"failed": 1, "succeeded": 2}}))

    def test_lines(self, server: StandIn, call: Call) -> None:
        self.attempts(server)
        lines = [line.split("\t") for line in call("show", RUN_ID)[1].splitlines()]
        assert lines[0] == ["run", RUN_ID]
        assert ["config", '{"batches":2,"model":{"seed":1,"kind":"ols"}}'] in lines
        assert lines[-2][:8] == ["attempt", "1", "failed", "submit", "local", "3/8", "0", "1"]
        assert lines[-2][-2:] == ["1 of 3 jobs failed.", "fit (3)"]

    def test_side_by_side(self, server: StandIn, call: Call, terminal: None) -> None:
        self.attempts(server)
        server.on("GET", BASE, reply(run(state="failed")))
        _, out, err = call("show", RUN_ID)
        lines = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
        assert lines["ATTEMPT"] == ["1", "2"]
        assert lines["why"] == ["submit", "rerun"]
        assert lines["executed"] == ["fit", "(3)", "fit", "(3)"]
        assert "batches=3" in out
        assert "no model.kind" in out
        assert "set_resources" in out
        assert f"snakeway rerun {SHORT}" in err

    def test_a_narrow_window_shows_the_newest(
        self, server: StandIn, call: Call, terminal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.attempts(server)
        monkeypatch.setenv("COLUMNS", "50")
        _, out, err = call("show", RUN_ID)
        assert ["ATTEMPT", "2"] in [line.split() for line in out.splitlines()]
        assert "wider window" in err

    def test_json(self, server: StandIn, call: Call) -> None:
        self.attempts(server)
        shown = json.loads(call("show", RUN_ID, "--json")[1])
        assert shown["id"] == RUN_ID
        assert [found["number"] for found in shown["attempts"]] == [1, 2]


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


class TestFollow:
    def end(self, server: StandIn, state: str, **changes: Any) -> None:
        ended = run(state=state, ended_at="2026-01-02T03:05:00Z", **changes)
        job_event = {"type": "job", "seq": 1, "t": 1767323050, "attempt": 1, "job": 1, "rule": "fit", "local": True}
        failed = {**job_event, "type": "job_failed", "exit_code": 1, "message": "broke", "log_tail": "a\nlast words"}
        frames = [frame("run", run()), frame("job", job_event, "1:9")]
        if state == "failed":
            frames.append(frame("job_failed", failed, "1:10"))
        server.on("GET", f"{BASE}/events", stream(*frames, frame("end", ended)))
        server.on("POST", "/runs", reply(run(state="queued"), 201))

    @pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)])
    def test_the_exit_code_is_the_run_s(self, state: str, code: int, server: StandIn, call: Call) -> None:
        self.end(server, state)
        assert call("submit", "w", "-f")[0] == code
        assert call("show", RUN_ID, "-f")[0] == code

    def test_stdout_has_the_id_only(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        _, out, err = call("submit", "w", "-f")
        assert out == f"{RUN_ID}\n"
        lines = [line.split("\t") for line in err.splitlines()]
        assert [line[1:3] for line in lines] == [
            [f"run {RUN_ID}", "running"],
            ["job 1/1", "running"],
            [f"run {RUN_ID}", "succeeded"],
        ]
        assert {len(line) for line in lines} == {4}

    def test_show_tells_on_stdout(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        _, out, err = call("show", RUN_ID, "-f")
        assert len(out.splitlines()) == 3
        assert err == ""

    def test_json_is_one_event_per_line(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        events = [json.loads(line) for line in call("submit", "w", "-f", "--json")[1].splitlines()]
        assert [event["event"] for event in events] == ["run", "run", "job", "end"]
        assert [event["id"] for event in events] == [None, None, "1:9", None]
        assert events[-1]["data"]["state"] == "succeeded"

    def test_quiet(self, server: StandIn, call: Call) -> None:
        self.end(server, "failed")
        assert call("submit", "w", "-f", "-q") == (1, f"{RUN_ID}\n", "")

    def test_a_terminal_sees_what_failed_and_what_to_do(self, server: StandIn, call: Call, terminal: None) -> None:
        self.end(server, "failed", error="1 of 8 jobs failed: fit (1).")
        code, out, err = call("submit", "w", "-f")
        assert (code, out) == (1, f"{RUN_ID}\n")
        assert "job 1/1 failed  fit: exit code 1: broke" in err
        assert "1 of 8 jobs failed: fit (1)." in err
        assert "    last words" in err
        assert f"snakeway logs {SHORT} --job 1" in err
        assert f"snakeway rerun {SHORT}" in err

    def test_a_rerun_is_followed_from_its_own_attempt_on(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": attempt(number=3, plan=PLAN)}, 202))
        assert call("rerun", RUN_ID, "-f")[0] == 0
        assert server.requests[-1].headers["Last-Event-ID"] == "3:0"

    def test_ctrl_c_detaches(self, server: StandIn) -> None:
        def wait(handler: Any) -> None:
            os.kill(process.pid, signal.SIGINT)
            stream(*[frame("run", run())] * 2)(handler)

        server.on("GET", f"{BASE}/events", wait)
        server.on("POST", "/runs", reply(run(), 201))
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from snakeway.cli import main; sys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "submit", "w", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, f"{RUN_ID}\n")
        assert "the run goes on" in err
        assert f"snakeway cancel {SHORT}" in err
        assert [request.method for request in server.requests] == ["POST", "GET"]


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

    def test_nothing_to_do(self, server: StandIn, call: Call, terminal: None) -> None:
        made = attempt(number=2, plan={"total": 0, "by_rule": {}, "jobs": [], "truncated": False})
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": made}, 202))
        assert call("rerun", RUN_ID)[2] == "Nothing to be done: every output is there and up to date.\n"


class TestJobs:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt(), attempt(number=2), attempt(number=3, dry_run=True)))
        server.on("GET", f"{BASE}/jobs", page(job(message="a\nb", state="failed", exit_code=1)))
        assert call("jobs", RUN_ID)[1] == (
            "1\t5\tfailed\tfit\tspecies=Adelie\t1\t1\t2026-01-02T03:04:06Z\t2026-01-02T03:04:16Z\t"
            "2026-01-02T03:05:36Z\t\t1\t\ta b\n"
        )
        assert dict(server.requests[-1].query)["attempt"] == "2"

    def test_filters(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs", page())
        call("jobs", RUN_ID, "--attempt", "1", "--failed", "-s", "running", "-r", "fit")
        assert sorted(server.requests[-1].query) == [
            ("attempt", "1"),
            ("limit", "200"),
            ("rule", "fit"),
            ("state", "failed"),
            ("state", "lost"),
            ("state", "running"),
        ]
        call("jobs", RUN_ID, "--all")
        assert server.requests[-1].query == [("limit", "200")]

    def test_failures_come_with_the_end_of_the_log(self, server: StandIn, call: Call, terminal: None) -> None:
        failed = job(state="failed", message="it broke", log_tail="one\n  two\x1b[2J\n")
        server.on("GET", f"{BASE}/jobs", page(failed))
        _, out, _ = call("jobs", RUN_ID, "--failed", "--attempt", "1")
        assert "job 5 fit: it broke\n    one\n      two [2J\n" in out
        assert f"snakeway logs {SHORT} --job 5 --attempt 1" in out

    def test_json(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs", page(job()))
        assert json.loads(call("jobs", RUN_ID, "--json", "--all")[1]) == [job()]


class TestLogs:
    def test_as_it_is(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/log", file(b"one\n\x1b[31mtwo"))
        assert call("logs", RUN_ID, "--attempt", "2", "--tail", "5")[1] == "one\n\x1b[31mtwo"
        assert dict(server.requests[-1].query) == {"attempt": "2", "tail": "5"}

    def test_of_a_job(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs/3/log", file(b"log\n"))
        assert call("logs", RUN_ID, "-j", "3")[1] == "log\n"
        said = json.loads(call("logs", RUN_ID, "-j", "3", "--json")[1])
        assert said == {"run": RUN_ID, "attempt": None, "job": 3, "text": "log\n"}

    def growing(self, server: StandIn) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt()))
        server.on("GET", BASE, reply(run()), reply(run()), reply(run(state="succeeded")))
        server.on(
            "GET",
            f"{BASE}/log",
            problem("log_not_found", 404, "not yet"),
            file(b"one\ntwo\n"),
            problem("store_busy", 503, "locked"),
            file(b"one\ntwo\nthree\n"),
        )

    def test_following(self, server: StandIn, call: Call) -> None:
        self.growing(server)
        assert call("logs", RUN_ID, "-f")[:2] == (0, "one\ntwo\nthree\n")
        assert server.sent(f"{BASE}/log")[-1].headers["Range"] == "bytes=8-"

    def test_following_as_json(self, server: StandIn, call: Call) -> None:
        self.growing(server)
        lines = [json.loads(line)["text"] for line in call("logs", RUN_ID, "-f", "--json")[1].splitlines()]
        assert lines == ["one", "two", "three"]

    @pytest.mark.parametrize(
        ("log", "lines", "shown"),
        [
            (b"1\n2\n3\n", 2, "2\n3\n"),
            (b"1\n2\n3", 2, "2\n3"),
            (b"1\n2\n3\n", 3, "1\n2\n3\n"),
            (b"1\n2\n3\n", 9, "1\n2\n3\n"),
            (b"1\n2\n3\n", 0, ""),
            (b"", 2, ""),
            (b"\n\n\n", 2, "\n\n"),
            (b"x" * 70_000 + b"\n" + b"y" * 70_000 + b"\nz\n", 2, "y" * 70_000 + "\nz\n"),
        ],
    )
    def test_following_from_the_tail(self, log: bytes, lines: int, shown: str, server: StandIn, call: Call) -> None:
        server.on("GET", BASE, reply(run(state="succeeded")))
        server.on("GET", f"{BASE}/attempts", page(attempt()))
        server.on("GET", f"{BASE}/log", file(log))
        assert call("logs", RUN_ID, "-f", "--tail", str(lines))[1] == shown

    def test_the_next_attempt_is_followed_too(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt()), page(attempt(), attempt(number=2)))
        server.on("GET", BASE, reply(run(state="succeeded")))
        server.on("GET", f"{BASE}/log", file(b"first\n"), file(b"second\n"))
        code, out, err = call("logs", RUN_ID, "-f")
        assert (code, out, err) == (0, "first\nsecond\n", "--- attempt 2 ---\n")

    def test_a_job_is_followed_to_its_own_end(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs/5", reply(job(state="running")), reply(job()))
        server.on("GET", f"{BASE}/jobs/5/log", file(b"a\n"), file(b"a\nb\n"))
        assert call("logs", RUN_ID, "-f", "-j", "5", "--attempt", "1")[1] == "a\nb\n"

    def test_a_server_that_is_away_is_not_waited_for(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SNAKEWAY_URL", f"http://127.0.0.1:{free_port()}")
        assert call("logs", RUN_ID, "-f", "--attempt", "1")[0] == 5

    def test_no_log_ever(self, server: StandIn, call: Call) -> None:
        server.on("GET", BASE, reply(run(state="cancelled")))
        server.on("GET", f"{BASE}/log", problem("log_not_found", 404, "nothing was written"))
        assert call("logs", RUN_ID, "-f", "--attempt", "1")[0] == 4


class TestArtifacts:
    DATA = b"x" * 2048
    SHA = hashlib.sha256(DATA).hexdigest()

    def serve(self, server: StandIn, *paths: str) -> None:
        server.on("GET", f"{BASE}/artifacts", page(*(artifact(path=path, sha256=self.SHA) for path in paths)))
        for path in paths:
            server.on("GET", f"{BASE}/artifacts/{path}", file(self.DATA))

    def test_lines(self, server: StandIn, call: Call) -> None:
        self.serve(server, "results/a.csv")
        expected = f"results/a.csv\t2048\ttable\t1\t3\t2026-01-02T03:05:36Z\t{self.SHA}\n"
        assert call("artifacts", RUN_ID)[1] == expected
        assert json.loads(call("artifacts", RUN_ID, "--json")[1])[0]["path"] == "results/a.csv"

    def test_table(self, server: StandIn, call: Call, terminal: None) -> None:
        self.serve(server, "results/a.csv")
        assert "results/a.csv  2.0 KiB  table" in call("artifacts", RUN_ID)[1]

    def test_all_below_a_folder_of_its_own(
        self, server: StandIn, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.serve(server, "results/a.csv", "b.csv")
        assert call("get", RUN_ID)[:2] == (
            0,
            f"downloaded\t{SHORT}/results/a.csv\ndownloaded\t{SHORT}/b.csv\n",
        )
        assert (tmp_path / SHORT / "results" / "a.csv").read_bytes() == self.DATA

    def test_what_is_there_is_left_alone_and_what_differs_is_replaced(
        self, server: StandIn, call: Call, tmp_path: Path
    ) -> None:
        self.serve(server, "a", "b", "c")
        (tmp_path / "a").write_bytes(self.DATA)
        (tmp_path / "b").write_bytes(b"y" * 2048)
        out = call("get", RUN_ID, "-o", str(tmp_path), "--json")[1]
        assert [entry["state"] for entry in json.loads(out)] == ["present", "downloaded", "downloaded"]
        assert (tmp_path / "b").read_bytes() == self.DATA
        assert not server.sent(f"{BASE}/artifacts/a")

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (["results/a.csv"], ["results/a.csv"]),
            (["./results/a.csv"], ["results/a.csv"]),
            (["results"], ["results/a.csv", "results/deep/b.txt"]),
            (["results/"], ["results/a.csv", "results/deep/b.txt"]),
            (["*.csv"], ["results/a.csv", "c.csv"]),
            (["results/*", "c.csv", "results/a.csv"], ["results/a.csv", "results/deep/b.txt", "c.csv"]),
        ],
    )
    def test_choosing(self, wanted: list[str], found: list[str], server: StandIn, call: Call, tmp_path: Path) -> None:
        self.serve(server, "results/a.csv", "results/deep/b.txt", "c.csv")
        out = call("get", RUN_ID, *wanted, "-o", str(tmp_path))[1]
        assert [line.split("\t")[1] for line in out.splitlines()] == [str(tmp_path / path) for path in found]

    def test_what_is_not_there(self, server: StandIn, call: Call, tmp_path: Path) -> None:
        self.serve(server, "results/a.csv")
        code, _, err = call("get", RUN_ID, "results/a.csv", "nothing", "-o", str(tmp_path / "new"))
        assert code == 4
        assert "'nothing'" in err
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "..", "", ".", "a\nb", "link/x", "a\0b", "a\x1bb"])
    def test_hostile_paths_are_refused_before_anything_is_written(
        self, path: str, server: StandIn, call: Call, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "link").symlink_to(tmp_path)
        server.on("GET", f"{BASE}/artifacts", page(artifact(path="good"), artifact(path=path)))
        code, _, err = call("get", RUN_ID, "-o", str(tmp_path / "out"))
        assert code == 1
        assert "refusing to write" in err
        assert {entry.name for entry in tmp_path.rglob("*")} == {"out", "link"}

    def test_on_a_terminal_with_a_bar(self, server: StandIn, call: Call, terminal: None, tmp_path: Path) -> None:
        self.serve(server, "a")
        assert call("get", RUN_ID, "-o", str(tmp_path))[0] == 0
        assert (tmp_path / "a").read_bytes() == self.DATA


class TestCatalog:
    def test_workflows(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/workflows", page(workflow(), workflow(name="b", error="line 3: broken")))
        assert call("workflows")[1] == (
            "quickstart\tFits a line.\tsha256:10e67f9378650123456789\t\n"
            "b\tFits a line.\tsha256:10e67f9378650123456789\tline 3: broken\n"
        )
        assert len(json.loads(call("workflows", "--json")[1])) == 2

    def test_the_configuration_of_one(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/workflows/quickstart", reply(workflow()))
        _, out, _ = call("workflows", "quickstart")
        lines = [line.split() for line in out.splitlines()]
        assert ["batches", "integer", "12", "yes", "Jobs."] in lines
        assert ["model.seed", "integer", "1"] in lines

    @pytest.mark.parametrize(
        ("schema", "defaults", "lines"),
        [
            (None, {}, ""),
            ({"type": "object"}, {"a": True}, "a\tboolean\ttrue\tno\t\n"),
            ({"properties": {"a": {"type": ["string", "null"]}}}, {}, "a\tstring or null\t\tno\t\n"),
            ({"properties": {"a": {"enum": ["x", 1]}}}, {"a": ["l"]}, 'a\tone of x, 1\t["l"]\tno\t\n'),
            ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, "a.b\tinteger\t1\tno\t\n"),
            ({"properties": [1], "required": "x"}, {"a": None}, "a\t\t\tno\t\n"),
            ({"properties": {"a": True}}, {"a": {}}, "a\t\t{}\tno\t\n"),
        ],
    )
    def test_odd_schemas(self, schema: Any, defaults: Any, lines: str, server: StandIn, call: Call) -> None:
        server.on("GET", "/workflows/x", reply(workflow(schema=schema, defaults=defaults)))
        assert call("workflows", "x")[1] == lines

    def test_targets(self, server: StandIn, call: Call) -> None:
        server.on("GET", "/targets", page(target(), target(name="slurm", executor="slurm", error="no such file")))
        assert call("targets")[1] == "local\tlocal\tThis machine.\t\nslurm\tslurm\tThis machine.\tno such file\n"


class TestProgram:
    """The program as a process of its own."""

    def start(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakeway", *args],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_version(self) -> None:
        assert self.start("--version").stdout == f"snakeway {__version__}\n"

    @pytest.mark.parametrize("args", [["--help"], ["-h"], []])
    def test_help(self, args: list[str]) -> None:
        done = self.start(*args)
        assert done.returncode == 0
        for command in cli.commands():
            assert f"\n  {command} " in done.stdout

    @pytest.mark.parametrize("command", cli.commands())
    def test_every_command_has_help(self, command: str, call: Call) -> None:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert out.startswith(f"Usage: snakeway {command}")
        assert len(out.split("Options:")[0].strip().splitlines()) >= 3
        undescribed = [line for line in out.splitlines() if line.startswith("  -") and len(line.split("  ")) < 3]
        assert not undescribed or all(len(line) > 20 for line in undescribed)

    def test_start_imports_nothing_heavy(self) -> None:
        heavy = ("httpx", "pydantic", "sqlmodel", "litestar", "snakemake", "yaml", "opentelemetry.sdk", "rich")
        code = (
            "import sys; from snakeway.cli import main; main(['--help']); "
            f"print([name for name in {heavy!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_reader_that_stops_is_no_error(self, server: StandIn) -> None:
        server.on("GET", "/runs", page(*[run(note="x" * 1000)] * 400))
        script = f"{sys.executable} -m snakeway runs --limit 400 | head -1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        line, code = done.stdout.splitlines()
        assert line.startswith(RUN_ID)
        assert (code, done.stderr) == ("141", "")

    def test_odd_text_in_a_poor_locale(self, server: StandIn) -> None:
        server.on("GET", "/runs", text('{{"items": [{}], "next": null}}'.format(json.dumps(run(note="ü \ud800 €")))))
        done = self.start("runs", LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
        assert done.returncode == 0
        assert done.stdout.endswith("\t\\xfc \\ud800 \\u20ac\n")

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("snakeway sub", {"submit"}),
            ("snakeway show ", {"last", SHORT}),
            ("snakeway runs --state f", {"failed"}),
            ("snakeway submit ", {"quickstart"}),
            ("snakeway submit --target l", {"local"}),
        ],
    )
    def test_completion(self, words: str, expected: set[str], server: StandIn) -> None:
        server.on("GET", "/runs", page(run()))
        server.on("GET", "/workflows", page(workflow()))
        server.on("GET", "/targets", page(target()))
        assert self.complete(words) == expected

    def test_completion_without_a_server_is_silent(self) -> None:
        assert self.complete("snakeway submit ", SNAKEWAY_URL=f"http://127.0.0.1:{free_port()}") == set()
        assert self.complete("snakeway show ", SNAKEWAY_URL="nonsense") == {"last"}

    def complete(self, words: str, **env: str) -> set[str]:
        count = str(len(words.split(" ")) - 1)
        done = self.start(_SNAKEWAY_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count, **env)
        assert (done.returncode, done.stderr) == (0, "")
        return set(done.stdout.split())

    def test_completion_can_be_installed(self, tmp_path: Path) -> None:
        done = self.start("--show-completion", HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="")
        assert "Traceback" not in done.stderr


def test_commands_are_those_of_the_app() -> None:
    assert cli.commands() == [
        *(
            "submit",
            "runs",
            "show",
            "jobs",
            "logs",
            "rerun",
            "cancel",
            "artifacts",
            "get",
            "rm",
            "workflows",
            "targets",
        ),
        *("doctor", "serve", "supervise", "migrate"),
    ]
