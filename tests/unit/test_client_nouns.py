"""The nouns that stand-in servers answer with, checked against those of the API so that they cannot drift from it."""

from typing import Any

import msgspec
import pytest

from snakeway.api import artifact as api_artifact
from snakeway.api import attempt as api_attempt
from snakeway.api import audit as api_audit
from snakeway.api import cost as api_cost
from snakeway.api import delivery as api_delivery
from snakeway.api import input as api_input
from snakeway.api import job as api_job
from snakeway.api import prune as api_prune
from snakeway.api import run as api_run
from snakeway.api import target as api_target
from snakeway.api import workflow as api_workflow
from snakeway.client import nouns

RUN_ID = "01939c8e-7c1a-7def-8a6b-0123456789ab"
OTHER_ID = "01939c8e-7c1a-7def-8a6b-0123ffff89ab"


def run(**changes: Any) -> dict[str, Any]:
    return {
        "id": RUN_ID,
        "state": "running",
        "workflow": "quickstart",
        "digest": "sha256:10e67f937865",
        "source": {"kind": "catalog", "name": "quickstart"},
        "target": "local",
        "config": {"batches": 2, "model": {"seed": 1, "kind": "ols"}},
        "labels": {"project": "penguins"},
        "note": "",
        "dry_run": False,
        "outside": False,
        "owner": "local",
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "ended_at": None,
        "stop_requested_at": None,
        "error": None,
        "jobs": {"total": 8, "done": 3, "failed": 0},
        "inputs": [],
        "trace_id": "0" * 31 + "1",
        **changes,
    }


def input_(**changes: Any) -> dict[str, Any]:
    return {
        "id": OTHER_ID,
        "name": "a.txt",
        "state": "complete",
        "reference": f"input:{OTHER_ID}",
        "size_bytes": 2048,
        "offset": 2048,
        "sha256": "ab" * 32,
        "owner": "local",
        "created_at": "2026-01-02T03:04:05Z",
        "completed_at": "2026-01-02T03:04:06Z",
        "expires_at": None,
        **changes,
    }


def attempt(**changes: Any) -> dict[str, Any]:
    return {
        "id": "01939c8e-7c1a-7def-8a6b-00000000a001",
        "run_id": RUN_ID,
        "number": 1,
        "state": "running",
        "reason": "submit",
        "dry_run": False,
        "target": "local",
        "image": None,
        "digest": "sha256:10e67f937865",
        "config": {"batches": 2, "model": {"seed": 1, "kind": "ols"}},
        "overrides": {
            "set_resources": {},
            "set_threads": {},
            "targets": [],
            "until": [],
            "forcerun": [],
            "forceall": False,
        },
        "plan": None,
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "ended_at": None,
        "exit_code": None,
        "exit_signal": None,
        "error": None,
        "failure": None,
        "suggestion": None,
        "gates_only": False,
        "host": "node1",
        "snakemake_version": "9.27.1",
        "jobs": {"total": 8, "done": 3, "failed": 0},
        "events_lost": 0,
        "rulegraph": None,
        **changes,
    }


def job(**changes: Any) -> dict[str, Any]:
    return {
        "attempt": 1,
        "job": 5,
        "state": "succeeded",
        "try": 1,
        "rule": "fit",
        "wildcards": {"species": "Adelie"},
        "inputs": ["in.csv"],
        "outputs": ["out.csv"],
        "logs": ["logs/fit.log"],
        "benchmark": None,
        "reason": "Missing output files: out.csv",
        "threads": 1,
        "resources": {"mem_mb": 100},
        "shell": "true",
        "checkpoint": False,
        "submitted_at": "2026-01-02T03:04:06Z",
        "started_at": "2026-01-02T03:04:16Z",
        "ended_at": "2026-01-02T03:05:36Z",
        "external_id": None,
        "held": None,
        "scheduled": None,
        "scheduler_log": None,
        "exit_code": 0,
        "signal": None,
        "message": None,
        "log_tail": None,
        "failure": None,
        "tries": [],
        **changes,
    }


def artifact(**changes: Any) -> dict[str, Any]:
    return {
        "path": "results/table.csv",
        "kind": "target",
        "size_bytes": 2048,
        "mtime": "2026-01-02T03:05:36Z",
        "sha256": None,
        "rule": "table",
        "attempt": 1,
        "job": 3,
        **changes,
    }


def workflow(**changes: Any) -> dict[str, Any]:
    return {
        "name": "quickstart",
        "description": "Fits a line.",
        "digest": "sha256:10e67f9378650123456789",
        "schema": {"properties": {"batches": {"type": "integer", "description": "Jobs."}}, "required": ["batches"]},
        "defaults": {"batches": 12, "model": {"seed": 1}},
        "source": {"kind": "catalog", "name": "quickstart"},
        "error": None,
        **changes,
    }


def target(**changes: Any) -> dict[str, Any]:
    return {"name": "local", "description": "This machine.", "executor": "local", "error": None, **changes}


def delivery(**changes: Any) -> dict[str, Any]:
    return {
        "id": "01939c8e-7c1a-7def-8a6b-00000000d001",
        "type": "run.failed",
        "url": "https://hooks.example.org",
        "state": "pending",
        "try_count": 2,
        "tries": [
            {
                "at": "2026-01-02T03:05:36Z",
                "status": 503,
                "error": "The receiver answered 503.",
                "took_s": 0.1,
            }
        ],
        "created_at": "2026-01-02T03:05:36Z",
        "next_try_at": "2026-01-02T03:05:56Z",
        "ended_at": None,
        **changes,
    }


def pruned(**changes: Any) -> dict[str, Any]:
    return {
        "id": RUN_ID,
        "workflow": "quickstart",
        "state": "failed",
        "owner": "local",
        "labels": {},
        "created_at": "2026-01-02T03:04:05Z",
        "ended_at": "2026-01-02T03:05:05Z",
        "size_bytes": 2048,
        "removed": False,
        **changes,
    }


def audit_line(**changes: Any) -> dict[str, Any]:
    return {
        "id": "01939c8e-7c1a-7def-8a6b-00000000e001",
        "at": "2026-01-03T03:04:05Z",
        "actor": "local",
        "action": "prune",
        "run_id": RUN_ID,
        "workflow": "quickstart",
        "owner": "local",
        "details": {"state": "failed", "size_bytes": 2048},
        **changes,
    }


def cost(**changes: Any) -> dict[str, Any]:
    return {
        "vcpu_hours": 2.5,
        "gib_hours": 10.0,
        "jobs": 3,
        "jobs_running": 0,
        "jobs_unknown": 0,
        "jobs_without_memory": 0,
        "amount": "0.0625",
        "currency": "EUR",
        "estimate": True,
        "kinds": ["cluster"],
        "missing": [],
        **changes,
    }


def run_cost(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN_ID,
        "provisional": False,
        "basis": "An estimate.",
        "total": cost(),
        "rules": [{"rule": "fit", "cost": cost()}],
        "attempts": [{"attempt": 1, "cost": cost()}],
        **changes,
    }


def costs(**changes: Any) -> dict[str, Any]:
    return {
        "items": [{"key": "ada", "cost": cost()}],
        "next": None,
        "by": "owner",
        "since": "2026-03",
        "until": "2026-03",
        "basis": "An estimate.",
        "total": cost(),
        "active_runs": 0,
        **changes,
    }


@pytest.mark.parametrize(
    ("made", "of_the_api", "of_the_client"),
    [
        (run(), api_run.Run, nouns.Run),
        (input_(), api_input.Input, nouns.Input),
        (attempt(), api_attempt.Attempt, nouns.Attempt),
        (job(), api_job.Job, nouns.Job),
        (artifact(), api_artifact.Artifact, nouns.Artifact),
        (workflow(), api_workflow.Workflow, nouns.Workflow),
        (target(), api_target.Target, nouns.Target),
        (delivery(), api_delivery.Delivery, nouns.Delivery),
        (delivery()["tries"][0], api_delivery.DeliveryTry, nouns.DeliveryTry),
        (pruned(), api_prune.PrunedRun, nouns.PrunedRun),
        (audit_line(), api_audit.AuditLine, nouns.AuditLine),
        (cost(), api_cost.Cost, nouns.Cost),
        (run_cost(), api_cost.RunCost, nouns.RunCost),
        (run_cost()["rules"][0], api_cost.RuleCost, nouns.RuleCost),
        (run_cost()["attempts"][0], api_cost.AttemptCost, nouns.AttemptCost),
        (costs(), api_cost.CostPage, nouns.Costs),
        (costs()["items"][0], api_cost.GroupCost, nouns.GroupCost),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_nouns_of_server_client_and_stand_in_are_the_same(made: Any, of_the_api: Any, of_the_client: Any) -> None:
    msgspec.convert(made, of_the_api)
    names = {known.encode_name for known in msgspec.structs.fields(of_the_api)}
    assert names == set(made) == of_the_client.__required_keys__ | of_the_client.__optional_keys__
