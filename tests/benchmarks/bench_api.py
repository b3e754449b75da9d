"""Latency of the API with 8 clients: submitting, and how listing and reading change from 1,000 to 200,000 stored runs.

The server is a process of its own with a SQLite database and no supervisor, so that nothing but the API is measured.
Each client is a process with one connection that sends its next request when it has the answer to the one before.
Both databases are served at the same time and asked in turns, so that a drifting machine does not count.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
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
ROUNDS = 5
SECONDS = 4.0  # of one measurement
_CHUNK = 5_000


def seed(store: Store, number: int) -> list[str]:
    """Store ``number`` ended runs, each with an attempt, every tenth with a label; returns some of their ids."""
    start_ms = int(time.time() * 1000) - number * 1000
    made = []
    for first in range(0, number, _CHUNK):
        runs, attempts, labels = [], [], []
        for i in range(first, min(first + _CHUNK, number)):
            run_id = ids.new_id(start_ms + i * 1000)
            label = {"batch": str(i % 50)} if i % 10 == 0 else {}
            common = {"target": "local", "owner": "local", "digest": f"sha256:{'0' * 64}", "created_at": now()}
            config = {"samples": [f"sample{k}" for k in range(10)], "threshold": 0.5}
            state = RunState.SUCCEEDED if i % 5 else RunState.FAILED
            run = {"id": run_id, "workflow": f"workflow{i % 20}", "state": state, "config": config, "labels": label}
            runs.append({**common, **run, "source": {"kind": "catalog"}, "jobs_total": 100, "jobs_done": 100})
            attempt = {"id": ids.new_id(), "run_id": run_id, "number": 1, "state": AttemptState(state)}
            attempts.append({**common, **attempt, "config": config, "overrides": {}})
            labels += [{"run_id": run_id, "key": key, "value": value} for key, value in label.items()]
        with store.write() as tx:
            tx.execute(insert(RunRow), [RunRow(**run).model_dump() for run in runs])
            tx.execute(insert(AttemptRow), [AttemptRow(**attempt).model_dump() for attempt in attempts])
            tx.execute(insert(RunLabelRow), labels)
        made.append(runs[0]["id"])
    return [str(run_id) for run_id in made]


def serve(port: int) -> None:
    """Serve the data folder of the environment until killed."""
    import uvicorn

    from snakeway.app import Parts, create_app
    from snakeway.catalog import Catalog
    from snakeway.service import Commands, Reads

    settings = Settings()
    store = Store(settings.store_url)
    catalog = Catalog(settings)
    app = create_app(Parts(settings, Commands(store, catalog, settings), Reads(store, catalog, settings)))
    uvicorn.run(app, port=port, log_level="warning", access_log=False, server_header=False)


@contextmanager
def server(data_dir: Path) -> Iterator[str]:
    """Run a server over ``data_dir`` and give its URL."""
    port = free_port()
    folders = {"SNAKEWAY_WORKFLOWS_DIR": str(ROOT / "workflows"), "SNAKEWAY_PROFILES_DIR": str(ROOT / "profiles")}
    env = {**os.environ, **folders, "SNAKEWAY_DATA_DIR": str(data_dir)}
    argv = [sys.executable, "-m", "tests.benchmarks.bench_api", "serve", str(port)]
    process = subprocess.Popen(argv, env=env, cwd=ROOT)
    url = f"http://127.0.0.1:{port}/api/v1"
    try:
        wait_until(partial(_answers, url), timeout_s=60, what="the server to answer")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool | None:
    try:
        return httpx.get(f"{url}/health/live").is_success or None
    except httpx.TransportError:
        return None


def client(job: tuple[str, str, list[str], float]) -> list[float]:
    """Send requests for a while, the paths in turns; returns the seconds that each took."""
    url, method, paths, until = job
    body = {"workflow": "quickstart", "labels": {"from": "bench"}} if method == "POST" else None
    took: list[float] = []
    with httpx.Client(timeout=60) as http:
        http.get(f"{url}/health/live")
        while time.time() < until:
            path = paths[len(took) % len(paths)]
            start = time.perf_counter()
            response = http.request(method, f"{url}{path}", json=body)
            took.append(time.perf_counter() - start)
            assert response.is_success, response.text
    return took


class Clients:
    """Eight processes that do as they are told."""

    def __init__(self, pool: "multiprocessing.pool.Pool") -> None:
        self._pool = pool

    def measure(self, url: str, method: str, *paths: str) -> list[float]:
        """Return the seconds of every request that all clients made in one measurement."""
        job = (url, method, list(paths), time.time() + SECONDS)
        return [seconds for part in self._pool.map(client, [job] * CLIENTS, chunksize=1) for seconds in part]


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _show(name: str, rounds: list[list[float]]) -> None:
    p50 = statistics.median(_percentile(values, 50) for values in rounds)
    p95 = statistics.median(_percentile(values, 95) for values in rounds)
    rate = statistics.median(len(values) / SECONDS for values in rounds)
    print(f"{name:<42} p50 {p50 * 1000:7.1f} ms   p95 {p95 * 1000:7.1f} ms   {rate:6.0f} requests/s", flush=True)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, context.Pool(CLIENTS) as pool:
        clients = Clients(pool)
        known: dict[int, list[str]] = {}
        for number in (FEW, MANY):
            store = Store(f"sqlite:///{name}/{number}/snakeway.db")
            store.migrate()
            start = time.perf_counter()
            known[number] = seed(store, number)
            print(f"{number} runs stored in {time.perf_counter() - start:.0f} s")
            store.close()
        with server(Path(name, str(FEW))) as few, server(Path(name, str(MANY))) as many:
            reads = {
                "GET /runs?limit=100": lambda number: ["/runs?limit=100"],
                "GET /runs?limit=100&label=": lambda number: ["/runs?limit=100&label=batch=20"],
                "GET /runs/{id}": lambda number: [f"/runs/{run_id}" for run_id in known[number]],
            }
            for what, paths in reads.items():
                rounds: dict[int, list[list[float]]] = {FEW: [], MANY: []}
                for _ in range(ROUNDS):
                    for number, url in ((FEW, few), (MANY, many)):
                        rounds[number].append(clients.measure(url, "GET", *paths(number)))
                for number in (FEW, MANY):
                    _show(f"{what}, {number} runs", rounds[number])
                pairs = zip(rounds[MANY], rounds[FEW], strict=True)
                ratios = [_percentile(a, 95) / _percentile(b, 95) for a, b in pairs]
                print(f"{what}, p95, {MANY} / {FEW} runs".ljust(60), f"{statistics.median(ratios):.2f}", flush=True)
            _show("POST /runs", [clients.measure(many, "POST", "/runs") for _ in range(ROUNDS)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main()
