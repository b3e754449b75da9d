"""A run by hand is recorded as the same run through the API is: shipped as it goes, imported later, or partly both."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.e2e.plugin_runs import events_in
from tests.support.processes import guarded
from tests.support.server import Server
from tests.support.waiting import wait_until

TOKEN = "a-token-of-the-tests"

# Something of everything: tries, exit codes, signals, logs, resources, a checkpoint, what depends on a failure.
MIXED = """
rule all:
    input: "sum.txt", "again.txt", "exit.txt", "killed.txt"
checkpoint some:
    output: directory("some")
    shell: "mkdir some; touch some/a some/b"
rule part:
    input: "some/{name}"
    output: "parts/{name}.txt"
    threads: 2
    resources: mem_mb=lambda wildcards, attempt: 10 * attempt, kind="big"
    shell: "echo {wildcards.name} > {output}"
def parts(wildcards):
    folder = checkpoints.some.get().output[0]
    return [f"parts/{name}.txt" for name in sorted(glob_wildcards(folder + "/{name,[a-z]+}").name)]
rule sum:
    input: parts
    output: "sum.txt"
    log: "logs/sum.log"
    shell: "cat {input} > {output} 2> {log}"
rule again:
    output: "again.txt"
    retries: 1
    shell: "if [ -e tried ]; then touch {output}; else touch tried; exit 3; fi"
rule exit:
    output: "exit.txt"
    log: "logs/exit.log"
    shell: "echo boom > {log}; exit 7"
rule killed:
    output: "killed.txt"
    shell: "kill -9 $$"
rule never:
    input: "exit.txt"
    output: "never.txt"
    shell: "touch {output}"
"""

# Goes on when there is a file ``go``.
HELD = """
rule all:
    input: "sum.txt"
rule step:
    output: "steps/{i}.txt"
    shell: "echo {wildcards.i} > {output}"
rule sum:
    input: expand("steps/{i}.txt", i=range(10))
    output: "sum.txt"
    shell: "touch up.txt; until [ -e go ]; do sleep 0.05; done; cat {input} > {output}"
"""


def the_record(server: Server, run_id: str) -> dict[str, Any]:
    """Return what is recorded of a run, without what differs each time: ids, numbers of jobs, times, places."""
    run = server.end_of(run_id)
    [attempt] = server.get(f"/runs/{run_id}/attempts")["items"]
    names = ("rule", "wildcards", "state", "try", "outputs", "inputs", "reason", "threads", "shell", "checkpoint")
    ends = ("exit_code", "signal", "log_tail", "logs", "message", "failure")
    jobs: list[str] = []
    for job in server.jobs(run_id):
        values = {name: job[name] for name in (*names, *ends)}
        values["resources"] = plain_resources(job["resources"])
        values["reason"] = in_order(job["reason"])
        values["tries"] = [(each["try"], each["exit_code"]) for each in job["tries"]]
        jobs.append(json.dumps(values, sort_keys=True).replace(attempt_directory(server, run), "HERE"))
    return {
        "jobs": sorted(jobs),
        "run": {name: run[name] for name in ("state", "jobs", "error", "workflow", "target", "dry_run")},
        "attempt": {name: attempt[name] for name in ("state", "exit_code", "exit_signal", "error", "jobs")},
        "graph": attempt["rulegraph"],
        "rules": server.get(f"/runs/{run_id}/rules")["items"],
    }


def attempt_directory(server: Server, run: Any) -> str:
    return str(run["source"]["directory"] if run["outside"] else server.directory(run["id"]))


def in_order(reason: str) -> str:
    """Return a reason with its files sorted: Snakemake has them in a set."""
    return " ".join(sorted(reason.replace(",", " ").replace(";", " ").split()))


def plain_resources(resources: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resources.items() if name != "tmpdir"}


_MIXED = ("stderr_tail",)  # jobs at the same time share it


def told(file: Path, directory: str) -> Counter[str]:
    """Return the events of a file, without times, ids and numbers; progress depends on the clock."""
    jobs = {event["job"]: f"{event['rule']} {event['wildcards']}" for event in events_in(file, "job")}
    found: Counter[str] = Counter()
    for event in events_in(file):
        if event["type"] in ("attempt_started", "progress"):
            continue
        plain = {name: value for name, value in event.items() if name not in ("seq", "t", "started_at", *_MIXED)}
        if "job" in plain:
            plain["job"] = jobs[plain["job"]]
        if "reason" in plain:
            plain["reason"] = in_order(plain["reason"])
        if "resources" in plain:
            plain["resources"] = plain_resources(plain["resources"])
        found[json.dumps(plain, sort_keys=True).replace(directory, "HERE")] += 1
    return found


@pytest.fixture
def mixed_server(start_server: StartServer, workflows: Callable[..., Path]) -> Server:
    return start_server(workflows_dir=workflows(mixed=MIXED, held=HELD))


def test_a_run_by_hand_is_recorded_as_one_through_the_api_is(mixed_server: Server, tmp_path: Path) -> None:
    server = mixed_server
    submitted = server.submit("mixed")
    expected = the_record(server, submitted)
    assert expected["run"]["state"] == "failed"

    live = ByHand(tmp_path / "live" / "mixed", MIXED, server)
    done = live.snakemake()
    assert (done.returncode, "snakeway" in done.stderr) == (1, False), done.stderr
    assert the_record(server, live.run_id) == expected

    away = ByHand(tmp_path / "away" / "mixed", MIXED, server)
    port_of_nobody = away.env | {"SNAKEWAY_URL": "http://127.0.0.1:9"}
    away.env, kept = port_of_nobody, away.env
    done = away.snakemake()
    assert done.returncode == 1
    assert done.stderr.count("snakeway: ") == 1, done.stderr
    assert "cannot send events to http://127.0.0.1:9" in done.stderr
    away.env = kept
    away.snakeway("import")
    assert the_record(server, away.run_id) == expected
    before = server.get(f"/runs/{away.run_id}")
    [again] = json.loads(away.snakeway("import", ".", "--json"))
    assert (again["sent_bytes"], again["state"], again["error"]) == (0, "ended", None)
    assert server.get(f"/runs/{away.run_id}") == before

    files = [server.directory(run_id) / ".snakeway/attempts/1/events.ndjson" for run_id in (live.run_id, away.run_id)]
    by_api = told(server.directory(submitted) / ".snakeway/attempts/1/events.ndjson", str(server.directory(submitted)))
    for by_hand, file in zip((live, away), files, strict=True):
        assert file.read_bytes() == by_hand.events.read_bytes()
        assert told(file, str(by_hand.folder)) == by_api
        log = server.request("GET", f"/runs/{by_hand.run_id}/log")
        assert log.status_code == 200
        assert "Error in rule exit" in log.text


def test_a_server_that_is_killed_half_way_misses_nothing(mixed_server: Server, tmp_path: Path) -> None:
    server = mixed_server
    submitted = server.submit("held")
    up = server.directory(submitted) / "up.txt"
    wait_until(lambda: up.exists() or None, timeout_s=60, what="the run to come half-way")
    (server.directory(submitted) / "go").touch()
    expected = the_record(server, submitted)

    by_hand = ByHand(tmp_path / "held", HELD, server)
    with by_hand.started() as process:

        def half_recorded() -> bool:
            return server.get(f"/runs/{by_hand.run_id}")["jobs"]["done"] >= 10

        wait_until(lambda: (by_hand.folder / "up.txt").exists() or None, timeout_s=60, what="the last job")
        wait_until(half_recorded, timeout_s=30, what="the record to follow")
        assert server.get(f"/runs/{by_hand.run_id}")["state"] == "running"
        server.kill()
        (by_hand.folder / "go").touch()
        assert process.wait(60) == 0
    server.start()
    assert server.get(f"/runs/{by_hand.run_id}")["state"] == "running"
    by_hand.snakeway("import")
    assert the_record(server, by_hand.run_id) == expected
    said = (by_hand.folder / "output.log").read_text()
    assert said.count("snakeway: ") == 1, said


def test_a_server_that_comes_back_is_sent_the_rest(mixed_server: Server, tmp_path: Path) -> None:
    server = mixed_server
    by_hand = ByHand(tmp_path / "held", HELD, server)
    server.kill()
    with by_hand.started() as process:
        wait_until(lambda: (by_hand.folder / "up.txt").exists() or None, timeout_s=60, what="the last job")
        server.start()
        wait_until(
            lambda: server.request("GET", f"/runs/{by_hand.run_id}").status_code == 200 or None,
            timeout_s=60,
            what="the run to be recorded",
        )
        (by_hand.folder / "go").touch()
        assert process.wait(60) == 0
    assert server.end_of(by_hand.run_id)["state"] == "succeeded"
    [imported] = json.loads(by_hand.snakeway("import", "--json"))
    assert imported["sent_bytes"] == 0


def test_a_killed_run_is_imported_as_lost_and_one_that_goes_on_as_running(mixed_server: Server, tmp_path: Path) -> None:
    server = mixed_server
    by_hand = ByHand(tmp_path / "held", HELD)
    by_hand.env["SNAKEWAY_TOKEN"] = ""
    there = {"SNAKEWAY_URL": server.url}
    with by_hand.started() as process:
        wait_until(lambda: (by_hand.folder / "up.txt").exists() or None, timeout_s=60, what="the last job")
        assert json.loads(by_hand.snakeway("import", "--json", **there))[0]["state"] == "alive"
        assert server.get(f"/runs/{by_hand.run_id}")["state"] == "running"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    (by_hand.folder / "go").touch()
    [status] = json.loads(by_hand.snakeway("status", "--json"))
    assert (status["state"], status["jobs"]) == ("lost", {"lost": 1, "succeeded": 10})
    by_hand.snakeway("import", **there)
    run = server.end_of(by_hand.run_id)
    assert (run["state"], run["error"]) == ("failed", "The snakemake process disappeared without a word.")
    [attempt] = server.get(f"/runs/{by_hand.run_id}/attempts")["items"]
    assert attempt["state"] == "lost"


def test_the_database_can_be_written_without_a_server(
    start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    by_hand = ByHand(tmp_path / "mixed", MIXED)
    assert by_hand.snakemake().returncode == 1
    settings = {"SNAKEWAY_DATA_DIR": str(tmp_path / "data")}
    for _ in range(2):
        by_hand.snakeway("import", "--direct", **settings)
    server = start_server(workflows_dir=workflows(mixed=MIXED), data_dir=tmp_path / "data")
    assert server.get(f"/runs/{by_hand.run_id}")["state"] == "failed"  # at once: nothing is left to be done
    assert the_record(server, by_hand.run_id) == the_record(server, server.submit("mixed"))


@pytest.fixture
def closed_server(tmp_path: Path) -> Iterator[Server]:
    """A server that wants a token."""
    server = Server(tmp_path / "data", settings={"SNAKEWAY_TOKEN": TOKEN}).start(wait=False)
    wait_until(lambda: "serves on" in server.log.read_text() or None, timeout_s=60, what="the server to be ready")
    yield server
    server.kill()


def test_a_token_is_sent_and_never_shown(closed_server: Server, tmp_path: Path) -> None:
    server, token = closed_server, TOKEN
    by_hand = ByHand(tmp_path / "held", HELD, server, SNAKEWAY_TOKEN="not-that-token-at-all")
    (by_hand.folder / "go").touch()
    done = by_hand.snakemake()
    assert done.returncode == 0
    assert done.stderr.count("snakeway: ") == 1, done.stderr
    assert "does not record this run: the token is not the one of this server" in done.stderr
    by_hand.env["SNAKEWAY_TOKEN"] = token
    by_hand.snakeway("import")
    again = ByHand(tmp_path / "again", HELD, server, SNAKEWAY_TOKEN=token)
    (again.folder / "go").touch()
    said = again.snakemake()
    assert "snakeway: " not in said.stderr
    headers = {"Authorization": f"Bearer {token}"}
    for run in (by_hand, again):
        assert server.request("GET", f"/runs/{run.run_id}", headers=headers).status_code == 200
    for text in (done.stderr, said.stderr, again.events.read_text(), server.log.read_text()):
        assert token not in text
        assert "not-that-token" not in text


def test_status_needs_no_server(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path / "mixed", MIXED)
    by_hand.snakeway("status", code=4)
    assert by_hand.snakemake().returncode == 1
    lines = [line.split("\t") for line in by_hand.snakeway("status").splitlines()]
    assert lines[0][1:5] == ["ended", "1", "5/8", "2 failed, 5 succeeded"]
    failed = {line[3]: line[6] for line in lines if line[0] == "failed"}
    assert failed["exit"] == "boom"
    assert set(failed) == {"exit", "killed"}
    by_hand.snakeway("status", "--follow", code=1)
    [document] = json.loads(by_hand.snakeway("status", "--json"))
    assert document["jobs"] == {"failed": 2, "succeeded": 5}


def test_status_follows_to_the_end(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path / "held", HELD)
    with by_hand.started() as process:
        wait_until(lambda: (by_hand.folder / "up.txt").exists() or None, timeout_s=60, what="the last job")
        [document] = json.loads(by_hand.snakeway("status", "--json"))
        assert (document["state"], document["jobs"]) == ("alive", {"running": 1, "succeeded": 10})
        with guarded(
            [sys.executable, "-m", "snakeway", "status", "--follow"],
            log=tmp_path / "status.log",
            env=by_hand.env,
            cwd=by_hand.folder,
        ) as follower:
            log = tmp_path / "status.log"
            wait_until(lambda: "sum" in log.read_text() or None, timeout_s=30, what="the job to be shown")
            (by_hand.folder / "go").touch()
            assert follower.wait(60) == 0
        process.wait(60)
    assert (tmp_path / "status.log").read_text().splitlines()[-1].split("\t")[1] == "ended"
