"""Slurm that says not now, does not answer, or answers half: runs wait, and ask no more than they need to."""

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_slurm import JOBS, running, steps
from tests.support.slurm import Cluster
from tests.support.waiting import wait_until

# A longer absence: SLURM_AWAY_S=120 make test ARGS="-k daemon_of_slurm_is_away"
AWAY_S = float(os.environ.get("SLURM_AWAY_S", "0"))

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600 + 10 * JOBS + 2 * AWAY_S)]

# Submits, and loses the answer the first time.
FORGETFUL = """\
#!/bin/sh
if mkdir "{folder}/lost" 2>/dev/null; then
    /usr/bin/sbatch "$@" > "{folder}/answer"
    echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
    exit 1
fi
exec /usr/bin/sbatch "$@"
"""


def test_a_limit_on_jobs_in_the_queue_is_waited_for_and_shown(
    slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    settings = {"SBATCH_QOS": "tight"}  # no more than two jobs at a time in the queue
    server = slurm_server(workflows_dir=workflows(steps=steps(6, seconds=3)), settings=settings)
    run_id = server.submit("steps", target="quick")
    held = wait_until(
        lambda: [job for job in server.jobs(run_id) if job["held"]] or None, timeout_s=60, what="a job that is held"
    )
    assert {job["held"] for job in held} == {"QOSMaxSubmitJobPerUserLimit"}
    assert {job["state"] for job in held} == {"submitted"}
    run = server.end_of(run_id, timeout_s=180)
    assert run["state"] == "succeeded", run
    assert {job["held"] for job in server.jobs(run_id)} == {None}


def test_cancelling_while_the_controller_is_down_waits_for_it_and_leaves_nothing(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path]
) -> None:
    settings = {"SNAKEWAY_STOP_INTERRUPT_GRACE_S": "3"}
    server = slurm_server(workflows_dir=workflows(steps=steps(4, seconds=600)), settings=settings)
    run_id = server.submit("steps", target="quick")
    wait_until(running(server, run_id), timeout_s=60, what="running jobs")
    cluster.stop("slurmctld")
    server.request("POST", f"/runs/{run_id}/cancel")
    exit_ = server.directory(run_id) / ".snakeway/attempts/1/exit.json"
    wait_until(lambda: exit_.exists() or None, timeout_s=60, what="the end of snakemake")
    server.kill()  # what has to be cancelled is known to whoever comes next
    server.start()
    assert server.get(f"/runs/{run_id}")["state"] == "running"
    cluster.start("slurmctld")
    assert server.end_of(run_id, timeout_s=90)["state"] == "cancelled"
    assert cluster.jobs(run_id) == []


@pytest.mark.parametrize("daemon", ["slurmctld", "slurmdbd"])
def test_nothing_fails_while_a_daemon_of_slurm_is_away(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path], daemon: str
) -> None:
    text = """
rule all:
    input: expand("late/{i}.txt", i=range(4))

rule early:
    output: "early/{i}.txt"
    shell: "touch up.{wildcards.i}; until [ -e go ]; do sleep 0.2; done; touch {output}"

rule late:
    input: "early/{i}.txt"
    output: "late/{i}.txt"
    shell: "touch {output}"
"""
    server = slurm_server(workflows_dir=workflows(chain=text))
    run_id = server.submit("chain", target="quick")
    up = server.directory(run_id)
    wait_until(lambda: len(list(up.glob("up.*"))) == 4 or None, timeout_s=60, what="the early jobs to run")
    other = server.submit("chain", target="quick")  # its jobs are submitted while nobody takes them
    cluster.stop(daemon)
    gone_at = time.monotonic()
    (up / "go").touch()
    wait_until(lambda: len(list(up.glob("early/*"))) == 4 or None, timeout_s=60, what="the early jobs' ends")
    if daemon == "slurmctld":
        wait_until(
            lambda: [job for job in server.jobs(other) if job["held"]] or None, timeout_s=90, what="jobs that are held"
        )
    (server.directory(other) / "go").touch()
    wait_until(
        lambda: time.monotonic() - gone_at >= AWAY_S or None, timeout_s=AWAY_S + 60, what="the end of the absence"
    )
    cluster.start(daemon)
    for run in (run_id, other):
        ended = server.end_of(run, timeout_s=180)
        assert ended["state"] == "succeeded", ended
        assert {job["state"] for job in server.jobs(run)} == {"succeeded"}


def test_a_job_whose_submission_got_no_answer_is_not_there_twice(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(FORGETFUL.format(folder=folder))
    (folder / "sbatch").chmod(0o755)
    settings = {"PATH": f"{folder}{os.pathsep}{cluster.env['PATH']}"}
    server = slurm_server(workflows_dir=workflows(steps=steps(3, seconds=2)), settings=settings)
    run_id = server.submit("steps", target="quick")
    run = server.end_of(run_id, timeout_s=180)
    assert run["state"] == "succeeded", run
    twin = (folder / "answer").read_text().split(";")[0].strip().split()[-1]
    assert twin not in {job["external_id"] for job in server.jobs(run_id)}
    assert cluster.run("squeue", "--noheader", "--states=all", f"--jobs={twin}", "--format=%T").strip() == "CANCELLED"
    finished = [line.split()[1] for line in (server.directory(run_id) / "done.log").read_text().splitlines()]
    assert sorted(finished) == ["0", "1", "2"]


def test_questions_to_slurm_do_not_grow_with_the_jobs(
    cluster: Cluster, slurm_server: StartServer, workflows: Callable[..., Path], tmp_path: Path
) -> None:
    calls = counting(tmp_path / "bin")
    settings = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{cluster.env['PATH']}", "SNAKEWAY_SCHEDULER_INTERVAL_S": "2"}
    server = slurm_server(workflows_dir=workflows(few=steps(3, 4), many=steps(max(16, JOBS), 4)), settings=settings)
    rates = {}
    for name in ("few", "many"):
        calls.write_text("")
        run_id = server.submit(name, target="slurm")
        run = server.end_of(run_id, timeout_s=240 + 10 * JOBS)
        assert run["state"] == "succeeded", run
        took = elapsed_s(run)
        asked = [word for word in calls.read_text().split() if word in ("squeue", "sacct")]
        rates[name] = len(asked) / took
        print(f"{name}: {took:.0f} s, {Counter(asked)}")
    assert rates["many"] <= 1.5 * rates["few"]
    assert rates["many"] <= 2 / 2 + 2 / 5  # one look and one question of ours in 2 s, and those of the executor


def counting(folder: Path) -> Path:
    """Write programs that note their call and become the real ones; returns the file with the notes."""
    folder.mkdir()
    for name in ("squeue", "sacct", "sbatch", "scancel"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} >> "{folder}/calls"\nexec /usr/bin/{name} "$@"\n')
        program.chmod(0o755)
    return folder / "calls"


def elapsed_s(run: Any) -> float:
    begin, end = (datetime.fromisoformat(run[name]) for name in ("started_at", "ended_at"))
    return (end - begin).total_seconds()
