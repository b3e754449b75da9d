"""Everything that can be wrong: a clear error in the answer or on the run, no traceback, no run that hangs."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.support.disk import small_disk
from tests.support.server import Server

GOOD = 'rule all:\n    output: "out.txt"\n    shell: "touch {output}"\n'


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({"workflow": "quickstat"}, 404, "workflow_not_found", "quickstart"),
        ({"workflow": "quickstart", "target": "moon"}, 404, "target_not_found", "local"),
        ({"workflow": "quickstart", "config": {"batchs": 3}}, 422, "invalid_config", "batches"),
        ({"workflow": "quickstart", "config": {"batches": "three"}}, 422, "invalid_config", "batches"),
        ({"workflow": "quickstart", "confg": {}}, 400, "invalid_request", "confg"),
        ({"workflow": 7}, 400, "invalid_request", "workflow"),
        (
            {"workflow": "quickstart", "set_resources": {"x": {"mem_mb": "os.abort()"}}},
            400,
            "invalid_request",
            "mem_mb",
        ),
        ({"workflow": "quickstart", "targets": ["--unlock"]}, 400, "invalid_request", "--unlock"),
        ({"workflow": {"git": {"url": "ext::sh -c id"}}}, 400, "invalid_request", "ext::sh"),
        ({"workflow": "quickstart", "note": "x" * 2_000_000}, 413, "body_too_large", "larger than"),
        ({"workflow": "../quickstart"}, 404, "workflow_not_found", ""),
    ],
)
def test_a_bad_submission_is_refused_with_words(
    server: Server, body: dict[str, Any], status: int, code: str, said: str
) -> None:
    answer = server.request("POST", "/runs", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert said in problem["detail"] + str(problem.get("field"))
    assert "Traceback" not in answer.text


SYNTAX_ERROR = 'rule all:\n    input: "a"\n    output "b"\n'
EARLY_SYNTAX_ERROR = 'rule all:\n    input "a"\n'  # Snakemake dies of telling it
MISSING_INPUT = 'rule all:\n    input: "not-there.txt"\n'
PYTHON_ERROR = 'raise ValueError("the sample sheet is empty")\n'
BROKEN_CONFIGFILE = 'open("other.yaml", "w").write("a: [1,\\nb: 2\\n")\nconfigfile: "other.yaml"\n'
NO_TARGET = 'rule a:\n    output: "{x}.txt"\n    shell: "touch {output}"\n'


@pytest.mark.parametrize(
    ("snakefile", "said"),
    [
        (SYNTAX_ERROR, "SyntaxError"),
        (EARLY_SYNTAX_ERROR, "Snakefile, line 2: Colon expected after keyword input."),
        (MISSING_INPUT, "not-there.txt"),
        (PYTHON_ERROR, "the sample sheet is empty"),
        (NO_TARGET, "wildcard"),
        (BROKEN_CONFIGFILE, "not valid JSON or YAML"),
    ],
)
def test_a_broken_workflow_fails_its_run_with_snakemakes_words(
    start_server: StartServer, workflows: Callable[..., Path], snakefile: str, said: str
) -> None:
    server = start_server(workflows_dir=workflows(broken=snakefile))
    real, dry = server.submit("broken"), server.submit("broken", dry_run=True)
    run = server.end_of(real)
    assert run["state"] == "failed"
    assert said in run["error"]
    assert "Traceback" not in run["error"]
    asked = server.end_of(dry)
    assert (asked["state"], asked["error"]) == ("failed", run["error"])
    failure, of_dry = (server.get(f"/runs/{run_id}/attempts")["items"][0]["failure"] for run_id in (real, dry))
    assert failure["kind"] == ("missing_input" if snakefile == MISSING_INPUT else "invalid_workflow")
    assert {**of_dry, "file": str(of_dry["file"]).replace(dry, real)} == {**failure, "file": str(failure["file"])}


def test_broken_yaml_in_a_workflow_is_named(start_server: StartServer, workflows: Callable[..., Path]) -> None:
    folder = workflows(broken=GOOD)
    (folder / "broken/config").mkdir()
    (folder / "broken/config/config.yaml").write_text("a: [1,\nb: 2\n")
    server = start_server(workflows_dir=folder)
    problem = server.request("POST", "/runs", json={"workflow": "broken"}).json()
    assert problem["code"] == "invalid_workflow"
    assert "config/config.yaml" in problem["detail"]
    assert "config/config.yaml" in server.get("/workflows")["items"][0]["error"]


def test_no_room_for_events_does_not_stop_the_run_and_is_said(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    # The workflow makes its own events file a device that is always full, before snakemake's plugin opens it.
    full = 'import os\npath = ".snakeway/attempts/1/events.ndjson"\n'
    full += 'if not os.path.lexists(path):\n    os.symlink("/dev/full", path)\n'
    server = start_server(workflows_dir=workflows(full=full + GOOD))
    run_id = server.submit("full")
    run = server.end_of(run_id)
    log = server.request("GET", f"/runs/{run_id}/log").text
    assert run["state"] == "succeeded"
    assert os.strerror(errno.ENOSPC) in log


def test_a_full_disk_fails_the_run_with_the_reason_and_what_is_done_is_kept(
    start_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    fills = 'rule all:\n    input: "first.txt"\n    output: "out.txt"\n'
    fills += '    shell: "test -e ../../once || cat /dev/zero > ../../fill || true; touch {output}"\n'
    fills += 'rule first:\n    output: "first.txt"\n    shell: "echo done > {output}"\n'
    with small_disk(tmp_path / "disk", "16m") as disk:
        database = {"SNAKEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'snakeway.db'}"}
        server = start_server(data_dir=disk / "data", workflows_dir=workflows(fills=fills), settings=database)
        run_id = server.submit("fills")
        run = server.end_of(run_id)
        assert run["state"] == "failed"
        assert "no space" in run["error"].lower()
        log = server.request("GET", f"/runs/{run_id}/log").text
        assert "snakeway/supervisor" not in log  # no traceback of ours
        (disk / "data/fill").unlink()
        (disk / "data/once").touch()
        assert server.request("POST", f"/runs/{run_id}/rerun", json={}).status_code == 202
        assert server.end_of(run_id)["state"] == "succeeded"
        assert [job["rule"] for job in server.get(f"/runs/{run_id}/jobs", attempt=2)["items"]] == ["all"]
        server.stop()


def test_a_run_that_cannot_be_prepared_fails_with_the_reason(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = start_server(workflows_dir=workflows(good=GOOD))
    (server.data_dir / "runs").write_text("a file where a folder is needed")
    run = server.end_of(server.submit("good"))
    assert run["state"] == "failed"
    assert str(server.data_dir / "runs") in run["error"]


def test_a_snapshot_that_was_removed_is_reported_on_the_run(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    import shutil

    server = start_server(workflows_dir=workflows(good=GOOD))
    run_id = server.submit("good")
    assert server.end_of(run_id)["state"] == "succeeded"
    shutil.rmtree(server.data_dir / "workflows")
    problem = server.request("POST", f"/runs/{run_id}/rerun", json={}).json()
    assert problem["code"] in ("workflow_not_found", "invalid_workflow")


def test_a_locked_database_is_a_clear_answer_and_a_short_one_is_waited_for(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    import sqlite3

    server = start_server(workflows_dir=workflows(good=GOOD), settings={"SNAKEWAY_DATABASE_WAIT_S": "0.5"})
    lock = sqlite3.connect(server.data_dir / "snakeway.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answer = server.request("POST", "/runs", json={"workflow": "good"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
    assert "Retry-After" in answer.headers
    lock.execute("ROLLBACK")
    lock.close()
    assert server.end_of(server.submit("good"))["state"] == "succeeded"


def test_another_address_is_refused_without_a_token(tmp_path: Path) -> None:
    import subprocess
    import sys

    server = Server(tmp_path / "data")
    argv = [sys.executable, "-m", "snakeway", "serve", "--host", "0.0.0.0"]
    done = subprocess.run(argv, env=server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "SNAKEWAY_TOKEN" in done.stderr
