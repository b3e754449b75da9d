"""The main job through the API: submit, fail in part, re-run that part, fetch the results."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.benchmarks.common import SNAKEMAKE
from tests.e2e.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import wait_until

PARTIAL = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{i}.txt"
    log: "logs/{i}.log"
    resources: mem_mb=100
    shell: "if [ $(( {wildcards.i} % 10 )) = 3 -a {resources.mem_mb} -lt 200 ]; then "
        "echo MemoryError: too little >{log}; exit 9; fi; echo {wildcards.i} > {output}"

rule sum:
    input: expand("steps/{i}.txt", i=range(500))
    output: "sum.txt"
    shell: "cat {input} | sort -n > {output}"
"""


@pytest.mark.parametrize(
    ("change", "mem_mb"), [({"set_resources": {"step": {"mem_mb": 400}}}, 400), ({"apply_suggestions": True}, 200)]
)
def test_ten_percent_of_500_jobs_fail_and_only_they_are_run_again(
    start_server: StartServer, workflows: Callable[..., Path], change: dict[str, Any], mem_mb: int
) -> None:
    server = start_server(workflows_dir=workflows(partial=PARTIAL))
    run_id = server.submit("partial")
    run = server.end_of(run_id, timeout_s=170)
    assert (run["state"], run["error"]) == ("failed", "50 of 502 jobs failed: step (50: out of memory).")
    assert run["jobs"] == {"total": 502, "done": 450, "failed": 50}
    failed = server.jobs(run_id, attempt=1, state="failed")
    assert {job["exit_code"] for job in failed} == {9}
    assert {job["log_tail"] for job in failed} == {"MemoryError: too little"}
    plan = server.rerun(run_id, **change)["attempt"]["plan"]
    assert (plan["total"], plan["by_rule"]) == (52, {"step": 50, "sum": 1, "all": 1})
    assert server.end_of(run_id, timeout_s=120)["state"] == "succeeded"
    again = server.jobs(run_id, attempt=2)
    assert {job["wildcards"]["i"] for job in again if job["rule"] == "step"} == {
        job["wildcards"]["i"] for job in failed
    }
    assert len(again) == plan["total"]
    reasons = {job["rule"]: job["reason"] for job in again}
    assert reasons["step"].startswith("Missing output files: steps/")
    assert {job["resources"]["mem_mb"] for job in again if job["rule"] == "step"} == {mem_mb}
    text = "".join(f"{i}\n" for i in range(500))
    assert server.request("GET", f"/runs/{run_id}/artifacts/sum.txt").text == text


def test_results_carry_their_digest(server: Server) -> None:
    run_id = server.submit("quickstart", config={"batches": 2, "resamples": 10})
    assert server.end_of(run_id)["state"] == "succeeded"

    def collected() -> list[dict[str, object]] | None:
        found = server.get(f"/runs/{run_id}/artifacts", limit=500)["items"]
        return found if found and all(item["sha256"] for item in found) else None

    items = wait_until(collected, timeout_s=30, what="the digests")
    for item in items:
        answer = server.request("GET", f"/runs/{run_id}/artifacts/{item['path']}")
        digest = hashlib.sha256(answer.content)
        assert digest.hexdigest() == item["sha256"]
        assert answer.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert {item["rule"] for item in items} == {"rows", "fit", "bootstrap", "intervals", "table", "figure"}


def test_events_are_followed_to_the_end_and_resumed(server: Server) -> None:
    run_id = server.submit("quickstart", config={"batches": 2, "resamples": 10})

    def stream(**headers: str) -> list[tuple[str, str, dict[str, object]]]:
        found = []
        url = f"{server.url}/api/v1/runs/{run_id}/events"
        with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(":")
                if line == "" and "event" in fields:
                    found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
                    fields = {}
                elif name:
                    fields[name] = value.strip()
        return found

    events = stream()
    kinds = [kind for _, kind, _ in events if kind != "run"]
    assert (kinds[0], kinds[-2:]) == ("attempt_started", ["attempt_ended", "end"])
    assert kinds.count("job_finished") == 18
    assert events[-1][2]["state"] == "succeeded"
    with_id = [event for event in events if event[0]]
    resumed = [event for event in stream(**{"Last-Event-ID": with_id[9][0]}) if event[0]]
    assert resumed == with_id[10:]


def test_an_edited_workflow_reaches_new_runs_but_not_old_ones(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = 'rule all:\n    output: "out.txt"\n    shell: "echo %s > {output}"\n'
    folder = workflows(edited=text % "one")
    server = start_server(workflows_dir=folder)
    old = server.submit("edited")
    assert server.end_of(old)["state"] == "succeeded"
    (folder / "edited/Snakefile").write_text(text % "two")
    new = server.submit("edited")
    assert server.end_of(new)["state"] == "succeeded"

    def output(run_id: str) -> str:
        return (server.directory(run_id) / "out.txt").read_text()

    assert (output(old), output(new)) == ("one\n", "two\n")
    assert server.get(f"/runs/{old}")["digest"] != server.get(f"/runs/{new}")["digest"]
    assert server.rerun(old)["attempt"]["plan"]["total"] == 0
    server.end_of(old)
    answer = server.rerun(old, update_workflow=True)
    assert answer["attempt"]["plan"]["by_rule"] == {"all": 1}
    assert server.end_of(old)["state"] == "succeeded"
    assert output(old) == "two\n"


def test_a_snakemake_of_the_targets_own_does_the_same(
    start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    profiles = tmp_path / "profiles"
    for name in ("warm", "own"):
        (profiles / name).mkdir(parents=True)
        (profiles / name / "config.yaml").write_text("cores: 2\nlogger: [snakeway]\n")
    (profiles / "own/snakeway.yaml").write_text(f"snakemake: {SNAKEMAKE}\n")
    text = 'rule all:\n    output: "out.txt"\n    shell: "echo $PPID > /dev/null; echo same > {output}"\n'
    server = start_server(workflows_dir=workflows(same=text), profiles_dir=profiles)
    seen = {}
    for name in ("warm", "own"):
        run_id = server.submit("same", target=name)
        run = server.end_of(run_id)
        job = server.jobs(run_id)[0]
        log = server.request("GET", f"/runs/{run_id}/log").text
        seen[name] = (
            run["state"],
            run["jobs"],
            {member: job[member] for member in ("rule", "reason", "shell", "outputs", "threads", "state")},
            re.findall(r"Command: \S*snakemake (.*)", log.replace(f"/{name} ", " ")),
        )
    assert seen["warm"] == seen["own"]


def test_a_dry_run_runs_nothing(server: Server) -> None:
    run_id = server.submit("quickstart", dry_run=True)
    assert server.end_of(run_id)["state"] == "succeeded"
    attempt = server.get(f"/runs/{run_id}/attempts/1")
    assert attempt["plan"]["by_rule"]["bootstrap"] == 36
    assert {"rule": "bootstrap"} in attempt["rulegraph"]["nodes"]
    assert server.jobs(run_id) == []
    assert not (server.directory(run_id) / "results").exists()


def test_a_question_about_a_run_leaves_it_as_it_is(server: Server) -> None:
    run_id = server.submit("quickstart", config={"batches": 2, "resamples": 10})
    before = server.end_of(run_id)
    answer = server.rerun(run_id, forceall=True, dry_run=True)
    assert answer["attempt"]["plan"]["by_rule"]["bootstrap"] == 6
    state = lambda: server.get(f"/runs/{run_id}/attempts/2")["state"]  # noqa: E731
    wait_until(lambda: state() == "succeeded" or None, timeout_s=30, what="the dry run")
    after = server.get(f"/runs/{run_id}")
    assert {name: after[name] for name in ("state", "jobs", "error", "config")} == {
        name: before[name] for name in ("state", "jobs", "error", "config")
    }


def test_a_deleted_run_is_gone(server: Server) -> None:
    run_id = server.submit("quickstart", config={"batches": 2, "resamples": 10})
    assert server.request("DELETE", f"/runs/{run_id}").json()["code"] == "run_active"
    server.end_of(run_id)
    assert server.request("DELETE", f"/runs/{run_id}").status_code == 204
    assert server.request("GET", f"/runs/{run_id}").json()["code"] == "run_not_found"
    assert not server.directory(run_id).exists()


def test_a_run_directory_works_by_hand(server: Server) -> None:
    """What the service ran can be run on with snakemake itself: it finds everything done."""
    import subprocess

    run_id = server.submit("quickstart")
    server.end_of(run_id)
    directory = server.directory(run_id)
    assert directory.stat().st_mode & 0o777 == 0o700
    done = subprocess.run([SNAKEMAKE, "--cores", "1"], cwd=directory, capture_output=True, text=True, timeout=60)
    assert "Nothing to be done" in done.stderr + done.stdout
