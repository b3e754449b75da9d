"""Gates, the whole story: through the API, through the command line, and under bare snakemake with no server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.common import SNAKEMAKE
from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.support.otlp import otlp_receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

# A gate per plate, whose answer is used by jobs downstream; another in a parallel branch; one behind all the others.
WORKFLOW = """
localrules: review, sign, release

rule all:
    input: "released.txt", "side.txt"

rule qc:
    output: "qc/{plate}.txt"
    params: light=lambda w: config.get("light", {}).get(w.plate, 1)
    shell: "echo {wildcards.plate} at {params.light} > {output}"

rule review:
    input: "qc/{plate}.txt"
    output: "gates/{plate}.json"
    shell: "snakeway gate {output} {input} --schema schema.json --title 'Is {wildcards.plate} good?'"

rule measure:
    input: gate="gates/{plate}.json", qc="qc/{plate}.txt"
    output: "measured/{plate}.txt"
    shell: "echo measured {wildcards.plate} >> done.log; cp {input.gate} {output}"

rule sum:
    input: "measured/p1.txt", "measured/p2.txt"
    output: "sum.txt"
    shell: "cat {input} > {output}"

rule sign:
    output: "signed.json"
    shell: "snakeway gate {output} --title 'Sign here'"

rule side:
    input: "signed.json"
    output: "side.txt"
    shell: "cp {input} {output}"

rule release:
    input: "sum.txt"
    output: "released.txt"
    shell: "snakeway gate {output} {input}"
"""
SCHEMA = {"type": "object", "required": ["threshold"], "properties": {"threshold": {"type": "number"}}}
Decide = Callable[..., Any]


@pytest.fixture
def plates(workflows: Callable[..., Path]) -> Path:
    """The folder of the workflow with the gates."""
    folder = workflows(plates=WORKFLOW)
    (folder / "plates/schema.json").write_text(json.dumps(SCHEMA))
    return folder


@pytest.fixture
def server(start_server: StartServer, plates: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with that workflow."""
    monkeypatch.setenv("PATH", f"{SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}")
    return start_server(workflows_dir=plates)


def decide(server: Server, run_id: str, gate: str, verdict: str = "approved", **members: Any) -> Any:
    answer = server.request("POST", f"/runs/{run_id}/decisions", json={"gate": gate, "verdict": verdict, **members})
    assert answer.status_code == 202, answer.text
    return answer.json()


def rest(server: Server, run_id: str) -> Any:
    """Wait until nothing happens any more by itself; returns the run."""

    def resting() -> Any:
        run = server.get(f"/runs/{run_id}")
        return run if run["state"] not in ("queued", "running") else None

    return wait_until(resting, timeout_s=60, what=f"run {run_id} to rest; the server's log is {server.log}")


def states(server: Server, run_id: str) -> dict[str, str]:
    return {gate["name"]: gate["state"] for gate in server.get(f"/runs/{run_id}/gates")["gates"]}


def last_rules(server: Server, run_id: str) -> list[str]:
    number = server.get(f"/runs/{run_id}/attempts")["items"][-1]["number"]
    return sorted(job["rule"] for job in server.jobs(run_id, attempt=number, state="succeeded"))


def test_the_whole_story_through_the_api(server: Server) -> None:
    run_id = server.submit("plates")
    run = rest(server, run_id)
    assert (run["state"], run["ended_at"]) == ("paused", None)
    assert run["error"] == "Waits for a decision: gates/p1.json, gates/p2.json, signed.json."
    assert run["jobs"]["failed"] == 0
    assert {job["rule"] for job in server.jobs(run_id, state="waiting")} == {"review", "sign"}
    open_ = {gate["name"]: gate for gate in server.get("/gates", state="open")["items"]}
    p1 = open_["gates/p1.json"]
    assert (p1["rule"], p1["wildcards"], p1["title"]) == ("review", {"plate": "p1"}, "Is p1 good?")
    assert p1["schema"] == SCHEMA
    [evidence] = p1["evidence"]
    wait_until(
        lambda: server.request("GET", f"/runs/{run_id}/artifacts/{evidence['path']}").is_success or None,
        timeout_s=30,
        what="the evidence to be collected",
    )
    assert server.request("GET", f"/runs/{run_id}/artifacts/{evidence['path']}").text == "p1 at 1\n"

    server.kill()  # nothing waits but the database
    server.start()
    assert server.get(f"/runs/{run_id}")["state"] == "paused"

    bad = server.request(
        "POST",
        f"/runs/{run_id}/decisions",
        json={"gate": "p1", "verdict": "approved", "answer": {"threshold": "high"}},
    )
    assert (bad.status_code, bad.json()["field"]) == (400, "answer.threshold")
    for name, code in (("p3", "gate_not_found"), ("p1", "evidence_changed")):
        body = {"gate": name, "verdict": "approved", "answer": {"threshold": 1}, "digest": "0"}
        answer = server.request("POST", f"/runs/{run_id}/decisions", json=body)
        assert answer.json()["code"] == code
    decide(server, run_id, "p1", answer={"threshold": 0.5}, digest=p1["digest"], comment="sharp")
    assert rest(server, run_id)["state"] == "paused"
    assert last_rules(server, run_id) == ["measure", "review"]
    assert states(server, run_id) == {"gates/p1.json": "approved", "gates/p2.json": "open", "signed.json": "open"}
    decide(server, run_id, "p2", answer={"threshold": 0.7})
    decide(server, run_id, "signed")  # perhaps while an attempt is under way: it goes on with it afterwards
    wait_until(
        lambda: server.get(f"/runs/{run_id}")["error"] == "Waits for a decision: released.txt." or None,
        timeout_s=60,
        what="everything but the last gate",
    )
    assert rest(server, run_id)["state"] == "paused"
    decide(server, run_id, "released.txt")
    assert rest(server, run_id)["state"] == "succeeded"
    sum_ = (server.directory(run_id) / "sum.txt").read_text()
    assert sum_ == '{\n  "threshold": 0.5\n}\n{\n  "threshold": 0.7\n}\n'
    told = server.get(f"/runs/{run_id}/gates")["decisions"]
    assert (told[0]["gate"], told[0]["verdict"], told[0]["decided_by"]) == ("gates/p1.json", "approved", "local")
    assert {attempt["reason"] for attempt in server.get(f"/runs/{run_id}/attempts")["items"][1:]} == {"approval"}
    measured = (server.directory(run_id) / "done.log").read_text().splitlines()
    assert sorted(measured) == ["measured p1", "measured p2"], "no job was done twice"

    # Another answer has what depends on it made anew, and the gate behind it asks again: its evidence is another.
    decide(server, run_id, "p1", answer={"threshold": 0.9})
    run = rest(server, run_id)
    assert (run["state"], run["error"]) == ("paused", "Waits for a decision: released.txt.")
    assert last_rules(server, run_id) == ["measure", "sum"]
    assert '"threshold": 0.9' in (server.directory(run_id) / "sum.txt").read_text()
    decide(server, run_id, "released")
    assert rest(server, run_id)["state"] == "succeeded"

    # Evidence that is made anew has to be approved again; the same again has not.
    server.rerun(run_id, config={"light": {"p1": 2}})
    run = rest(server, run_id)
    assert (run["state"], run["error"]) == ("paused", "Waits for a decision: gates/p1.json.")
    assert states(server, run_id)["gates/p2.json"] == "approved"
    server.rerun(run_id, config={})
    assert rest(server, run_id)["state"] == "succeeded", "what was approved before is approved"
    assert set(states(server, run_id).values()) == {"approved"}


def test_a_rejected_gate_fails_the_run_until_somebody_changes_their_mind(server: Server) -> None:
    run_id = server.submit("plates", targets=["side.txt"])
    rest(server, run_id)
    answer = decide(server, run_id, "signed", "rejected", comment="no pen")
    assert (answer["run"]["state"], answer["run"]["error"]) == ("failed", "local rejected signed.json: no pen")
    server.rerun(run_id, targets=["side.txt"])
    run = rest(server, run_id)
    assert (run["state"], run["error"]) == ("failed", "local rejected signed.json: no pen")
    [job] = server.jobs(run_id, state="failed")
    assert (job["failure"]["kind"], job["exit_code"]) == ("rejected", 77)
    assert "no pen" in job["failure"]["summary"]
    decide(server, run_id, "signed", answer={"pen": "blue"})
    assert rest(server, run_id)["state"] == "succeeded"
    assert json.loads((server.directory(run_id) / "side.txt").read_text()) == {"pen": "blue"}


def test_a_paused_run_can_be_cancelled_and_run_again(server: Server) -> None:
    run_id = server.submit("plates", targets=["side.txt"])
    rest(server, run_id)
    server.request("POST", f"/runs/{run_id}/cancel")
    run = rest(server, run_id)
    assert (run["state"], run["error"]) == ("cancelled", "Cancelled on request.")
    server.rerun(run_id, targets=["side.txt"])
    assert rest(server, run_id)["state"] == "paused"
    decide(server, run_id, "signed")
    assert rest(server, run_id)["state"] == "succeeded"


def test_a_decision_that_comes_during_a_dry_run_is_not_forgotten(server: Server) -> None:
    run_id = server.submit("plates", targets=["side.txt"])
    rest(server, run_id)
    server.rerun(run_id, dry_run=True)
    decide(server, run_id, "signed")
    ended = "the run to go on"
    wait_until(lambda: server.get(f"/runs/{run_id}")["state"] == "succeeded" or None, timeout_s=60, what=ended)


def test_a_run_that_was_cancelled_stays_so_whatever_becomes_of_its_gates(
    server: Server, workflows: Callable[..., Path]
) -> None:
    workflows(soon=LATE.replace("0.5s", "3s"))
    run_id = server.submit("soon")
    rest(server, run_id)
    server.request("POST", f"/runs/{run_id}/cancel")
    expired = "the gate to expire"
    wait_until(lambda: states(server, run_id)["late.json"] == "expired" or None, timeout_s=60, what=expired)
    assert server.get(f"/runs/{run_id}")["state"] == "cancelled"
    other = server.submit("plates", targets=["qc/p1.txt"])  # and the supervisor is well
    assert rest(server, other)["state"] == "succeeded"


LATE = 'rule gate:\n    output: "late.json"\n    shell: "snakeway gate {output} --deadline 0.5s"\n'
BROKEN = WORKFLOW.replace("all:\n    input:", 'all:\n    input: "bad.txt",') + (
    '\nrule bad:\n    output: "bad.txt"\n    shell: "false"\n'
)


def test_a_gate_that_nobody_decides_in_time_fails_the_run(server: Server, workflows: Callable[..., Path]) -> None:
    workflows(late=LATE)
    run_id = server.submit("late")
    wait_until(lambda: server.get(f"/runs/{run_id}")["state"] == "failed" or None, timeout_s=60, what="the deadline")
    assert server.get(f"/runs/{run_id}")["error"] == "Nobody decided about late.json before its deadline."
    answer = server.request("POST", f"/runs/{run_id}/decisions", json={"gate": "late", "verdict": "approved"})
    assert answer.json()["code"] == "gate_expired"


def test_a_run_in_which_other_jobs_failed_is_not_paused(server: Server, workflows: Callable[..., Path]) -> None:
    workflows(plates=BROKEN)
    run_id = server.submit("plates")
    run = rest(server, run_id)
    assert (run["state"], run["error"]) == ("failed", "1 of 12 jobs failed: bad (1: exit code).")
    assert decide(server, run_id, "signed")["run"]["state"] == "failed"
    server.rerun(run_id)
    rest(server, run_id)
    assert "side" in last_rules(server, run_id)


def test_decisions_are_traced(
    start_server: StartServer, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}")
    with otlp_receiver(tmp_path / "collector") as collector:
        server = start_server(workflows_dir=plates, settings={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint})
        run_id = server.submit("plates", targets=["side.txt"])
        run = rest(server, run_id)
        decide(server, run_id, "signed")
        spans = collector.wait_for(
            lambda found: any(span.name == "gate signed.json" for span in found), trace_id=run["trace_id"], timeout_s=30
        )
        [gate] = [span for span in spans if span.name == "gate signed.json"]
        assert gate.attributes["snakeway.gate.verdict"] == "approved"
        assert gate.attributes["snakeway.gate.decided_by"] == "local"


@pytest.fixture
def snakeway(server: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls the command line."""

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "snakeway", *args]
        return subprocess.run(argv, env=server.env, capture_output=True, text=True, timeout=90, check=False)

    return call


def test_the_story_through_the_command_line(
    server: Server, snakeway: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    followed = snakeway("submit", "plates", "--follow")
    assert followed.returncode == 8, followed.stderr
    assert len(snakeway("gates").stdout.splitlines()) == 3
    assert "3 gates wait" in snakeway("approve", "last").stderr
    answer = tmp_path / "answer.yaml"
    answer.write_text("threshold: 0.5\n")
    assert snakeway("approve", "last", "p1", "--answer", str(answer)).returncode == 0
    assert snakeway("approve", "last", "p2", "--set", "threshold=0.7", "-m", "fine").returncode == 0
    assert snakeway("approve", "last", "signed").returncode == 0
    assert snakeway("show", "last", "--follow").returncode == 8
    listed = json.loads(snakeway("gates", "last", "--json").stdout)
    assert {gate["name"]: gate["state"] for gate in listed}["released.txt"] == "open"
    done = snakeway("approve", "last", "--json")
    assert json.loads(done.stdout)["gate"]["decided_by"] == "local"
    assert snakeway("show", "last", "--follow").returncode == 0


def test_gates_by_hand_are_recorded(server: Server, tmp_path: Path) -> None:
    person = ByHand(tmp_path / "hand", WORKFLOW, server, PATH=os.environ["PATH"])
    (person.folder / "schema.json").write_text(json.dumps(SCHEMA))
    person.snakemake()
    run = rest(server, person.run_id)
    assert (run["state"], run["outside"]) == ("paused", True)
    refused = server.request("POST", f"/runs/{person.run_id}/decisions", json={"gate": "signed", "verdict": "approved"})
    assert refused.json()["code"] == "outside_run"
    person.snakeway("reject", "--directory", ".", "signed", "--comment", "no pen")
    person.snakemake()
    ends = "the second attempt"
    wait_until(lambda: server.get(f"/runs/{person.run_id}")["state"] == "failed" or None, timeout_s=30, what=ends)
    assert server.get(f"/runs/{person.run_id}")["error"].endswith("rejected signed.json: no pen")
    person.snakeway("approve", "--directory", ".", "signed")
    person.snakemake()
    wait_until(lambda: states(server, person.run_id)["signed.json"] == "approved" or None, timeout_s=30, what=ends)
    assert rest(server, person.run_id)["state"] == "paused", "the plates wait"


@pytest.fixture
def bare(plates: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls programs in the workflow's folder, with no server and no plugin."""
    monkeypatch.setenv("PATH", f"{SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}")

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(args, cwd=plates / "plates", capture_output=True, text=True, timeout=90, check=False)

    return call


def test_the_story_under_bare_snakemake(bare: Callable[..., subprocess.CompletedProcess[str]], plates: Path) -> None:
    folder = plates / "plates"
    snakemake = ("snakemake", "--cores", "2", "--keep-going")
    first = bare(*snakemake)
    assert first.returncode == 1
    assert "gates/p1.json waits for a decision: Is p1 good?" in first.stderr
    assert len(bare("snakeway", "gates", "--directory", ".").stdout.splitlines()) == 3
    wrong = bare("snakeway", "approve", "--directory", ".", "p1", "--set", "threshold=high")
    assert wrong.returncode == 2
    for gate in ("p1", "p2"):
        assert bare("snakeway", "approve", "--directory", ".", gate, "--set", "threshold=0.5").returncode == 0
    assert bare("snakeway", "approve", "--directory", ".", "signed").returncode == 0
    assert bare(*snakemake).returncode == 1
    assert bare("snakeway", "approve", "--directory", ".").returncode == 0
    assert bare(*snakemake).returncode == 0
    assert json.loads((folder / "side.txt").read_text()) == {}
    assert (folder / "done.log").read_text().count("measured") == 2
    again = bare(*snakemake, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert bare(*snakemake, "--config", "light={'p1': 2}").returncode == 1
    assert "the evidence has changed" in bare(*snakemake, "--config", "light={'p1': 2}").stderr
