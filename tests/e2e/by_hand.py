"""Somebody who runs snakemake in a directory, without the service or beside it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.plugin_runs import PLAIN_ENVIRONMENT
from tests.support.processes import guarded
from tests.support.server import ROOT, Server

PROFILE = ROOT / "profiles" / "local"


class ByHand:
    """A working directory in which somebody runs snakemake: with a Snakefile of this text, or a copy of a workflow."""

    timeout_s = 120.0

    def __init__(self, folder: Path, workflow: str | Path, server: Server | None = None, **env: str) -> None:
        self.folder = folder
        self.env = PLAIN_ENVIRONMENT | ({"SNAKEWAY_URL": server.url} if server else {}) | env
        if isinstance(workflow, Path):
            shutil.copytree(workflow, folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "Snakefile").write_text(workflow)

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--profile", str(PROFILE)]

    def snakemake(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake to its end."""
        with (self.folder / "output.log").open("w+") as output:  # a file, as the service has it
            done = subprocess.run(
                [*self.argv, *options],
                cwd=self.folder,
                env=self.env,
                stdout=output,
                stderr=output,
                timeout=self.timeout_s,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, stderr=output.read())

    @contextmanager
    def started(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Have snakemake run while the block lasts."""
        with guarded(self.argv, log=self.folder / "output.log", env=self.env, cwd=self.folder) as process:
            yield process

    @property
    def events(self) -> Path:
        (file,) = self.folder.glob(".snakeway/attempts/*/events.ndjson")
        return file

    @property
    def run_id(self) -> str:
        return str(json.loads((self.folder / ".snakeway/run.json").read_text())["run_id"])

    def snakeway(self, *args: str, code: int = 0, **env: str) -> str:
        """Run the command line in the directory; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "snakeway", *args],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout
