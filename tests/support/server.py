"""A real Snakeway server process, to be talked to over HTTP and killed from outside."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
ENDED = ("succeeded", "failed", "cancelled")
START_S = 60


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """``snakeway serve`` with its own data folder. ``kill`` and ``start`` may alternate; runs outlive both."""

    data_dir: Path
    workflows_dir: Path = ROOT / "workflows"
    profiles_dir: Path = ROOT / "profiles"
    settings: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    python: str = sys.executable
    account: str | None = None  # as which it runs, with its main group only; that takes root

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """Environment of the server and of a client that talks to it."""
        ours = {
            "SNAKEWAY_URL": self.url,
            "SNAKEWAY_PORT": str(self.port),
            "SNAKEWAY_DATA_DIR": str(self.data_dir),
            "SNAKEWAY_WORKFLOWS_DIR": str(self.workflows_dir),
            "SNAKEWAY_PROFILES_DIR": str(self.profiles_dir),
            "SNAKEWAY_LEASE_S": "2",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEWAY_", "OTEL_"))}
        return {**clean, **ours, **self.settings}

    def start(self, *, wait: bool = True) -> "Server":
        """Start the process; with ``wait`` return only when it is ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        argv = [self.python, "-m", "snakeway", "serve", *self.arguments]
        options: dict[str, Any] = {"env": self.env, "stdin": subprocess.DEVNULL}
        if self.account is not None:
            group = pwd.getpwnam(self.account).pw_gid
            options |= {"user": self.account, "group": group, "extra_groups": [], "cwd": "/"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, **options)
        if wait:
            wait_until(self._ready, timeout_s=START_S, what=f"the server to be ready; its log is {self.log}")
        return self

    @property
    def log(self) -> Path:
        return self.data_dir / "server.log"

    def stop(self) -> int:
        """End the server in an orderly way; returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server without a word."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process = None

    def _ready(self) -> bool | None:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()[-3000:]}"
        try:
            return httpx.get(f"{self.url}/api/v1/health/ready", timeout=5).status_code == 200 or None
        except httpx.TransportError:
            return None

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request below ``/api/v1``."""
        return httpx.request(method, f"{self.url}/api/v1{path}", timeout=60, **options)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at ``path``; fails on anything but success."""
        response = self.request("GET", path, params=query)
        assert response.is_success, response.text
        return response.json()

    def text(self, path: str, **query: Any) -> str:
        """Return the text at an address, which must be there."""
        answer = self.request("GET", path, params=query)
        assert answer.is_success, answer.text
        return answer.text

    def submit(self, workflow: str, **body: Any) -> str:
        """Submit a run; returns its id."""
        response = self.request("POST", "/runs", json={"workflow": workflow, **body})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def rerun(self, run_id: str, **body: Any) -> Any:
        """Re-run a run; returns the answer with run and attempt."""
        response = self.request("POST", f"/runs/{run_id}/rerun", json=body)
        assert response.status_code == 202, response.text
        return response.json()

    def end_of(self, run_id: str, timeout_s: float = 60) -> Any:
        """Wait for the run's end; returns the run."""

        def ended() -> Any:
            run = self.get(f"/runs/{run_id}")
            return run if run["state"] in ENDED else None

        return wait_until(ended, timeout_s=timeout_s, what=f"the end of run {run_id}; the server's log is {self.log}")

    def jobs(self, run_id: str, **query: Any) -> list[Any]:
        """Return all jobs of the run, of all attempts unless ``attempt`` says otherwise."""
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(f"/runs/{run_id}/jobs", limit=500, **query, **cursor)
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    def directory(self, run_id: str) -> Path:
        """Return the run's directory."""
        return self.data_dir / "runs" / run_id
