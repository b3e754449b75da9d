"""Each way in which a job fails on Slurm, for real: the right kind, the right words, and a re-run that cures it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.support.server import Server
from tests.support.slurm import Cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("slurm that fails"), pytest.mark.timeout(600)]

# A rule `cured` job does not fail any more once the file of that name is there.
SEEDED = """
rule all:
    input: "memory.txt", "code.txt", "signal.txt", "missing.txt", "refused.txt", "words.txt"

rule memory:
    output: "memory.txt"
    resources: mem_mb=300
    shell: "python3 -c 'import time; x = bytearray(350_000_000); time.sleep(10)'; touch {output}"

rule code:
    output: "code.txt"
    shell: "echo the reason is here >&2; [ -e cured ] || exit 3; touch {output}"

rule signal:
    output: "signal.txt"
    shell: "[ -e cured ] || kill -9 $$; touch {output}"

rule missing:
    output: "missing.txt"
    shell: "[ ! -e cured ] || touch {output}"

rule refused:
    output: "refused.txt"
    resources: slurm_extra=lambda wildcards: "" if os.path.exists("cured") else "--gres-flags=nonsense"
    shell: "touch {output}"

rule words:
    output: "words.txt"
    log: "logs/words.log"
    shell: "echo MemoryError: too much > {log}; [ -e cured ]; touch {output}"
"""


def only(server: Server, run_id: str, rule: str) -> Any:
    """The newest attempt's job of a rule."""
    attempt = server.get(f"/runs/{run_id}/attempts")["items"][-1]["number"]
    (job,) = server.jobs(run_id, attempt=attempt, rule=rule)
    return job


def running_at(server: Server, run_id: str, rule: str) -> Callable[[], Any]:
    """Gives the job of a rule once Slurm says that it runs."""

    def found() -> Any:
        jobs = server.jobs(run_id, rule=rule)
        return jobs[0] if jobs and jobs[0]["scheduled"] and jobs[0]["scheduled"]["state"] == "RUNNING" else None

    return found


def test_what_goes_wrong_in_the_job_itself(slurm_server: StartServer, workflows: Callable[..., Path]) -> None:
    server = slurm_server(workflows_dir=workflows(seeded=SEEDED))
    run_id = server.submit("seeded", target="quick")
    run = server.end_of(run_id, timeout_s=180)
    assert run["state"] == "failed"
    failures = {job["rule"]: job["failure"] for job in server.jobs(run_id, state="failed")}
    # Slurm kills one process after the other; the job's snakemake may live long enough to say how its shell ended.
    assert failures["memory"].pop("exit_code") in (None, 137)
    told = {
        rule: (failure["kind"], failure.get("exit_code"), failure["suggestion"]) for rule, failure in failures.items()
    }
    more = {"set_resources": {"memory": {"mem_mb": 600}}}
    assert told == {
        "memory": ("out_of_memory", None, more),
        "code": ("exit_code", 3, None),
        "signal": ("signal", 137, None),
        "missing": ("missing_output", None, None),
        "refused": ("refused", None, None),
        "words": ("out_of_memory", 1, {"set_resources": {"words": {"mem_mb": 2000}}}),
    }
    summaries = {rule: failure["summary"] for rule, failure in failures.items()}
    assert summaries["memory"].startswith("Out of memory (it had 300 MB, of which Slurm saw ")
    assert summaries["code"] == "Exit code 3: the reason is here"
    assert summaries["signal"].startswith("SIGKILL ended it")
    assert "missing.txt" in summaries["missing"]
    assert "gres-flags" in summaries["refused"]
    assert summaries["words"].endswith("MemoryError: too much")
    for rule in failures.keys() - {"refused"}:
        assert failures[rule]["host"].startswith("node"), rule
        assert failures[rule]["scheduler"], rule
    (server.directory(run_id) / "cured").touch()
    server.rerun(run_id, apply_suggestions=True)
    cured = server.end_of(run_id, timeout_s=120)
    assert cured["state"] == "succeeded", cured
    assert cured["jobs"]["total"] == 7


def test_a_time_limit(cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]) -> None:
    text = """
rule slow:
    output: "slow.txt"
    resources: runtime=1
    shell: "[ -e cured ] || sleep 300; touch {output}"
"""
    server = slurm_server(workflows_dir=workflows(slow=text))
    run_id = server.submit("slow", target="quick")
    run = server.end_of(run_id, timeout_s=240)
    assert run["error"] == "1 of 1 jobs failed: slow (1: time limit)."
    job = only(server, run_id, "slow")
    assert job["failure"]["summary"] == "It took longer than it was allowed to (it had 1 minutes); Slurm ended it"
    assert job["failure"]["scheduler"].startswith("TIMEOUT")
    assert job["failure"]["suggestion"] == {"set_resources": {"slow": {"runtime": 2}}}
    (server.directory(run_id) / "cured").touch()
    server.rerun(run_id, apply_suggestions=True)
    assert server.end_of(run_id, timeout_s=60)["state"] == "succeeded"
    id_ = only(server, run_id, "slow")["external_id"]
    books = ("sacct", "-n", "-X", "--format=TimelimitRaw", f"--jobs={id_}")
    limit = wait_until(lambda: cluster.run(*books).split() or None, timeout_s=60, what="the books to have the job")
    assert limit == ["2"]


WAITING = """
rule waiting:
    output: "waiting.txt"
    resources: mem_mb=60000, slurm_partition={partition!r}, slurm_extra={extra!r}
    shell: "[ -e cured ] || sleep 600; touch {{output}}"
"""


def cured(server: Server, run_id: str) -> None:
    """Re-run with what is suggested, which is nothing: the same again succeeds."""
    assert only(server, run_id, "waiting")["failure"]["suggestion"] == {"set_resources": {}}
    (server.directory(run_id) / "cured").touch()
    server.rerun(run_id, apply_suggestions=True)
    assert server.end_of(run_id, timeout_s=90)["state"] == "succeeded"


def test_somebody_cancels_the_job_in_slurm(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(one=WAITING.format(partition="main", extra="")))
    run_id = server.submit("one", target="quick")
    job = wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    cluster.run("scancel", job["external_id"])
    run = server.end_of(run_id, timeout_s=90)
    assert run["state"] == "failed"
    failure = only(server, run_id, "waiting")["failure"]
    assert (failure["kind"], failure["summary"]) == (
        "cancelled",
        "It was cancelled in Slurm by root, not by this run",
    )
    assert failure["scheduler"].startswith("CANCELLED by root")
    cured(server, run_id)


def test_a_job_of_higher_priority_takes_the_place(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = WAITING.format(partition="leftover", extra="--nodelist=node4")
    server = slurm_server(workflows_dir=workflows(one=text))
    run_id = server.submit("one", target="quick")
    wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    urgent = ["sbatch", "--parsable", "--nodelist=node4", "--mem=60000", "--output=/dev/null", "--wrap=true"]
    cluster.run(*urgent)
    run = server.end_of(run_id, timeout_s=120)
    assert run["state"] == "failed"
    failure = only(server, run_id, "waiting")["failure"]
    assert (failure["kind"], failure["summary"]) == ("preempted", "Slurm gave its place to a job of higher priority")
    cured(server, run_id)


def test_a_node_dies_and_its_job_goes_back_into_the_queue(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = WAITING.format(partition="main", extra="")
    server = slurm_server(workflows_dir=workflows(one=text))
    run_id = server.submit("one", target="quick")
    job = wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    (server.directory(run_id) / "cured").touch()
    cluster.kill_node(job["scheduled"]["host"])
    run = server.end_of(run_id, timeout_s=180)
    assert run["state"] == "succeeded", run
    after = only(server, run_id, "waiting")
    assert after["external_id"] == job["external_id"]
    assert len(server.get(f"/runs/{run_id}/attempts")["items"]) == 1


def test_a_node_dies_where_jobs_are_not_put_back(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = WAITING.format(partition="main", extra="--no-requeue")
    server = slurm_server(workflows_dir=workflows(one=text))
    profile = server.profiles_dir / "quick" / "config.yaml"
    lines = [line for line in profile.read_text().splitlines() if not line.startswith("snakeway-slurm-requeue")]
    profile.write_text("\n".join(lines) + "\n")
    run_id = server.submit("one", target="quick")
    job = wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    node = job["scheduled"]["host"]
    cluster.kill_node(node)
    run = server.end_of(run_id, timeout_s=180)
    assert run["error"] == "1 of 1 jobs failed: waiting (1: node lost)."
    failure = only(server, run_id, "waiting")["failure"]
    assert failure["summary"] == f"The node {node} failed"
    assert failure["scheduler"].startswith("NODE_FAIL")
    cured(server, run_id)


def test_a_drained_node_ends_its_jobs_in_peace(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(one=WAITING.format(partition="main", extra="").replace("600", "5")))
    run_id = server.submit("one", target="quick")
    job = wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    cluster.run("scontrol", "update", f"nodename={job['scheduled']['host']}", "state=drain", "reason=test")
    assert server.end_of(run_id, timeout_s=90)["state"] == "succeeded"


def test_somebody_puts_a_running_job_back_into_the_queue(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(one=WAITING.format(partition="main", extra="")))
    run_id = server.submit("one", target="quick")
    job = wait_until(running_at(server, run_id, "waiting"), timeout_s=60, what="the job to run")
    (server.directory(run_id) / "cured").touch()
    cluster.run("scontrol", "requeue", job["external_id"])
    assert server.end_of(run_id, timeout_s=240)["state"] == "succeeded"
    assert json.dumps(only(server, run_id, "waiting")["tries"]) == "[]"
