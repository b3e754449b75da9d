"""Commands about runs and their jobs, against a stand-in server."""

import json
from typing import Any, ClassVar

import pytest

from snakeway.cli import output
from snakeway.cli.cure import hint_at_names, hint_at_rerun
from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import OTHER_ID, RUN_ID, attempt, cost, job, run, run_cost
from tests.unit.test_client_stand_in import StandIn, page, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


def hints(
    capsys: pytest.CaptureFixture[str], failure: str, source: str = "catalog", *, dry_run: bool = False
) -> list[str]:
    failed: Any = attempt(failure={"kind": failure}, suggestion=None, dry_run=dry_run)
    found: Any = run(source={"kind": source}, dry_run=dry_run)
    hint_at_rerun(found, [failed])
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("kind", "again"),
    [("catalog", f"snakeway rerun {SHORT} --update-workflow"), ("bundle", "snakeway submit ./FOLDER")],
)
def test_a_missing_input_may_be_uploaded(kind: str, again: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = hints(capsys, "missing_input", kind)
    assert first.startswith(f"{again} ")
    assert "--input KEY=FILE" in second


@pytest.mark.parametrize("kind", ["catalog", "git"])
def test_what_is_mended_may_be_the_workflow(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = hints(capsys, "exit_code", kind)
    assert first.startswith(f"snakeway rerun {SHORT} ")
    assert second.startswith(f"snakeway rerun {SHORT} --update-workflow ")


def test_nothing_has_to_be_mended_after_a_cancel(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("--update-workflow" in hint for hint in hints(capsys, "cancelled"))


@pytest.mark.parametrize("source", ["catalog", "bundle"])
@pytest.mark.parametrize("failure", ["missing_input", "invalid_workflow", "invalid_config", "unknown"])
def test_a_dry_run_is_not_followed_by_a_real_one(failure: str, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = hints(capsys, failure, source, dry_run=True)
    assert told
    assert all(" --dry-run    " in hint for hint in told)


def test_a_question_about_a_run_does_not_hide_what_cures_it(capsys: pytest.CaptureFixture[str]) -> None:
    failed: Any = attempt(suggestion={"set_resources": {"fit": {"mem_mb": 4}}})
    question: Any = attempt(dry_run=True, suggestion=None)
    found: Any = run()
    hint_at_rerun(found, [failed, question])
    assert "--apply-suggestions" in capsys.readouterr().err


class TestNamesOfRules:
    GRAPH: ClassVar[Any] = {"nodes": [{"rule": "fit"}, {"rule": "gather"}], "links": []}

    def told(self, capsys: pytest.CaptureFixture[str], **values: Any) -> str:
        overrides = {**attempt()["overrides"], "set_resources": {"fitt": {"mem_mb": 4}}, "set_threads": {"gather": 2}}
        asked: Any = attempt(**{"overrides": overrides, "rulegraph": None, **values})
        hint_at_names(asked)
        return capsys.readouterr().err

    def test_one_that_is_not_in_the_graph_may_come_later(self, capsys: pytest.CaptureFixture[str]) -> None:
        graph = {"nodes": [{"rule": "gather"}], "links": []}
        assert self.told(capsys, rulegraph=graph).endswith(" have (a checkpoint may add it)\n")

    def test_one_that_is_misspelt_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.told(capsys, rulegraph=self.GRAPH) == (
            "resources or threads are set for rule 'fitt', which the rule graph does not have; did you mean 'fit'?\n"
        )

    def test_nothing_is_told_before_they_are_known(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.told(capsys) == ""


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

    def test_a_dry_run_is_told_from_a_run(self, server: StandIn, call: Call, terminal: None) -> None:
        server.on("GET", "/runs", page(run(dry_run=True), run(id=OTHER_ID)))
        assert [", dry run" in line for line in call("runs")[1].splitlines()] == [False, True, False]

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
        server.on("GET", f"{BASE}/cost", reply(run_cost()))

    def test_lines(self, server: StandIn, call: Call) -> None:
        self.attempts(server)
        lines = [line.split("\t") for line in call("show", RUN_ID)[1].splitlines()]
        assert lines[0] == ["run", RUN_ID]
        assert ["config", '{"batches":2,"model":{"seed":1,"kind":"ols"}}'] in lines
        assert lines[-2][:8] == ["attempt", "1", "failed", "submit", "local", "3/8", "0", "1"]
        assert lines[-2][-2:] == ["1 of 3 jobs failed.", "fit (3)"]
        assert ["cost", "0.0625 EUR (estimated), 2.50 vCPU-hours, 10.00 GiB-hours"] in lines
        server.on("GET", f"{BASE}/cost", reply(run_cost(total=cost(jobs=0))))
        assert "\ncost\t\n" in call("show", RUN_ID)[1]

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

    def test_a_configuration_is_shown_as_it_is_given(self, server: StandIn, call: Call, terminal: None) -> None:
        self.attempts(server)
        server.on("GET", BASE, reply(run(config={"model": {"robust": True, "seed": None}, "species": ["Adelie"]})))
        assert 'model.robust=true model.seed=null species=["Adelie"]' in call("show", RUN_ID)[1]

    def test_only_failed_jobs_are_pointed_at(self, server: StandIn, call: Call, terminal: None) -> None:
        self.attempts(server)
        server.on("GET", BASE, reply(run(state="failed", jobs={"total": 3, "done": 2, "failed": 1})))
        assert f"snakeway jobs {SHORT} --failed" in call("show", RUN_ID)[2]
        none = {"total": 0, "done": 0, "failed": 0}
        server.on("GET", BASE, reply(run(state="failed", jobs=none)))
        assert "--failed" not in call("show", RUN_ID)[2]
        server.on("GET", f"{BASE}/attempts", page(attempt(state="lost", jobs={**none, "total": 3})))
        assert f"snakeway jobs {SHORT} --failed" in call("show", RUN_ID)[2]  # these are lost

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


class TestJobs:
    def test_lines(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt(), attempt(number=2), attempt(number=3, dry_run=True)))
        server.on("GET", f"{BASE}/jobs", page(job(message="a\nb", state="failed", exit_code=1)))
        assert call("jobs", RUN_ID)[1] == (
            "1\t5\tfailed\tfit\tspecies=Adelie\t1\t1\t2026-01-02T03:04:06Z\t2026-01-02T03:04:16Z\t"
            "2026-01-02T03:05:36Z\t\t1\t\t\tb\t\n"
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
        assert "job 5 fit: two [2J\n    one\n      two [2J\n" in out
        assert f"    all of it: snakeway logs {SHORT} --job 5 --attempt 1\n" in out
        server.on("GET", f"{BASE}/jobs", page({**failed, "logs": []}))
        assert (
            f"    the run's output: snakeway logs {SHORT} --attempt 1\n"
            in call("jobs", RUN_ID, "--failed", "--attempt", "1")[1]
        )

    def test_json(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs", page(job()))
        assert json.loads(call("jobs", RUN_ID, "--json", "--all")[1]) == [job()]
