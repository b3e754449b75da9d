"""The program: help, completion, what goes wrong, which run is meant."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakeway import __version__, cli, errors
from snakeway.cli import failures
from snakeway.errors import SnakewayError
from tests.support.server import free_port
from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import OTHER_ID, RUN_ID, artifact, run, target, workflow
from tests.unit.test_client_stand_in import StandIn, file, page, problem, reply, text

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


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
        heavy = (
            "httpx",
            "pydantic",
            "sqlmodel",
            "litestar",
            "snakemake",
            "yaml",
            "opentelemetry.sdk",
            "rich",
            "botocore",
        )
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
            "efficiency",
            "cost",
            "rerun",
            "cancel",
            "gates",
            "approve",
            "reject",
            "artifacts",
            "get",
            "upload",
            "inputs",
            "rm",
            "prune",
            "audit",
            "deliveries",
            "status",
            "import",
            "workflows",
            "targets",
        ),
        *("doctor", "gate", "serve", "supervise", "migrate"),
    ]
