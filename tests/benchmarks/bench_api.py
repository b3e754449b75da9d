"""Latency of the API with 8 clients: submitting, and how listing and reading change from 1,000 to 200,000 stored runs.

The server is a process of its own with a SQLite database and no supervisor, so that nothing but the API is measured.
Each client is a process with one connection that sends its next request when it has the answer to the one before, so
the latency is eight times what a request costs the server's one core; submissions are also measured at fixed rates,
spread evenly over the clients.
Both databases are served at the same time and asked in turns, so that a drifting machine does not count.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from multiprocessing.pool import Pool
from pathlib import Path

import httpx
import psutil
from sqlalchemy import insert

from snakeway import ids
from snakeway.model.attempt import AttemptState
from snakeway.model.run import RunState
from snakeway.rows import AttemptRow, RunLabelRow, RunRow, now
from snakeway.settings import Settings
from snakeway.store import Store
from tests.support.server import ROOT, free_port
from tests.support.waiting import wait_until

CLIENTS = 8
FEW, MANY = 1_000, 200_000
RATES = 40, 80, 160  # submissions a second, by all clients together
ROUNDS = 5
SECONDS = 4.0  # of one measurement
_CHUNK = 5_000


def seed(store: Store, number: int) -> list[str]:
    """Store ``number`` ended runs, each with an attempt, every tenth with a label; returns some of their ids."""
    config = {"samples": [f"sample{k}" for k in range(10)], "threshold": 0.5}
    common = {
        "owner": "local",
        "target": "local",
        "digest": f"sha256:{'0' * 64}",
        "config": config,
        "created_at": now(),
    }
    counts = {"jobs_total": 100, "jobs_done": 100}
    a_run = RunRow(id="", workflow="", source={"kind": "catalog"}, **common, **counts).model_dump()
    an_attempt = AttemptRow(id="", run_id="", number=1, **common, **counts).model_dump()
    start_ms = int(time.time() * 1000) - number * 1000
    made = []
    for first in range(0, number, _CHUNK):
        runs, attempts, labels = [], [], []
        for i in range(first, min(first + _CHUNK, number)):
            run_id = ids.new_id(start_ms + i * 1000)
            state = RunState.SUCCEEDED if i % 5 else RunState.FAILED
            label = {"batch": str(i % 50)} if i % 10 == 0 else {}
            runs.append({**a_run, "id": run_id, "workflow": f"workflow{i % 20}", "state": state, "labels": label})
            attempts.append({**an_attempt, "id": ids.new_id(), "run_id": run_id, "state": AttemptState(state)})
            labels += [{"run_id": run_id, "key": key, "value": value} for key, value in label.items()]
        with store.write() as tx:
            for table, rows in ((RunRow, runs), (AttemptRow, attempts), (RunLabelRow, labels)):
                tx.execute(insert(table), rows)
        made.append(runs[0]["id"])
    return made


def serve(port: int) -> None:
    """Serve the data folder of the environment until killed."""
    import uvicorn

    from snakeway.app import Parts, create_app
    from snakeway.blobs import Storages
    from snakeway.bootstrap import open_location
    from snakeway.catalog import Catalog
    from snakeway.service import Commands, Reads

    settings = Settings()
    store = Store(settings.store_url)
    catalog = Catalog(settings)
    storages = Storages(open_location)
    reads = Reads(store, catalog, settings, storages)
    app = create_app(Parts(settings, Commands(store, catalog, settings, storages), reads))
    uvicorn.run(app, port=port, log_level="warning", access_log=False, server_header=False)


@dataclass(frozen=True)
class Served:
    """A server process and where it answers."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def server(data_dir: Path) -> Iterator[Served]:
    """Run a server over ``data_dir``."""
    port = free_port()
    folders = {"SNAKEWAY_WORKFLOWS_DIR": str(ROOT / "workflows"), "SNAKEWAY_PROFILES_DIR": str(ROOT / "profiles")}
    env = {**os.environ, **folders, "SNAKEWAY_DATA_DIR": str(data_dir), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", "tests.benchmarks.bench_api", "serve", str(port)]
    process = subprocess.Popen(argv, env=env, cwd=ROOT)
    url = f"http://127.0.0.1:{port}/api/v1"
    try:
        wait_until(partial(_answers, url), timeout_s=60, what="the server to answer")
        yield Served(url, psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool | None:
    try:
        return httpx.get(f"{url}/health/live").is_success or None
    except httpx.TransportError:
        return None


def client(job: tuple[str, str, list[str], float, float, float]) -> list[float]:
    """Send requests for a while, the paths in turns; returns the seconds that each took.

    The first is sent after ``wait_s``, each other ``pause_s`` after the one before, if its answer came by then. The
    client is the lightest that there is, because it shares the machine's processors with the server.
    """
    url, method, paths, until, pause_s, wait_s = job
    body = json.dumps({"workflow": "quickstart", "labels": {"from": "bench"}}) if method == "POST" else None
    headers = {"Content-Type": "application/json"} if body else {}
    host, _, base = url.removeprefix("http://").partition("/")
    took: list[float] = []
    with closing(HTTPConnection(host, timeout=60)) as http:
        http.connect()
        time.sleep(wait_s)  # clients do not click at the same instant
        while time.time() < until:
            path = paths[len(took) % len(paths)]
            start = time.perf_counter()
            http.request(method, f"/{base}{path}", body, headers)
            response = http.getresponse()
            answer = response.read()
            took.append(time.perf_counter() - start)
            assert response.status < 300, answer
            time.sleep(max(0.0, pause_s - took[-1]))
    return took


@dataclass(frozen=True)
class Measured:
    """What all clients saw in one measurement, and what it took the server."""

    seconds: list[float]
    cpu_s: float

    def percentile(self, percent: int) -> float:
        """Seconds within which ``percent`` of the requests were answered."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def measure(pool: Pool, served: Served, method: str, paths: list[str], pause_s: float = 0) -> Measured:
    """Let all clients ask for ``paths`` for a while."""
    before = served.cpu_s()
    until = time.time() + SECONDS
    jobs = [(served.url, method, paths, until, pause_s, pause_s * k / CLIENTS) for k in range(CLIENTS)]
    answers = pool.map(client, jobs, chunksize=1)
    return Measured([seconds for part in answers for seconds in part], served.cpu_s() - before)


def show(name: str, rounds: list[Measured]) -> None:
    """Print the medians of the rounds."""
    p50, p95 = (statistics.median(each.percentile(percent) for each in rounds) * 1000 for percent in (50, 95))
    cpu = statistics.median(each.cpu_s / len(each.seconds) for each in rounds) * 1000
    rate = statistics.median(len(each.seconds) for each in rounds) / SECONDS
    print(f"{name:<40} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  {rate:5.0f} requests/s  cpu {cpu:5.2f} ms", flush=True)


def posted(pool: Pool, served: Served, pause_s: float = 0) -> list[Measured]:
    """Measure submissions."""
    return [measure(pool, served, "POST", ["/runs"], pause_s) for _ in range(ROUNDS)]


def compare(pool: Pool, name: str, few: tuple[Served, list[str]], many: tuple[Served, list[str]]) -> None:
    """Measure reads on both servers in turns and print how much the larger one takes."""
    rounds: dict[int, list[Measured]] = {FEW: [], MANY: []}
    for _ in range(ROUNDS):
        for number, (served, paths) in ((FEW, few), (MANY, many)):
            rounds[number].append(measure(pool, served, "GET", paths))
    for number in (FEW, MANY):
        show(f"{name}, {number} runs", rounds[number])
    pairs = list(zip(rounds[MANY], rounds[FEW], strict=True))
    p95 = statistics.median(a.percentile(95) / b.percentile(95) for a, b in pairs)
    cpu = statistics.median(a.cpu_s * len(b.seconds) / (b.cpu_s * len(a.seconds)) for a, b in pairs)
    print(f"{name}, {MANY} / {FEW} runs: p95 {p95:.2f}, cpu {cpu:.2f}", flush=True)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, context.Pool(CLIENTS) as pool:
        known: dict[int, list[str]] = {}
        for number in (FEW, MANY):
            store = Store(f"sqlite:///{name}/{number}/snakeway.db")
            store.migrate()
            known[number] = [f"/runs/{run_id}" for run_id in seed(store, number)]
            store.close()
        with server(Path(name, str(FEW))) as few, server(Path(name, str(MANY))) as many:
            for path in ("/runs?limit=100", "/runs?limit=20&label=batch%3D20"):
                compare(pool, f"GET {path}", (few, [path]), (many, [path]))
            compare(pool, "GET /runs/{id}", (few, known[FEW]), (many, known[MANY]))
            for rate in RATES:
                show(f"POST /runs, {rate} a second", posted(pool, many, CLIENTS / rate))
            show("POST /runs, as fast as answered", posted(pool, many))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main()
