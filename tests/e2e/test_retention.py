"""Retention rules of a real server."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import StartServer
from tests.support.waiting import wait_until

QUICK = 'rule all:\n    output: "done.txt"\n    shell: "touch {output}"\n'


def test_a_supervisor_applies_the_rules_and_keeps_what_is_to_be_kept(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    rule = {"older_than": "0.5s", "states": ["succeeded"], "labels": {"scratch": "yes"}}
    settings = {
        "SNAKEWAY_RETENTION": json.dumps([rule]),
        "SNAKEWAY_RETENTION_INTERVAL_S": "0.2",
        "SNAKEWAY_KEEP_LABEL": "precious",
    }
    server = start_server(workflows_dir=workflows(quick=QUICK), settings=settings)
    kept = server.submit("quick", labels={"scratch": "yes", "precious": ""})
    other = server.submit("quick")
    server.end_of(kept)
    server.end_of(other)
    scratch = server.submit("quick", labels={"scratch": "yes"})

    def lines() -> list[dict[str, object]]:
        found: list[dict[str, object]] = server.get("/audit")["items"]
        return found

    [line] = wait_until(lambda: lines() or None, timeout_s=60, what="the removal of the run")
    assert (line["run_id"], line["action"], line["actor"]) == (scratch, "expire", "supervisor")
    wait_until(lambda: not server.directory(scratch).exists(), timeout_s=10, what="its directory to be gone")
    assert server.directory(kept).exists()
    assert {run["id"] for run in server.get("/runs")["items"]} == {kept, other}
    assert server.stop() == 0
