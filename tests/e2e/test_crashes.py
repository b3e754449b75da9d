"""kill -9 of anything at any moment: the run ends in the truth, nothing is computed twice, nothing is left behind."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import StartServer
from tests.support.server import Server
from tests.support.waiting import wait_until

# A longer drill: DRILL_JOBS=200 DRILL_KILLS=30 make test ARGS="-k killed_again"
JOBS = int(os.environ.get("DRILL_JOBS", "60"))
KILLS = int(os.environ.get("DRILL_KILLS", "6"))

# Each job notes in a file that is only ever appended to that it has finished: whoever does it twice is seen.
WORKFLOW = """
rule all:
    input: "sum.txt"

rule step:
    output: "steps/{i}.txt"
    shell: "sleep 0.05; echo {wildcards.i} > {output}; echo {wildcards.i} >> finished.log"

rule sum:
    input: expand("steps/{i}.txt", i=range(%d))
    output: "sum.txt"
    shell: "cat {input} | sort -n > {output}"
"""


def processes_of(server: Server, kind: str) -> list[psutil.Process]:
    """The forkserver of a server, the shims or snakemakes of its runs, or any process that belongs to it.

    Shims and snakemakes are forked, so they are told by their titles; what was executed, by its environment.
    """
    runs = {path.name for path in (server.data_dir / "runs").glob("*")}
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            ours = words[:2] == ["snakeway", "run"] or (words and words[0].startswith("snakeway run"))
            of_run = bool(ours) and any(run in " ".join(words) for run in runs)
            leads = of_run and os.getsid(process.pid) == process.pid
            of_server = process.environ().get("SNAKEWAY_DATA_DIR") == str(server.data_dir)
            match = {
                "forkserver": of_server and not of_run and "multiprocessing.forkserver" in " ".join(words),
                "shim": leads,
                "snakemake": of_run and not leads,
                "any": of_run or of_server,
            }
            if match[kind] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def kill(server: Server, kind: str) -> None:
    if kind == "server":
        server.kill()
        server.start()
        return
    for process in processes_of(server, kind):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_a_run_ends_right(
    start_server: StartServer, workflows: Callable[..., Path], seed: int
) -> None:
    choose = random.Random(seed)
    settings = {"SNAKEWAY_MAX_RECOVERIES": str(3 * KILLS)}
    server = start_server(workflows_dir=workflows(steps=WORKFLOW % JOBS), settings=settings)
    run_id = server.submit("steps")
    finished = server.directory(run_id) / "finished.log"
    for number in range(KILLS):
        before = (number * JOBS) // (KILLS + 1)
        wait_until(
            lambda wanted=before: (finished.exists() and len(finished.read_text().splitlines()) >= wanted) or None,
            timeout_s=60,
            what=f"{before} finished jobs",
        )
        kill(server, choose.choice(["server", "forkserver", "shim", "snakemake"]))
    run = server.end_of(run_id, timeout_s=120)
    assert run["state"] == "succeeded", run
    assert (server.directory(run_id) / "sum.txt").read_text() == "".join(f"{i}\n" for i in range(JOBS))
    counted = Counter(finished.read_text().split())
    assert set(counted) == {str(i) for i in range(JOBS)}
    # A job may have noted its end and been killed before Snakemake knew of it: only those in flight are done again.
    attempts = server.get(f"/runs/{run_id}/attempts")["items"]
    in_flight = (len(attempts) - 1) * (os.cpu_count() or 1)
    assert sum(counted.values()) - JOBS <= in_flight
    assert {attempt["state"] for attempt in attempts[:-1]} <= {"lost"}
    nothing_left(server)


def nothing_left(server: Server) -> None:
    """Assert that of all runs no process is left, and of the server's processes nothing once it has stopped."""
    wait_until(lambda: not processes_of(server, "shim") or None, timeout_s=15, what="the shims to be gone")
    assert not processes_of(server, "snakemake")
    assert server.stop() == 0
    wait_until(lambda: not processes_of(server, "any") or None, timeout_s=15, what="everything to be gone")


def test_a_server_that_comes_back_finds_the_run_that_ended_meanwhile(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    server = start_server(workflows_dir=workflows(steps=WORKFLOW % 10))
    run_id = server.submit("steps")
    wait_until(lambda: processes_of(server, "snakemake") or None, timeout_s=30, what="snakemake to start")
    server.kill()
    wait_until(lambda: (server.directory(run_id) / "sum.txt").exists() or None, timeout_s=60, what="the result")
    wait_until(lambda: not processes_of(server, "shim") or None, timeout_s=30, what="the end of the shim")
    server.start()
    assert server.end_of(run_id)["state"] == "succeeded"
    assert [attempt["number"] for attempt in server.get(f"/runs/{run_id}/attempts")["items"]] == [1]
    assert len(server.jobs(run_id, state="succeeded")) == 12


PATIENT = """
rule all:
    input: "done.txt"

rule wait:
    output: "done.txt"
    shell: "touch up.txt; until [ -e go ]; do sleep 0.05; done; touch {output}"
"""


def test_an_orderly_stop_leaves_the_run_running(start_server: StartServer, workflows: Callable[..., Path]) -> None:
    server = start_server(workflows_dir=workflows(patient=PATIENT))
    run_id = server.submit("patient")
    up = server.directory(run_id) / "up.txt"
    wait_until(lambda: up.exists() or None, timeout_s=30, what="the job to run")
    assert server.stop() == 0
    assert len(processes_of(server, "snakemake")) == 1
    server.start()
    assert server.get(f"/runs/{run_id}")["state"] == "running"
    (server.directory(run_id) / "go").touch()
    assert server.end_of(run_id)["state"] == "succeeded"
    assert len(server.get(f"/runs/{run_id}/attempts")["items"]) == 1


STUBBORN = """
rule all:
    input: "never.txt"

rule never:
    output: "never.txt"
    shell: "trap '' INT TERM; (setsid sleep 600 &); echo up > up.txt; while true; do sleep 1; done"
"""


@pytest.mark.parametrize("moment", ["queued", "starting", "running"])
def test_a_cancelled_run_leaves_nothing_running(
    start_server: StartServer, workflows: Callable[..., Path], moment: str
) -> None:
    settings = {"SNAKEWAY_STOP_INTERRUPT_GRACE_S": "2", "SNAKEWAY_MAX_ACTIVE_RUNS": "1"}
    server = start_server(workflows_dir=workflows(stubborn=STUBBORN, steps=WORKFLOW % 5), settings=settings)
    if moment == "queued":
        blocker = server.submit("stubborn")
        run_id = server.submit("steps")
        assert server.request("POST", f"/runs/{run_id}/cancel").json()["state"] == "cancelled"
        server.request("POST", f"/runs/{blocker}/cancel")
        server.end_of(blocker)
    else:
        run_id = server.submit("stubborn")
        if moment == "running":
            up = server.directory(run_id) / "up.txt"
            wait_until(lambda: up.exists() or None, timeout_s=30, what="the job to run")
        assert server.request("POST", f"/runs/{run_id}/cancel").status_code == 202
    run = server.end_of(run_id, timeout_s=30)
    assert (run["state"], run["error"]) == ("cancelled", "Cancelled on request.")
    assert not [p for p in psutil.process_iter() if environment_of(p).get("SNAKEWAY_RUN_ID") == run_id]
    response = server.request("POST", f"/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["code"]) == (409, "run_ended")
    nothing_left(server)


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, ProcessLookupError):
        return {}


def held_in_the_middle(server: Server, run_id: str) -> None:
    """Wait until all steps of a run of HELD are done and the gathering job waits for the file ``go``."""
    up = server.directory(run_id) / "up.txt"
    wait_until(lambda: up.exists() or None, timeout_s=60, what="the gathering job")


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


def test_a_cancelled_run_can_be_re_run_to_its_end(start_server: StartServer, workflows: Callable[..., Path]) -> None:
    server = start_server(workflows_dir=workflows(held=HELD))
    run_id = server.submit("held")
    held_in_the_middle(server, run_id)
    server.request("POST", f"/runs/{run_id}/cancel")
    assert server.end_of(run_id)["state"] == "cancelled"
    states = {job["rule"]: job["state"] for job in server.jobs(run_id)}
    assert states == {"step": "succeeded", "sum": "cancelled"}
    (server.directory(run_id) / "go").touch()
    answer = server.rerun(run_id)
    assert answer["attempt"]["plan"]["by_rule"] == {"sum": 1, "all": 1}
    assert server.end_of(run_id)["state"] == "succeeded"
    assert [job["rule"] for job in server.jobs(run_id, attempt=2)] == ["all", "sum"]


def test_a_reboot_of_the_host_is_a_loss_that_is_recovered(
    start_server: StartServer, workflows: Callable[..., Path]
) -> None:
    """Everything is killed at once, and the boot id in the claim is another one: as after a reset of the machine."""
    server = start_server(workflows_dir=workflows(held=HELD))
    run_id = server.submit("held")
    held_in_the_middle(server, run_id)
    everything = processes_of(server, "any")
    for process in everything:
        os.kill(process.pid, signal.SIGKILL)
    server.kill()
    claim = server.directory(run_id) / ".snakeway/attempts/1/process.json"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    claim.write_text(claim.read_text().replace(boot_id, "00000000-0000-0000-0000-000000000000"))
    (server.directory(run_id) / "go").touch()
    server.start()
    assert server.end_of(run_id)["state"] == "succeeded"
    assert len(server.jobs(run_id, attempt=2)) == 2
    states = [attempt["state"] for attempt in server.get(f"/runs/{run_id}/attempts")["items"]]
    assert states == ["lost", "succeeded"]
