"""Runs on a real Slurm cluster: what they make, what is seen of them, cancelling, the doctor."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.e2e.test_gates import decide
from tests.support.server import ROOT, Server
from tests.support.slurm import Cluster
from tests.support.waiting import wait_until

# A larger run: SLURM_JOBS=500 make test ARGS="-k by_hand_and_by_the_service"
JOBS = int(os.environ.get("SLURM_JOBS", "12"))

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600 + 10 * JOBS)]

# Every job notes its node in a file that is only ever appended to.
STEPS = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{{i}}.txt"
    shell: "sleep {seconds}; echo {{wildcards.i}} > {{output}}; echo $SLURMD_NODENAME {{wildcards.i}} >> done.log"

rule sum:
    input: expand("steps/{{i}}.txt", i=range({jobs}))
    output: "sum.txt"
    shell: "cat {{input}} | sort -n > {{output}}"
"""


def steps(jobs: int, seconds: float = 0) -> str:
    return STEPS.format(jobs=jobs, seconds=seconds)


def by_place(jobs: list[Any]) -> list[Any]:
    """What does not depend on when and where."""
    told = ("rule", "wildcards", "state", "inputs", "outputs", "logs", "threads", "exit_code", "try")
    return sorted(([job[name] for name in told] for job in jobs), key=json.dumps)


def running(server: Server, run_id: str) -> Callable[[], Any]:
    return lambda: [job for job in server.jobs(run_id) if job["state"] == "running"] or None


class Login(ByHand):
    """Somebody on a login node, with the profile of the cluster."""

    profile = ROOT / "profiles" / "slurm"
    timeout_s = 120 + 10 * JOBS

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", str(self.profile)]


def test_by_hand_and_by_the_service_the_same_is_made_and_recorded(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    server = slurm_server(workflows_dir=workflows(steps=steps(JOBS)))
    run_id = server.submit("steps", target="quick")
    login = Login(tmp_path / "login", steps(JOBS), server, **cluster.env)
    login.profile = server.profiles_dir / "quick"
    done = login.snakemake()
    assert done.returncode == 0, done.stderr
    run = server.end_of(run_id, timeout_s=20 * JOBS)
    assert run["state"] == "succeeded", run
    made = (server.directory(run_id) / "sum.txt").read_text()
    assert made == "".join(f"{i}\n" for i in range(JOBS)) == (login.folder / "sum.txt").read_text()
    assert server.end_of(login.run_id)["state"] == "succeeded"
    assert by_place(server.jobs(run_id)) == by_place(server.jobs(login.run_id))
    nodes = {line.split()[0] for line in (server.directory(run_id) / "done.log").read_text().splitlines()}
    assert nodes == {"node1", "node2", "node3", "node4"}


def test_everything_that_the_scheduler_knows_is_recorded(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = (
        steps(3) + '\nrule hungry:\n    output: "hungry.txt"\n    resources: mem_mb=2000\n    shell: "touch {output}"\n'
    )
    text = text.replace('input: "sum.txt"', 'input: "sum.txt", "hungry.txt"')
    server = slurm_server(workflows_dir=workflows(steps=text))
    run_id = server.submit("steps", target="quick")
    assert server.end_of(run_id, timeout_s=120)["state"] == "succeeded"

    def booked() -> Any:
        jobs = [job for job in server.jobs(run_id) if job["rule"] != "all"]
        return jobs if all(job["scheduled"] and job["scheduled"]["final"] for job in jobs) else None

    for job in wait_until(booked, timeout_s=60, what="the books to be read"):
        known = job["scheduled"]
        assert (known["state"], known["phase"], known["exit_code"]) == ("COMPLETED", "ended", 0)
        assert known["host"] in {"node1", "node2", "node3", "node4"}
        assert known["cpus"] == 1
        assert known["mem_mb"] == (2000 if job["rule"] == "hungry" else 1000)
        assert known["cpu_s"] > 0
        assert job["external_id"].isdigit()
        assert job["submitted_at"] <= job["started_at"] <= job["ended_at"]
        assert job["scheduler_log"].endswith(f"/{job['external_id']}.log")
        log = server.request("GET", f"/runs/{run_id}/jobs/{job['job']}/log", params={"source": "scheduler"})
        assert "Building DAG of jobs" in log.text
    found = server.get(f"/runs/{run_id}/efficiency")
    (hungry,) = [rule for rule in found["rules"] if rule["rule"] == "hungry"]
    assert 0 < hungry["mem_ratio"] < 0.5
    assert hungry["suggestion"]["set_resources"]["hungry"]["mem_mb"] < 1000
    assert 0 < found["cpu_ratio"] <= 1.5

    def closed() -> Any:
        cost = server.get(f"/runs/{run_id}/cost")
        return None if cost["provisional"] else cost

    cost = wait_until(closed, timeout_s=60, what="the books to be closed")
    hours = {"vcpu_hours": 0.0, "gib_hours": 0.0}
    on_nodes = [job for job in server.jobs(run_id) if job["rule"] != "all"]
    for job in on_nodes:
        seconds = (datetime.fromisoformat(job["ended_at"]) - datetime.fromisoformat(job["started_at"])).total_seconds()
        hours["vcpu_hours"] += job["scheduled"]["cpus"] * seconds / 3600
        hours["gib_hours"] += job["scheduled"]["mem_mb"] / 1024 * seconds / 3600
    of_rules = {rule["rule"]: rule["cost"] for rule in cost["rules"] if rule["rule"] != "all"}
    for name, expected in hours.items():
        assert sum(rule[name] for rule in of_rules.values()) == pytest.approx(expected, abs=1e-5)
    assert sum(rule["jobs"] for rule in of_rules.values()) == len(on_nodes)
    month = on_nodes[0]["ended_at"][:7]
    [quick] = server.get("/cost", target="quick", by="target", since=month)["items"]
    assert quick["cost"]["jobs"] == len(on_nodes)


def test_a_job_is_seen_waiting_and_running_and_its_log_is_read_meanwhile(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    text = """
rule all:
    input: "big.txt", "small.txt"

rule big:
    output: "big.txt"
    resources: mem_mb=63000
    shell: "echo the big one; until [ -e go ]; do sleep 0.2; done; touch {output}"

rule small:
    output: "small.txt"
    resources: slurm_extra="'--begin=now+1hour'"
    shell: "touch {output}"
"""
    server = slurm_server(workflows_dir=workflows(two=text))
    run_id = server.submit("two", target="quick")

    def seen() -> Any:
        jobs = {job["rule"]: job for job in server.jobs(run_id) if job["scheduled"]}
        assert jobs.keys() == {"big", "small"}
        assert jobs["big"]["state"] == "running"
        return jobs

    jobs = wait_until(seen, timeout_s=60, what="both jobs to be seen in Slurm")
    assert jobs["big"]["scheduled"]["state"] == "RUNNING"
    assert jobs["big"]["scheduled"]["host"].startswith("node")
    assert jobs["small"]["state"] == "submitted"
    assert (jobs["small"]["scheduled"]["state"], jobs["small"]["scheduled"]["reason"]) == ("PENDING", "BeginTime")
    path = f"/runs/{run_id}/jobs/{jobs['big']['job']}/log"
    wait_until(lambda: "the big one" in server.request("GET", path).text or None, timeout_s=30, what="its log")
    (server.directory(run_id) / "go").touch()
    cluster.run("scontrol", "update", f"jobid={jobs['small']['external_id']}", "starttime=now")
    assert server.end_of(run_id, timeout_s=90)["state"] == "succeeded"


def test_a_gate_may_be_a_job_on_a_node(slurm_server: StartServer, workflows: Callable[..., Path]) -> None:
    text = """
rule release:
    input: "gate.json"
    output: "released.txt"
    shell: "cp {input} {output}"

rule review:
    output: "gate.json"
    shell: "snakeway gate {output} --title 'Is it good?'"
"""
    server = slurm_server(workflows_dir=workflows(gated=text))
    run_id = server.submit("gated", target="quick")
    wait_until(
        lambda: server.get(f"/runs/{run_id}")["state"] == "paused" or None, timeout_s=60, what="the run to be paused"
    )
    decide(server, run_id, "gate.json")
    assert server.end_of(run_id, timeout_s=90)["state"] == "succeeded"


def test_cancelling_leaves_nothing_in_slurm(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = slurm_server(workflows_dir=workflows(steps=steps(30, seconds=600)))
    run_id = server.submit("steps", target="quick")
    wait_until(running(server, run_id), timeout_s=60, what="running jobs")
    server.request("POST", f"/runs/{run_id}/cancel")
    run = server.end_of(run_id, timeout_s=60)
    assert run["state"] == "cancelled"
    assert cluster.jobs(run_id) == []
    assert {job["state"] for job in server.jobs(run_id)} <= {"cancelled"}


def test_snakemake_may_itself_be_a_job_of_slurm(cluster: Cluster, tmp_path: Path) -> None:
    login = Login(tmp_path / "login", steps(3), **cluster.env)
    command = " ".join(login.argv)
    out = tmp_path / "outer.log"
    argv = [
        "sbatch",
        "--wait",
        "--mem=500",
        "--time=10",
        f"--output={out}",
        f"--chdir={login.folder}",
        f"--wrap={command}",
    ]
    done = subprocess.run(argv, env=login.env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, out.read_text()
    assert (login.folder / "sum.txt").read_text() == "0\n1\n2\n"
    assert login.snakeway("status") != ""


def test_the_doctor_finds_a_healthy_cluster_and_a_dead_one(cluster: Cluster, tmp_path: Path) -> None:
    env = {**cluster.env, "SNAKEWAY_DATA_DIR": str(tmp_path / "data"), "SNAKEWAY_PROFILES_DIR": str(ROOT / "profiles")}
    env["SNAKEWAY_WORKFLOWS_DIR"] = str(ROOT / "workflows")
    login = Login(tmp_path / "login", steps(1), **env)
    found = {
        line["check"]: line["state"] for line in json.loads(login.snakeway("doctor", "--target", "slurm", "--json"))
    }
    checks = ("slurm controller", "slurm accounting", "slurm job", "shared folder", "node clock", "node snakemake")
    assert {name: found[name] for name in checks} == dict.fromkeys(checks, "ok")
    cluster.stop("slurmctld")
    sick = json.loads(login.snakeway("doctor", "--target", "slurm", "--json", code=1))
    assert {line["check"] for line in sick if line["state"] == "fail"} == {"slurm controller"}
