"""Runs as the accounts of their owners: an ordinary service account, real people, real sudo; jobs on this machine."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from snakeway import ids
from tests.support.people import ALICE, BOB, PROGRAMS, SERVICE, House, become, house, missing, processes_of
from tests.support.server import Server
from tests.support.services import need
from tests.support.waiting import wait_until

# Jobs do what jobs do: folders and files for their own eyes, groups that are not inherited, read-only ones.
MAKES = """
rule all:
    input: "out/sum.txt", "private/a.txt"

rule a:
    output: "private/a.txt"
    shell:
        "chmod 700 private; id -un > {output}; chmod 600 {output}; "
        "mkdir -p locked/in; touch locked/in/x; chmod -R 500 locked"

rule sum:
    input: "private/a.txt"
    output: "out/sum.txt"
    log: "logs/sum.log"
    shell: "echo said > {log}; env > {output}; umask >> {output}; test ! -e fail.txt"
"""

STUBBORN = """
rule all:
    output: "never.txt"
    shell:
        "trap '' INT TERM; (setsid sleep 600 &); (env -u SNAKEWAY_ATTEMPT_ID sleep 600 &); "
        "touch up.txt; while true; do sleep 1; done"
"""

WAITS = """
rule all:
    input: "b.txt"

rule a:
    output: "a.txt"
    shell: "echo a >> made.log; touch {output}"

rule b:
    input: "a.txt"
    output: "b.txt"
    shell: "touch up.txt; until [ -e go ]; do sleep 0.05; done; echo b >> made.log; touch {output}"
"""

PLANTS = """
rule all:
    output: "out.txt"
    log: "job.log"
    shell:
        "cp /dev/null {output}; ln -sf $SECRET {log}; "
        "ln -sf $SECRET .snakeway/attempts/1/events.ndjson; ln -sf $SECRET .snakeway/attempts/1/snakemake.log; "
        "rm {output}; ln -s $SECRET {output}"
"""

READS = """
rule all:
    input: config["table"]
    output: "read.txt"
    shell: "cat {input} > {output}; id -un >> {output}"
"""

ASKS = """
localrules: review

rule all:
    input: "used.txt"

rule qc:
    output: "qc.txt"
    shell: "echo fine > {output}"

rule review:
    input: "qc.txt"
    output: "review.json"
    shell: "snakeway gate {output} {input} --title 'Is it good?'"

rule use:
    input: "review.json"
    output: "used.txt"
    shell: "cp {input} {output}"
"""


@pytest.fixture(scope="module")
def home() -> Iterator[House]:
    need(PROGRAMS, missing=missing(), root=True)
    with house() as made:
        texts = {"makes": MAKES, "stubborn": STUBBORN, "waits": WAITS, "plants": PLANTS, "asks": ASKS, "reads": READS}
        for name, text in texts.items():
            made.workflow(name, text)
        yield made


@pytest.fixture(scope="module")
def alices(home: House) -> Iterator[Server]:
    """A server whose runs are those of one person."""
    settings = {
        "SNAKEWAY_STOP_INTERRUPT_GRACE_S": "1",
        "SNAKEWAY_WEBHOOK_SECRET": "whsec_" + "A" * 44,
        "SNAKEWAY_OWNER_ENVIRONMENT": '["SECRET"]',
        "SECRET": str(home.path / "alices" / "snakeway.db"),
        "SNAKEWAY_RETENTION_INTERVAL_S": "1",
        "NOT_FOR_JOBS": "x",
    }
    server = home.server("alices", settings=settings).start()
    yield server
    server.stop()


def owner_of(path: Path) -> str:
    return path.owner()


def nothing_left(run_id: str) -> None:
    wait_until(lambda: not processes_of(run_id) or None, timeout_s=15, what="every process of the run to be gone")


def up(server: Server, run_id: str) -> None:
    path = server.directory(run_id) / "up.txt"
    wait_until(lambda: path.exists() or None, timeout_s=30, what="the job to start")


def pids_named(run_id: str, *, shim: bool) -> list[int]:
    """Return the shim or the snakemake of a run."""
    found = []
    for pid in processes_of(run_id):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"snakeway run"):
                found.append(pid)
    return [pid for pid in found if (os.getsid(pid) == pid) is shim]


def test_a_run_is_its_owners_and_the_service_can_do_all_it_does(alices: Server) -> None:
    run_id = alices.submit("makes")
    assert alices.end_of(run_id)["state"] == "succeeded"
    directory = alices.directory(run_id)
    assert (directory / "private/a.txt").read_text() == f"{ALICE}\n"
    of_service = {"Snakefile", "workflow.json"}
    assert {path.name for path in directory.rglob("*") if owner_of(path) != ALICE} == of_service
    said = (directory / "out/sum.txt").read_text()
    assert f"HOME=/home/{ALICE}\n" in said
    assert said.endswith("0007\n")
    assert "NOT_FOR_JOBS" not in said
    assert {line.split("=")[0] for line in said.splitlines() if line.startswith(("SNAKEWAY_", "SUDO_"))} == {
        "SNAKEWAY_RUN_ID",
        "SNAKEWAY_ATTEMPT_ID",
    }

    def digests() -> Any:
        found = {item["path"]: item["sha256"] for item in alices.get(f"/runs/{run_id}/artifacts")["items"]}
        return found if len(found) == 2 and all(found.values()) else None

    wait_until(digests, timeout_s=15, what="the digests")
    assert alices.request("GET", f"/runs/{run_id}/artifacts/private/a.txt").text == f"{ALICE}\n"
    assert "2 of 3 steps" in alices.request("GET", f"/runs/{run_id}/log").text
    job = next(job for job in alices.jobs(run_id) if job["rule"] == "sum")
    assert alices.request("GET", f"/runs/{run_id}/jobs/{job['job']}/log").text == "said\n"
    assert alices.request("DELETE", f"/runs/{run_id}").status_code == 204
    assert not directory.exists()
    assert list((directory.parent / ".trash").iterdir()) == []


def test_an_uploaded_file_reaches_its_owner_s_run_and_nobody_else(alices: Server) -> None:
    data = b"of alice\n"
    body = {"name": "table.csv", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    found = alices.request("POST", "/inputs", json=body).json()
    headers = {"Content-Type": "application/octet-stream", "Upload-Offset": "0"}
    assert alices.request("PATCH", f"/inputs/{found['id']}", content=data, headers=headers).is_success
    run_id = alices.submit("reads", config={"table": found["reference"]})
    run = alices.end_of(run_id)
    assert run["state"] == "succeeded", run["error"]
    directory = alices.directory(run_id)
    assert (directory / "read.txt").read_text() == f"of alice\n{ALICE}\n"
    copy = directory / run["inputs"][0]["path"]
    kept = next((alices.data_dir / "blobs").rglob("*.blob"))
    assert [become(account, "cat", str(copy)).returncode for account in (ALICE, BOB)] == [0, 1]
    assert [become(account, "cat", str(kept)).returncode for account in (ALICE, BOB)] == [1, 1]
    alices.rerun(run_id)
    assert alices.end_of(run_id)["state"] == "succeeded"
    assert alices.request("DELETE", f"/runs/{run_id}").status_code == 204
    assert not directory.exists()
    assert alices.request("DELETE", f"/inputs/{found['id']}").status_code == 204


def test_a_re_run_makes_only_what_is_lacking(alices: Server) -> None:
    run_id = alices.submit("waits")
    up(alices, run_id)
    alices.request("POST", f"/runs/{run_id}/cancel")
    assert alices.end_of(run_id)["state"] == "cancelled"
    nothing_left(run_id)
    become(ALICE, "touch", str(alices.directory(run_id) / "go"))
    alices.rerun(run_id)
    assert alices.end_of(run_id)["state"] == "succeeded"
    assert (alices.directory(run_id) / "made.log").read_text() == "a\nb\n"


def test_nobody_else_sees_anything(alices: Server) -> None:
    run_id = alices.submit("makes")
    alices.end_of(run_id)
    directory = alices.directory(run_id)
    out = str(directory / "out/sum.txt")
    assert become(ALICE, "cat", out).returncode == 0
    closed = [directory, directory / "Snakefile", out, directory.parent, alices.data_dir]
    assert [become(BOB, "cat" if path == out else "ls", str(path)).returncode for path in closed] == [2, 2, 1, 2, 2]
    for account in (ALICE, BOB):
        for name in ("snakeway.db", "snakeway.db-wal", "workflows"):
            assert become(account, "head", "-c1", str(alices.data_dir / name)).stderr.endswith("Permission denied\n")
        # Nobody can put something else in the place of a run.
        assert become(account, "mv", str(directory), f"{directory}.old").returncode != 0
        assert become(account, "mkdir", str(directory.parent / ids.new_id())).returncode != 0
    assert become(BOB, "rm", "-rf", str(directory.parent / ".new" / run_id)).returncode == 0
    assert directory.exists()


def test_a_gate_gets_its_decision_and_a_later_one(alices: Server) -> None:
    run_id = alices.submit("asks")
    for score, state in ((1, "paused"), (2, "succeeded")):

        def rests(wanted: str = state) -> Any:
            return alices.get(f"/runs/{run_id}")["state"] == wanted or None

        wait_until(rests, timeout_s=60, what=f"the run to be {state}")
        decision = {"gate": "review.json", "verdict": "approved", "answer": {"score": score}}
        assert alices.request("POST", f"/runs/{run_id}/decisions", json=decision).status_code == 202

    def used() -> Any:
        return '"score": 2' in (alices.directory(run_id) / "used.txt").read_text() or None

    wait_until(used, timeout_s=60, what="the second answer to be used")
    made = alices.directory(run_id)
    assert {owner_of(path) for path in (made / "review.json", made / "used.txt")} == {ALICE}
    assert alices.end_of(run_id)["state"] == "succeeded"


def test_a_cancelled_run_leaves_no_process(alices: Server) -> None:
    run_id = alices.submit("stubborn")
    up(alices, run_id)
    alices.request("POST", f"/runs/{run_id}/cancel")
    assert alices.end_of(run_id)["state"] == "cancelled"
    nothing_left(run_id)


def test_a_server_that_is_killed_takes_no_run_with_it(alices: Server) -> None:
    run_id = alices.submit("waits")
    up(alices, run_id)
    alices.kill()
    assert pids_named(run_id, shim=True)
    become(ALICE, "touch", str(alices.directory(run_id) / "go"))
    wait_until(lambda: not processes_of(run_id) or None, timeout_s=15, what="the run to end by itself")
    alices.start()
    assert alices.end_of(run_id)["state"] == "succeeded"
    assert len(alices.get(f"/runs/{run_id}/attempts")["items"]) == 1


@pytest.mark.parametrize("shim", [False, True])
def test_what_a_killed_process_left_is_swept_and_the_run_goes_on(alices: Server, shim: bool) -> None:
    run_id = alices.submit("waits")
    up(alices, run_id)
    for pid in pids_named(run_id, shim=shim):
        os.kill(pid, signal.SIGKILL)

    def second() -> Any:
        return len(alices.get(f"/runs/{run_id}/attempts")["items"]) == 2 or None

    wait_until(second, timeout_s=30, what="the second attempt")
    become(ALICE, "touch", str(alices.directory(run_id) / "go"))
    assert alices.end_of(run_id)["state"] == "succeeded"
    assert (alices.directory(run_id) / "made.log").read_text() == "a\nb\n"
    nothing_left(run_id)


def test_links_that_jobs_leave_lead_the_service_nowhere(alices: Server) -> None:
    run_id = alices.submit("plants")
    alices.end_of(run_id)
    directory = alices.directory(run_id)
    assert (directory / "out.txt").is_symlink()
    wait_until(lambda: alices.get(f"/runs/{run_id}")["ended_at"], timeout_s=10, what="the end")
    assert alices.get(f"/runs/{run_id}/artifacts")["items"] == []
    for path in ("log", "jobs/0/log", "artifacts/out.txt"):
        assert alices.request("GET", f"/runs/{run_id}/{path}").status_code == 404, path
    assert alices.request("DELETE", f"/runs/{run_id}").status_code == 204
    assert (alices.data_dir / "snakeway.db").exists()


@pytest.mark.parametrize(
    ("account", "said"), [("snakenobody", "no local account 'snakenobody'"), ("daemon", "an account of the system")]
)
def test_without_a_usable_account_nothing_begins(home: House, account: str, said: str) -> None:
    server = home.server(f"without_{account}", account=account).start()
    run_id = server.submit("makes")
    run = server.end_of(run_id)
    server.stop()
    assert run["state"] == "failed"
    assert said in run["error"]
    assert "SNAKEWAY_ACCOUNTS" in run["error"]


def test_an_account_that_sudo_does_not_allow_is_said(home: House) -> None:
    server = home.server("not_allowed", account="nobody2").start()
    server.stop()
    subprocess.run(["useradd", "--no-create-home", "nobody2"], check=False)
    server.start()
    run = server.end_of(server.submit("makes"))
    server.stop()
    assert "cannot be done as the account nobody2: sudo: " in run["error"]


def test_the_services_own_account_needs_no_sudo(home: House) -> None:
    server = home.server("own", account=SERVICE).start()
    run_id = server.submit("makes")
    assert server.end_of(run_id)["state"] == "succeeded"
    assert owner_of(server.directory(run_id)) == SERVICE
    server.stop()


def test_a_run_that_began_as_somebody_goes_on_as_nobody_else(home: House) -> None:
    server = home.server("changes").start()
    run_id = server.submit("makes")
    assert server.end_of(run_id)["state"] == "succeeded"
    server.stop()
    for change, said in (
        ({"SNAKEWAY_ACCOUNTS": f'{{"local": "{BOB}"}}'}, BOB),
        ({"SNAKEWAY_RUN_AS_OWNER": "false"}, ALICE),
    ):
        server.settings |= change
        server.start()
        server.rerun(run_id, forceall=True)
        run = server.end_of(run_id)
        assert run["state"] == "failed"
        assert f"account {said}" in run["error"]
        server.stop()
    # What began as somebody is removed as the same, whatever the settings say.
    server.start()
    assert server.request("DELETE", f"/runs/{run_id}").status_code == 204
    assert not server.directory(run_id).exists()
    server.stop()


def sudo(home: House, *arguments: str, option: str = "-I", account: str = ALICE) -> subprocess.CompletedProcess[str]:
    python = str(home.python)
    call = ["sudo", "-n", "-u", account, "--", python, option, "-m", "snakeway.supervisor.asowner", *arguments]
    return become(SERVICE, *call)


def test_sudo_allows_these_calls_and_no_others(home: House, alices: Server) -> None:
    run_id = alices.submit("makes")
    alices.end_of(run_id)
    data = str(alices.data_dir)
    assert subprocess.run(["visudo", "-c"], check=False, capture_output=True).returncode == 0
    assert sudo(home, data, "mkdir", ids.new_id()).returncode == 0
    for refused in (
        become(SERVICE, "sudo", "-n", "-u", ALICE, "--", "id"),
        become(SERVICE, "sudo", "-n", "-u", ALICE, "--", str(home.python), "-c", "print()"),
        become(SERVICE, "sudo", "-n", "-u", "root", "--", str(home.python), "-I", "-m", "snakeway.supervisor.asowner"),
        sudo(home, "/etc", "mkdir", run_id),
        sudo(home, data, "mkdir", run_id, option="-i"),
        become(BOB, "sudo", "-n", "-u", ALICE, "--", str(home.python), "-I", "-m", "snakeway.supervisor.asowner"),
    ):
        assert refused.returncode != 0
        assert "sudo: a password is required" in refused.stderr
    # What a wildcard lets through, the program refuses.
    other = home.path / "bobs"
    (other / "runs").mkdir(parents=True)
    for arguments, said in (
        ((data, "remove", "../.."), "not an id"),
        ((f"{data}/../{alices.data_dir.name}", "remove", run_id), "an absolute path"),
        ((f"{data} x", "remove", run_id), "an absolute path"),
        ((str(other), "mkdir", run_id), "does not belong to the account that called sudo"),
        ((data, "remove", ids.new_id()), "No such file"),
        ((data, "shim", run_id, "../1"), "not a number"),
        ((data, "sweep", run_id, "1", "x"), "not an id"),
        ((data, "cancel", run_id, "--user=root"), "not the id of a job"),
        ((data, "burn", run_id), "not a command"),
        ((data, "cancel", run_id), "not a command"),
    ):
        refused = sudo(home, *arguments)
        assert refused.returncode == 1, arguments
        assert said in refused.stderr, arguments
    assert "is not a directory of this account" in sudo(home, data, "remove", run_id, account=BOB).stderr
    assert alices.directory(run_id).exists()
