"""Seeded failures: each is told by its kind, with a sentence, and what can be cured is cured by what is suggested."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.by_hand import ByHand
from tests.e2e.conftest import StartServer
from tests.support.cgroup import MemoryCgroup, memory_cgroup
from tests.support.server import Server
from tests.support.waiting import wait_until


class Seed(NamedTuple):
    """A workflow that fails, and what is to be said of it."""

    snakefile: str
    kind: str
    summary: str  # a part of it
    exit_code: int | None = None
    suggestion: dict[str, Any] | None = None
    cured: bool = False  # whether a re-run with the suggestions succeeds


def shell(command: str, **directives: str) -> str:
    """Return a Snakefile with one rule."""
    more = "".join(f"    {name}: {value}\n" for name, value in directives.items())
    return f'rule fit:\n    output: "out.txt"\n{more}    shell: {command!r}\n'


def memory(mem_mb: int) -> dict[str, Any]:
    return {"set_resources": {"fit": {"mem_mb": mem_mb}}}


NEEDS_MEMORY = "if [ {resources.mem_mb} -lt 700 ]; then echo %s >&2; exit 1; fi; touch {output}"

OF_JOBS = {
    "exit_code": Seed(shell("echo no such sample >&2; exit 3"), "exit_code", "Exit code 3: no such sample", 3),
    "exit_code_logged": Seed(
        shell("echo the log knows > {log}; exit 4", log='"fit.log"'), "exit_code", "Exit code 4: the log knows", 4
    ),
    "not_installed": Seed(shell("bwa mem"), "exit_code", "'bwa' is not installed", 127),
    "not_executable": Seed(
        shell("touch tool; ./tool"), "exit_code", "a program that it calls may not be executed", 126
    ),
    "segfault": Seed(shell("kill -SEGV $$"), "signal", "SIGSEGV ended it", 139),
    "killed": Seed(shell("kill -KILL $$"), "signal", "not the kernel for want of memory", 137),
    "terminated": Seed(shell("kill -TERM $$"), "signal", "SIGTERM ended it", 143),
    "memory_shell": Seed(
        shell(NEEDS_MEMORY % "cannot allocate vector of size 4 Gb", resources="mem_mb=400"),
        "out_of_memory",
        "it had 400 MB",
        1,
        memory(800),
        cured=True,
    ),
    "memory_undeclared": Seed(
        shell("python -c 'raise MemoryError' 2> {log}", log='"fit.log"'),
        "out_of_memory",
        "MemoryError",
        1,
        memory(2000),
    ),
    "memory_tried_twice": Seed(
        shell(NEEDS_MEMORY % "std::bad_alloc", resources="mem_mb=lambda w, attempt: 200 * attempt", retries="1"),
        "out_of_memory",
        "it had 400 MB",
        1,
        memory(800),
        cured=True,
    ),
    "time_limit": Seed(
        shell("timeout $(( {resources.runtime} / 3 )) sleep 3; touch {output}", resources="runtime=6"),
        "time_limit",
        "it had 6 minutes",
        124,
        {"set_resources": {"fit": {"runtime": 12}}},
        cured=True,
    ),
    "no_space": Seed(shell("echo x > /dev/full; touch {output}"), "no_space", "No space left on device", 1),
    "missing_output": Seed(shell("true"), "missing_output", "did not write out.txt"),
    "run_directive": Seed(
        'rule fit:\n    output: "out.txt"\n    run:\n        raise ValueError("the plate is empty")\n',
        "exit_code",
        "Exit code 1: ValueError: the plate is empty (Snakefile, line 4)",
        1,
    ),
    "storage": Seed(
        shell("if [ ! -e again ]; then touch again; echo EndpointConnectionError: no >&2; exit 1; fi; touch {output}"),
        "storage_unreachable",
        "EndpointConnectionError",
        1,
        {"set_resources": {}},
        cured=True,
    ),
}

OF_WORKFLOWS = {
    "syntax": Seed(
        'rule fit:\n    output: "x"\n    shel: "touch {output}"\n', "invalid_workflow", "Unexpected keyword shel"
    ),
    "python": Seed("print(foo)\n", "invalid_workflow", "name 'foo' is not defined"),
    "config_key": Seed('x = config["samples"]\n', "invalid_workflow", "samples"),
    "schema": Seed(
        'from snakemake.utils import validate\nvalidate({"n": "x"}, "schema.yaml")\n',
        "invalid_config",
        "'x' is not of type",
    ),
    "missing_input": Seed(
        'rule fit:\n    input: "nope.txt"\n    output: "x"\n    shell: "touch {output}"\n', "missing_input", "nope.txt"
    ),
    "ambiguous": Seed(
        'rule all:\n    input: "x.txt"\n'
        'rule a:\n    output: "{n}.txt"\n    shell: "touch {output}"\n'
        'rule b:\n    output: "x.{e}"\n    shell: "touch {output}"\n',
        "invalid_workflow",
        "are ambiguous for the file x.txt",
    ),
    "cyclic": Seed(
        'rule a:\n    input: "y"\n    output: "x"\n    shell: "touch {output}"\n'
        'rule b:\n    input: "x"\n    output: "y"\n    shell: "touch {output}"\n',
        "invalid_workflow",
        "Cyclic dependency",
    ),
    "include": Seed('include: "nope.smk"\n', "invalid_workflow", "nope.smk"),
    "two_rules": Seed(shell("true") + shell("true"), "invalid_workflow", "already used"),
}
LINES = {"syntax": 2, "python": 1, "include": 1}


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose workflows are the seeds."""
    root = tmp_path_factory.mktemp("failing")
    for name, seed in (OF_JOBS | OF_WORKFLOWS).items():
        folder = root / "workflows" / name
        folder.mkdir(parents=True)
        (folder / "Snakefile").write_text(seed.snakefile)
    schema = '$schema: "https://json-schema.org/draft/2020-12/schema"\nproperties:\n  n: {type: integer}\n'
    (root / "workflows/schema/schema.yaml").write_text(schema)
    server = Server(root / "data", workflows_dir=root / "workflows").start()
    yield server
    server.stop()


@pytest.mark.parametrize("name", OF_JOBS)
def test_a_failed_job_is_diagnosed(failing: Server, name: str) -> None:
    seed = OF_JOBS[name]
    run_id = failing.submit(name)
    run = failing.end_of(run_id)
    assert run["state"] == "failed"
    assert run["error"] == f"1 of 1 jobs failed: fit (1: {seed.kind.replace('_', ' ')})."
    [job] = failing.jobs(run_id)
    failure = job["failure"]
    assert (failure["kind"], failure["exit_code"], failure["suggestion"]) == (
        seed.kind,
        seed.exit_code,
        seed.suggestion,
    )
    assert seed.summary in failure["summary"]
    assert failure["host"] == os.uname().nodename
    [attempt] = failing.get(f"/runs/{run_id}/attempts")["items"]
    assert attempt["suggestion"] == seed.suggestion
    assert attempt["failure"] is None
    answer = failing.request("POST", f"/runs/{run_id}/rerun", json={"apply_suggestions": True})
    if seed.suggestion is None:
        assert (answer.status_code, answer.json()["code"]) == (409, "no_suggestion")
        return
    assert answer.status_code == 202, answer.text
    wanted = seed.suggestion["set_resources"]
    assert answer.json()["attempt"]["overrides"]["set_resources"] == wanted
    assert failing.end_of(run_id)["state"] == ("succeeded" if seed.cured else "failed")


@pytest.mark.parametrize("name", OF_JOBS)
def test_a_job_that_fails_by_hand_is_diagnosed_alike(failing: Server, name: str, tmp_path: Path) -> None:
    seed = OF_JOBS[name]
    person = ByHand(tmp_path / name, seed.snakefile)
    assert person.snakemake().returncode == 1
    person.snakeway("import", SNAKEWAY_URL=failing.url)
    run = failing.end_of(person.run_id)
    assert (run["outside"], run["error"]) == (True, f"1 of 1 jobs failed: fit (1: {seed.kind.replace('_', ' ')}).")
    [job] = failing.jobs(person.run_id)
    failure = job["failure"]
    assert (failure["kind"], failure["exit_code"], failure["suggestion"]) == (
        seed.kind,
        seed.exit_code,
        seed.suggestion,
    )
    assert seed.summary in failure["summary"]


def test_tries_of_one_attempt_are_told_apart(failing: Server) -> None:
    run_id = failing.submit("memory_tried_twice")
    failing.end_of(run_id)
    [job] = failing.jobs(run_id)
    assert (job["try"], job["resources"]["mem_mb"]) == (2, 400)
    [before] = job["tries"]
    assert (before["try"], before["resources"]["mem_mb"]) == (1, 200)
    assert before["failure"]["kind"] == "out_of_memory"


@pytest.mark.parametrize("name", OF_WORKFLOWS)
def test_a_failure_before_any_job_is_diagnosed(failing: Server, name: str) -> None:
    seed = OF_WORKFLOWS[name]
    run_id = failing.submit(name)
    run = failing.end_of(run_id)
    [attempt] = failing.get(f"/runs/{run_id}/attempts")["items"]
    failure = attempt["failure"]
    assert (run["state"], failure["kind"], failure["suggestion"]) == ("failed", seed.kind, seed.suggestion)
    assert seed.summary in failure["summary"]
    assert run["error"] == failure["summary"]
    assert failing.jobs(run_id) == []
    if name in LINES:
        assert Path(failure["file"]).name == "Snakefile"
        assert failure["line"] == LINES[name]


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[MemoryCgroup]:
    """A memory cgroup for jobs."""
    with memory_cgroup(f"snakeway-{os.getpid()}-{tmp_path.name}") as made:
        yield made


def test_memory_that_the_kernel_takes_away_is_given_by_the_suggestion(
    start_server: StartServer, workflows: Callable[..., Path], cgroup: MemoryCgroup
) -> None:
    job = (
        f"mkdir -p {cgroup.folder}/{{wildcards.i}}; cd {cgroup.folder}/{{wildcards.i}}; "
        f"echo $(( {{resources.mem_mb}} * 1048576 )) > {cgroup.limit}; echo $$ > cgroup.procs; cd - > /dev/null; "
        "python -c 'x = bytearray(150 << 20)'; touch {output}"
    )
    snakefile = (
        'rule all:\n    input: "1.txt", "2.txt"\n'
        f'rule fit:\n    output: "{{i}}.txt"\n    resources: mem_mb=100\n    shell: {job!r}\n'
    )
    server = start_server(workflows_dir=workflows(greedy=snakefile))
    run_id = server.submit("greedy")
    run = server.end_of(run_id)
    assert run["error"] == "2 of 3 jobs failed: fit (2: out of memory)."
    for found in server.jobs(run_id, state="failed"):
        assert (found["exit_code"], found["failure"]["suggestion"]) == (137, memory(200))
        assert "the kernel ended it" in found["failure"]["summary"]
    plan = server.rerun(run_id, apply_suggestions=True)["attempt"]["plan"]
    assert plan["by_rule"] == {"fit": 2, "all": 1}
    assert [found["resources"]["mem_mb"] for found in plan["jobs"] if found["rule"] == "fit"] == [200, 200]
    assert server.end_of(run_id)["state"] == "succeeded"


PATIENT = shell("touch up.txt; until [ -e go ]; do sleep 0.05; done; touch {output}")


@pytest.fixture
def patient(start_server: StartServer, workflows: Callable[..., Path]) -> Server:
    """A server with a workflow that waits, and that starts nothing again by itself."""
    return start_server(workflows_dir=workflows(patient=PATIENT), settings={"SNAKEWAY_MAX_RECOVERIES": "0"})


def started(server: Server) -> str:
    run_id = server.submit("patient")
    up = server.directory(run_id) / "up.txt"
    wait_until(lambda: up.exists() or None, timeout_s=30, what="the job to run")
    return run_id


def test_a_cancelled_run_is_told_as_such(patient: Server) -> None:
    run_id = started(patient)
    patient.request("POST", f"/runs/{run_id}/cancel")
    patient.end_of(run_id)
    [attempt] = patient.get(f"/runs/{run_id}/attempts")["items"]
    assert attempt["failure"]["kind"] == "cancelled"


def test_a_lost_snakemake_is_cured_by_the_same_again(patient: Server) -> None:
    from tests.e2e.test_crashes import kill

    run_id = started(patient)
    kill(patient, "snakemake")
    patient.end_of(run_id)
    [attempt] = patient.get(f"/runs/{run_id}/attempts")["items"]
    assert (attempt["state"], attempt["failure"]["kind"]) == ("lost", "signal")
    assert attempt["suggestion"] == {"set_resources": {}}
    (patient.directory(run_id) / "go").touch()
    patient.rerun(run_id, apply_suggestions=True)
    assert patient.end_of(run_id)["state"] == "succeeded"


STUBBORN = shell("touch up.txt; [ -e wait ] || exit 3; until [ -e go ]; do sleep 0.05; done; touch {output}")


@pytest.fixture
def by_hand() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts snakemake in a directory as a person would, in a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "snakemake", "--cores", "1"]
        with (directory.parent / "by-hand.log").open("wb") as log:
            started.append(subprocess.Popen(argv, cwd=directory, stdout=log, stderr=log, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_lock_that_somebody_left_is_removed_by_a_rerun(
    start_server: StartServer, workflows: Callable[..., Path], by_hand: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    server = start_server(workflows_dir=workflows(stubborn=STUBBORN))
    run_id = server.submit("stubborn")
    assert server.end_of(run_id)["state"] == "failed"
    directory = server.directory(run_id)
    (directory / "up.txt").unlink()
    (directory / "wait").touch()
    person = by_hand(directory)
    wait_until(lambda: (directory / "up.txt").exists() or None, timeout_s=30, what="the job to run")
    server.rerun(run_id)
    server.end_of(run_id)
    locked = server.get(f"/runs/{run_id}/attempts")["items"][-1]
    assert (locked["state"], locked["failure"]["kind"]) == ("failed", "locked"), locked["error"]
    os.killpg(person.pid, signal.SIGKILL)
    person.wait()
    (directory / "go").touch()
    server.rerun(run_id, apply_suggestions=True)
    assert server.end_of(run_id)["state"] == "succeeded"
