"""Through the service a workflow does what it does without it: the same jobs, the same files, the same second time.

Each folder of ``tests/workflows`` is a workflow, with the files that it is to make in ``expected-results``. It is run
twice by bare ``snakemake`` in a copy, and as a run of two attempts by a server whose workflows these are.
"""

import hashlib
import os
import re
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.support.processes import guarded
from tests.support.server import Server
from tests.support.waiting import wait_until

WORKFLOWS = Path(__file__).parent.parent / "workflows"
NAMES = sorted(path.name for path in WORKFLOWS.iterdir() if path.is_dir())
FAILING = {"05_retries_and_failure"}

# The target says what the bare snakemake is told and no more, so that a workflow's own profile counts.
PROFILE = "executor: local\ncores: 2\nlogger: [snakeway]\n"
AT_A_TIME = 3
TIMEOUT_S = 150

EXPECTED = "expected-results"
# What Snakemake, Snakeway and Python keep for themselves, and what is different each time.
LEFT_OUT = {".snakemake", ".snakeway", "__pycache__", ".snakemake_timestamp", "logs", "benchmarks"}
# Made beside the outputs of jobs: by handlers, by a service at its end, by a snakemake that a job called.
NO_OUTPUTS = {
    "machine/stopped.txt",
    "results/link_to_folder",
    "results/nested/result.txt",
    "results/onerror.txt",
    "results/onstart.txt",
    "results/onsuccess.txt",
}

_JOB = re.compile(r"^ *(?:local)?(?:rule|checkpoint) (\w+):\n(?: +\w+: .*\n)*? +jobid: (\d+)$", re.M)
_FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.M)


class File(NamedTuple):
    """What is compared of a file or link."""

    kind: str  # file, protected, program or link
    content: bytes  # or where the link leads


class Job(NamedTuple):
    """What is compared of a job; its number may be another one each time."""

    rule: str
    succeeded: bool
    tries: int


Files = dict[str, File]


@dataclass(frozen=True)
class Time:
    """What a workflow did the first or the second time."""

    succeeded: bool
    jobs: Counter[Job]
    files: Files
    log: str


@dataclass(frozen=True)
class Result:
    """What a workflow did in the end."""

    times: tuple[Time, Time]
    outputs: dict[str, str]  # SHA-256 by path


@dataclass(frozen=True)
class Pair:
    """A workflow under way in both ways."""

    bare: Future[Result]
    service: Future[Result]


@pytest.fixture(scope="module")
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Pair]]:
    """All workflows that are to be tested, under way: several at a time, by bare snakemake and on one server."""
    items: list[Any] = request.session.items
    wanted = [str(item.callspec.params["name"]) for item in items if item.path == Path(__file__)]
    folder = tmp_path_factory.mktemp("conformance")
    (folder / "profiles" / "local").mkdir(parents=True)
    (folder / "profiles" / "local" / "config.yaml").write_text(PROFILE)
    server = Server(folder / "data", workflows_dir=WORKFLOWS, profiles_dir=folder / "profiles").start()
    pool = ThreadPoolExecutor(AT_A_TIME)
    yield {
        name: Pair(pool.submit(by_bare_snakemake, name, folder / name), pool.submit(by_service, name, server))
        for name in wanted
    }
    pool.shutdown(cancel_futures=True)
    server.stop()


@pytest.mark.parametrize("name", NAMES)
def test_workflow_does_the_same_through_the_service(name: str, pairs: Mapping[str, Pair]) -> None:
    bare = pairs[name].bare.result(TIMEOUT_S)
    service = pairs[name].service.result(TIMEOUT_S)
    for alone, served in zip(bare.times, service.times, strict=True):
        assert alone.succeeded == (name not in FAILING), alone.log
        assert served.succeeded == alone.succeeded, served.log
        assert served.jobs == alone.jobs, served.log
        assert served.files == alone.files
    assert service.outputs == bare.outputs
    assert contents(made(name, bare.times[0].files)) == contents(files_of(WORKFLOWS / name / EXPECTED))


def by_bare_snakemake(name: str, folder: Path) -> Result:
    """Run the workflow twice in a copy, as somebody would at a terminal."""
    directory = folder / name
    shutil.copytree(WORKFLOWS / name, directory, symlinks=True)
    times = bare_time(directory, folder / "1.log"), bare_time(directory, folder / "2.log")
    outputs = {path: digest_of((directory / path).read_bytes()) for path in made_by_jobs(name, times[1].files)}
    return Result(times, outputs)


def bare_time(directory: Path, log: Path) -> Time:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEWAY_", "OTEL_"))}
    argv = [sys.executable, "-m", "snakemake", "--cores", "2"]
    with guarded(argv, log=log, env=env | {"PATH": path}, cwd=directory) as process:
        code = process.wait(TIMEOUT_S)
    text = log.read_text()
    finished = set(_FINISHED.findall(text))
    told = _JOB.findall(text)
    tries = Counter(number for _, number in told)
    jobs = Counter(Job(rule, number in finished, tries[number]) for rule, number in set(told))
    return Time(code == 0, jobs, files_of(directory), text)


def by_service(name: str, server: Server) -> Result:
    """Run the workflow and run it again through the API."""
    run = server.submit(name)
    first = service_time(server, run, 1)
    server.rerun(run)
    times = first, service_time(server, run, 2)
    wanted = made_by_jobs(name, times[1].files)

    def recorded() -> dict[str, str]:
        found: list[Any] = server.get(f"/runs/{run}/artifacts", limit=500)["items"]
        return {artifact["path"]: artifact["sha256"] for artifact in found}

    with suppress(AssertionError):  # the test says what is different
        wait_until(lambda: set(recorded()) == wanted and all(recorded().values()), timeout_s=20, what="all artifacts")
    outputs = recorded()
    for path, digest in outputs.items():
        answer = server.request("GET", f"/runs/{run}/artifacts/{quote(path)}")
        if answer.status_code != 200 or digest_of(answer.content) != digest:
            outputs[path] = f"{answer.status_code} with {len(answer.content)} bytes that are not {digest}"
    return Result(times, outputs)


def service_time(server: Server, run: str, attempt: int) -> Time:
    ended = server.end_of(run, TIMEOUT_S)
    log = server.request("GET", f"/runs/{run}/log", params={"attempt": attempt}).text
    jobs = server.jobs(run, attempt=attempt)
    assert {job["state"] for job in jobs} <= {"succeeded", "failed"}, log
    found = Counter(Job(job["rule"], job["state"] == "succeeded", job["try"]) for job in jobs)
    return Time(ended["state"] == "succeeded", found, files_of(server.directory(run)), log)


def made(name: str, files: Files) -> Files:
    """Return those of the files that are not the workflow's own, or no longer what they were."""
    source = files_of(WORKFLOWS / name)
    return {path: file for path, file in files.items() if source.get(path) != file}


def made_by_jobs(name: str, files: Files) -> set[str]:
    return made(name, files).keys() - NO_OUTPUTS


def files_of(folder: Path) -> Files:
    """Return everything below the folder but what is LEFT_OUT; a link is not followed."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if not LEFT_OUT.intersection(name.parts) and (path.is_symlink() or path.is_file()):
            found[str(name)] = _file(path)
    return found


def _file(path: Path) -> File:
    if path.is_symlink():
        return File("link", os.fsencode(path.readlink()))
    mode = path.stat().st_mode
    kind = "protected" if not mode & stat.S_IWUSR else "program" if mode & stat.S_IXUSR else "file"
    return File(kind, path.read_bytes())


def contents(files: Files) -> dict[str, bytes]:
    return {path: file.content for path, file in files.items()}


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
