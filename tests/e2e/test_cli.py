"""The command line as a process, against a real server that runs the quickstart workflow."""

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartServer
from tests.support.server import Server, free_port
from tests.support.waiting import wait_until

SMALL = ("-c", "species=[Adelie]", "-c", "batches=2")
BROKEN = ("-c", "memory_demo=true", "-c", "memory_demo_every=2")
REPAIRED = ("--set-resources", "bootstrap:mem_mb=400")

Snakeway = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def snakeway(server: Server, tmp_path: Path) -> Snakeway:
    def call(*args: str, env: dict[str, str] | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "snakeway", *args],
            env={**server.env, **(env or {})},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == code, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return call


def test_a_folder_is_sent_and_run(snakeway: Snakeway, tmp_path: Path) -> None:
    folder = tmp_path / "my-workflow"
    (folder / "workflow").mkdir(parents=True)
    text = 'rule all:\n    output: "made.txt"\n    shell: "./program > {output}"\n'
    (folder / "workflow" / "Snakefile").write_text(text)
    (folder / "program").write_text("#!/bin/sh\necho it runs\n")
    (folder / "program").chmod(0o755)
    (folder / ".gitignore").write_text("made.txt\n")
    (folder / "made.txt").write_text("an old result")
    run_id = snakeway("submit", "./my-workflow", "-f").stdout.strip()
    shown = json.loads(snakeway("show", run_id, "--json").stdout)
    assert (shown["workflow"], shown["state"], shown["source"]["kind"]) == ("my-workflow", "succeeded", "bundle")
    snakeway("get", run_id, "--output", str(tmp_path / "results"))
    assert (tmp_path / "results" / "made.txt").read_text() == "it runs\n"
    assert "no Snakefile" in snakeway("submit", str(tmp_path / "results"), code=2).stderr
    assert "is not a folder" in snakeway("submit", "./none", code=4).stderr
    assert "did you mean the folder ./my-workflow?" in snakeway("submit", "my-workflow", code=4).stderr


def test_a_failure_is_seen_repaired_and_fetched(snakeway: Snakeway, tmp_path: Path) -> None:
    followed = snakeway("submit", "quickstart", *SMALL, *BROKEN, "-l", "test=repair", "--note", "n", "-f", code=1)
    run_id = followed.stdout.strip()
    short = run_id[-8:]
    lines = [line.split("\t") for line in followed.stderr.splitlines()]
    assert {len(line) for line in lines} == {4}
    assert [line[2] for line in lines if line[1] == f"run {run_id}"][-1] == "failed"

    shown = json.loads(snakeway("show", short, "--json").stdout)
    assert (shown["state"], shown["note"]) == ("failed", "n")
    assert shown["error"]
    [failed] = json.loads(snakeway("jobs", short, "--failed", "--json").stdout)
    assert (failed["rule"], failed["wildcards"]) == ("bootstrap", {"species": "Adelie", "batch": "2"})
    assert "MemoryError" in failed["log_tail"]
    assert "MemoryError" in snakeway("logs", short, "--job", str(failed["job"])).stdout

    plan = [line.split("\t") for line in snakeway("rerun", short, *REPAIRED, "--dry-run").stdout.splitlines()]
    assert plan[0][:2] == ["bootstrap", "1"]
    assert json.loads(snakeway("show", short, "--json").stdout)["state"] == "failed"

    again = snakeway("rerun", short, *REPAIRED, "--follow")
    assert [line.split("\t") for line in again.stdout.splitlines()] == plan
    started = {line.split("\t")[3] for line in again.stderr.splitlines() if "\trunning\t" in line}
    assert any(text.startswith("bootstrap") for text in started)
    assert not any(text.startswith("fit") for text in started)

    attempts = [line.split("\t") for line in snakeway("show", short).stdout.splitlines() if line.startswith("attempt")]
    assert [attempt[2:4] for attempt in attempts] == [
        ["failed", "submit"],
        ["succeeded", "rerun, dry run"],
        ["succeeded", "rerun"],
    ]
    assert snakeway("runs", "--label", "test=repair", "-q").stdout == f"{run_id}\n"
    assert snakeway("runs", "--label", "test=repair", "--state", "failed").stdout == ""

    listed = {artifact["path"]: artifact for artifact in json.loads(snakeway("artifacts", short, "--json").stdout)}
    snakeway("get", short)
    snakeway("get", short, "results/*.csv", "-o", "tables")
    for path, artifact in listed.items():
        data = (tmp_path / short / path).read_bytes()
        assert artifact["sha256"] == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "tables" / "results" / "table.csv").exists()
    assert {line.split("\t")[0] for line in snakeway("get", short).stdout.splitlines()} == {"present"}

    snakeway("cancel", short, code=7)
    snakeway("rm", short, code=2)
    snakeway("rm", short, "--yes")
    snakeway("show", run_id, code=4)


def test_events_as_json_lines(snakeway: Snakeway) -> None:
    lines = snakeway("submit", "quickstart", *SMALL, "-f", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "run"
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["state"] == "succeeded"
    finished = [event["data"]["job"] for event in events if event["event"] == "job_finished"]
    assert len(finished) == len(set(finished)) == events[-1]["data"]["jobs"]["total"]
    history = snakeway("show", events[0]["data"]["id"], "-f", "--json").stdout.splitlines()
    ids = [json.loads(line)["id"] for line in history]
    assert [id_ for id_ in ids if id_] == [event["id"] for event in events if event["id"]]


def test_cancelling_a_followed_run(server: Server, snakeway: Snakeway) -> None:
    follower = subprocess.Popen(
        [sys.executable, "-m", "snakeway", "submit", "quickstart", "-c", "batches=60", "-f"],
        env=server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    run_id = follower.stdout.readline().strip()
    wait_until(lambda: server.get(f"/runs/{run_id}")["jobs"]["done"] or None, timeout_s=60, what="a job to be done")
    assert snakeway("cancel", run_id, "--wait").stdout == f"{run_id}\tcancelled\n"
    follower.communicate(timeout=60)
    assert follower.returncode == 3


def test_ctrl_c_on_a_terminal_leaves_the_run_alone(server: Server, snakeway: Snakeway) -> None:
    control, terminal = pty.openpty()
    follower = subprocess.Popen(
        [sys.executable, "-m", "snakeway", "submit", "quickstart", *SMALL, "-f"],
        env={**server.env, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen = b""
    try:
        while b"jobs" not in screen:
            screen += os.read(control, 4096)
        follower.send_signal(signal.SIGINT)
        follower.send_signal(signal.SIGINT)
        while True:
            screen += os.read(control, 4096)
    except OSError:  # the terminal is closed
        pass
    finally:
        os.close(control)
    assert follower.wait(30) == 130
    text = screen.decode(errors="replace")
    assert "the run goes on" in text
    found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", text)
    assert found is not None
    assert server.end_of(found[0])["state"] == "succeeded"


def test_logs_are_followed_to_the_end(snakeway: Snakeway) -> None:
    run_id = snakeway("submit", "quickstart", *SMALL).stdout.strip()
    followed = snakeway("logs", run_id, "--follow").stdout
    assert json.loads(snakeway("show", run_id, "--json").stdout)["state"] == "succeeded"
    assert followed == snakeway("logs", run_id).stdout
    tail = snakeway("logs", run_id, "--tail", "3").stdout
    assert followed.endswith(tail)
    assert tail == snakeway("logs", run_id, "--tail", "3", "--follow").stdout


def test_following_outlives_the_server(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    follower = subprocess.Popen(
        [sys.executable, "-m", "snakeway", "submit", "quickstart", "-c", "batches=8", "-f", "--json"],
        env=server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    run_id = json.loads(follower.stdout.readline())["data"]["id"]
    wait_until(lambda: server.get(f"/runs/{run_id}")["jobs"]["done"] or None, timeout_s=60, what="a job to be done")
    server.kill()
    server.start()
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0, err
    assert "trying again" in err
    events = [json.loads(line) for line in out.splitlines()]
    finished = [event["data"]["job"] for event in events if event["event"] == "job_finished"]
    assert len(finished) == len(set(finished)) == events[-1]["data"]["jobs"]["total"]


def test_what_can_be_run_and_where(snakeway: Snakeway) -> None:
    assert "quickstart" in [line.split("\t")[0] for line in snakeway("workflows").stdout.splitlines()]
    keys = {
        line.split("\t")[0]: line.split("\t")[1:] for line in snakeway("workflows", "quickstart").stdout.splitlines()
    }
    assert keys["batches"][:2] == ["integer", "12"]
    assert "local" in [target["name"] for target in json.loads(snakeway("targets", "--json").stdout)]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["submit", "none"], 4, "no workflow 'none'"),
        (["submit", "quickstart", "-t", "none"], 4, "none"),
        (["submit", "quickstart", "-c", "batches=many"], 2, "batches"),
        (["submit", "quickstart", "--set-threads", "a-b=1"], 2, "set_threads"),
        (["submit", "--git", "gopher://x"], 2, "gopher"),
        (["show", "00000000-0000-7000-8000-000000000000"], 4, "no run"),
        (["logs", "00000000-0000-7000-8000-000000000000", "-f"], 4, "no run"),
    ],
)
def test_what_the_server_refuses(args: list[str], code: int, said: str, snakeway: Snakeway) -> None:
    done = snakeway(*args, code=code)
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_token(snakeway: Snakeway, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", settings={"SNAKEWAY_TOKEN": "a-token-of-this-test"}).start(wait=False)
    env = {"SNAKEWAY_URL": server.url}
    try:
        wait_until(lambda: "serves on" in server.log.read_text(), timeout_s=60, what="the server")
        assert "SNAKEWAY_TOKEN" in snakeway("runs", env=env, code=6).stderr
        snakeway("runs", env={**env, "SNAKEWAY_TOKEN": "another-token-altogether"}, code=6)
        snakeway("runs", env={**env, "SNAKEWAY_TOKEN": "a-token-of-this-test"})
    finally:
        server.kill()


def test_the_doctor_with_and_without_a_server(snakeway: Snakeway) -> None:
    findings = json.loads(snakeway("doctor", "--json").stdout)
    assert [finding for finding in findings if finding["state"] == "fail"] == []
    assert {"server", "supervisor", "database", "snakemake"} <= {finding["check"] for finding in findings}
    away = {"SNAKEWAY_URL": f"http://127.0.0.1:{free_port()}"}
    done = snakeway("doctor", env=away, code=1)
    assert any(line.startswith("fail\tserver\t") for line in done.stdout.splitlines())
    assert "snakeway serve" in snakeway("runs", env=away, code=5).stderr


def test_a_port_that_is_taken_is_one_line(server: Server, snakeway: Snakeway, tmp_path: Path) -> None:
    done = snakeway("serve", "--data-dir", str(tmp_path / "data"), code=2)
    [line] = done.stderr.splitlines()
    assert line.startswith("snakeway: error: cannot listen on")
