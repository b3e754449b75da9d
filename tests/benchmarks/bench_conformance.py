"""Snakemake's own test folders, by bare snakemake and through the service, side by side.

Takes the path of an unpacked source distribution of Snakemake. It is not among the benchmarks that run by default,
because it needs that path. All folders, once, take about half an hour on two cores.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from snakeway.tree import LEFT_OUT
from tests.benchmarks.common import SNAKEMAKE
from tests.support.server import Server

SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
PROFILE = "executor: local\ncores: 2\n"
SERVED_PROFILE = f"{PROFILE}logger: [snakeway]\n"
NOT_OUTPUTS = {"expected-results", ".snakemake", ".snakeway", "__pycache__", ".snakemake_timestamp"}
LIMIT_S = 400  # the longest folder, 100 jobs that each start a snakemake, took about 200 s beside other work
AGAIN = 16  # bare runs that show whether bare snakemake differs from itself
_FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (.*)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What one time left: every file and folder with a word for its content, and the finished jobs of each rule."""

    success: bool
    files: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    said: str = ""  # why it is no success
    no_end: bool = False

    def differs(self, other: "Result") -> set[str]:
        """Return the paths, and the rules as ``rule NAME``, that are not the same in both."""
        paths = {path for path, _ in self.files.items() ^ other.files.items()}
        rules = {f"rule {rule}" for rule, _ in self.jobs.items() ^ other.jobs.items()}
        return paths | rules | ({"success"} if self.success != other.success else set())


Times = list[Result]  # the first time, and the second in the same directory


def _differ(ours: Times, theirs: Times) -> set[str]:
    first, *later = [a.differs(b) for a, b in zip(ours, theirs, strict=False)]
    return first.union(*({f"second time: {what}" for what in found - first} for found in later))


@dataclass(frozen=True)
class Bench:
    root: Path
    server: Server
    twice: bool

    def folder(self, kind: str) -> Path:
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def bare(self, name: str, source: Path, kind: str, *, as_served: bool = False, memory: str = "default") -> Times:
        """Run snakemake in a fresh copy; ``as_served`` leaves out what a workflow cannot bring along."""
        directory = self.folder(kind) / name
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(source, directory, symlinks=True, ignore=_left_out if as_served else None)
        first = self._bare_once(directory, memory)
        return [first, self._bare_once(directory, memory)] if first.success and self.twice else [first]

    def _bare_once(self, directory: Path, memory: str) -> Result:
        logs = directory / ".snakemake/log"
        before = set(logs.glob("*.log"))
        argv = [str(SNAKEMAKE), "--profile", str(self.folder("bare-profile")), "--nocolor", "--rerun-incomplete"]
        output = directory.with_name(f"{directory.name}.log")
        with output.open("ab") as file:
            process = subprocess.Popen(
                argv, cwd=directory, env=_environment() | {"PYTHONMALLOC": memory}, stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
            try:
                code: int | None = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # whatever it left running
                process.wait()
        # A workflow may call snakemake itself: the oldest log is that of the outer one.
        new = sorted(set(logs.glob("*.log")) - before)
        done = Counter(_FINISHED.findall(new[0].read_text(errors="replace"))) if new else {}
        return Result(code == 0, dict(_files(directory)), dict(done), f"exit code {code}", no_end=code is None)

    def served(self, name: str) -> Times:
        """Run the workflow through the API."""
        answer = self.server.request("POST", "/runs", json={"workflow": name})
        if answer.status_code != 201:
            return [Result(False, said=f"refused: {answer.text}")]
        run_id = answer.json()["id"]
        first = self._ended(run_id, 1)
        if not self.twice:
            return [first]
        self.server.rerun(run_id)
        return [first, self._ended(run_id, 2)]

    def _ended(self, run_id: str, attempt: int) -> Result:
        run = self.server.end_of(run_id, LIMIT_S)
        jobs = self.server.jobs(run_id, attempt=attempt)
        done = Counter(job["rule"] for job in jobs if job["state"] == "succeeded")
        files = dict(_files(self.server.directory(run_id)))
        return Result(run["state"] == "succeeded", files, dict(done), f"run {run_id} {run['state']}: {run['error']}")

    def compare(self, name: str, source: Path) -> tuple[str, list[str]]:
        """Return a verdict and what differs."""
        first = self.bare(name, source, "bare")
        if not first[0].success:
            return ("no end bare" if first[0].no_end else "fails bare"), []
        try:
            ours = self.served(name)
        except AssertionError as error:
            return "no end", [str(error)]
        if not (different := _differ(first, ours)):
            return "identical", []
        varies: set[str] = set()
        for number in range(AGAIN):
            # Which of several equal jobs is started first depends on where in memory snakemake puts them.
            memory = ("default", "malloc")[number % 2]
            varies |= _differ(first, self.bare(name, source, "bare-again", memory=memory))
            if different <= varies:
                return "bare differs from itself", sorted(different)
        if _differ(self.bare(name, source, "bare-as-served", as_served=True), ours) <= varies:
            return "as bare without .snakemake", sorted(different)
        return "differs", [*sorted(different), *(result.said for result in ours if not result.success)]


def _left_out(_: str, names: list[str]) -> set[str]:
    return set(LEFT_OUT) & set(names)


def _environment() -> dict[str, str]:
    """The environment that the server gives its runs, without what the server itself is told by."""
    ours = ("SNAKEWAY_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _files(directory: Path) -> Iterator[tuple[str, str]]:
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        if NOT_OUTPUTS & set(name.parts):
            continue
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield str(name), f"link to {path.readlink()}"
        elif stat.S_ISREG(mode):
            protected = "" if mode & stat.S_IWUSR else "protected "
            yield str(name), protected + hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISDIR(mode):
            yield str(name), "folder"


def _workflows(tests: Path) -> Iterator[tuple[str, Path]]:
    """Yield a name for every folder with a Snakefile, and the folder."""
    for here, folders, _ in os.walk(tests):
        folders.sort()
        folder = Path(here)
        if folder.name == "expected-results":
            folders.clear()
        elif folder == tests or (folder.name == "workflow" and _has_snakefile(folder.parent)):
            continue
        elif _has_snakefile(folder):
            yield "__".join(folder.relative_to(tests).parts), folder


def _has_snakefile(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SNAKEFILES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snakemake", type=Path, help="folder of Snakemake's unpacked source distribution")
    parser.add_argument("--only", default="", metavar="REGEX", help="names of folders to run")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder for all files, which stays")
    parser.add_argument("--twice", action="store_true", help="compare a second time in the same directory as well")
    parser.add_argument("--workers", type=int, default=2, help="folders at the same time")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PATH"] = f"{SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}"  # workflows call snakemake and python
    chosen = {name: path for name, path in _workflows(options.snakemake / "tests") if re.search(options.only, name)}
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        _run(root.resolve(), chosen, options.workers, twice=options.twice)


def _run(root: Path, chosen: dict[str, Path], workers: int, *, twice: bool) -> None:
    for name, path in chosen.items():
        shutil.copytree(path, root / "workflows" / name, symlinks=True)
    for name, text in (("profiles/local", SERVED_PROFILE), ("bare-profile", PROFILE)):
        (root / name).mkdir(parents=True)
        (root / name / "config.yaml").write_text(text)
    settings = {"SNAKEWAY_MAX_ACTIVE_RUNS": str(workers)}
    server = Server(root / "data", root / "workflows", root / "profiles", settings).start()
    bench = Bench(root, server, twice)
    verdicts: Counter[str] = Counter()
    try:
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda item: bench.compare(*item), chosen.items())
            for name, (verdict, different) in zip(chosen, found, strict=True):
                verdicts[verdict] += 1
                print(f"{name}: {verdict}", *different, sep="\n    ", flush=True)
    finally:  # also when it is interrupted: what was compared until then
        server.stop()
        print()
        for verdict, count in verdicts.most_common():
            print(f"{count:5} {verdict}")


if __name__ == "__main__":
    main()
