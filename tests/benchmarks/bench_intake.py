"""A run of 10,000 jobs through the service: lag of the record behind the events, and the server's memory."""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from snakeway.wire import EVENTS_FILE
from tests.benchmarks.common import row, write_workflow
from tests.support.server import ENDED, Server


def finished_in(events: Path, offset: int) -> tuple[int, int]:
    """Return how many jobs the events behind ``offset`` say have finished, and the new offset."""
    if not events.exists():
        return 0, offset
    with events.open("rb") as file:
        file.seek(offset)
        data = file.read()
    data = data[: data.rfind(b"\n") + 1]
    return data.count(b'"type":"job_finished"'), offset + len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_workflow(root / "workflows/many", options.jobs)
        server = Server(root / "data", workflows_dir=root / "workflows").start()
        try:
            measure(server, server.submit("many"))
        finally:
            server.stop()


def measure(server: Server, run_id: str) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    events = server.directory(run_id) / ".snakeway/attempts/1" / EVENTS_FILE
    idle = process.memory_info().rss
    written, offset = 0, 0
    history: list[tuple[float, int]] = []  # when so many jobs had finished, by the events
    lags: list[float] = []
    memory: list[float] = []
    begin = time.time()
    while True:
        more, offset = finished_in(events, offset)
        written += more
        history.append((time.time(), written))
        run = server.get(f"/runs/{run_id}")
        done = run["jobs"]["done"]
        lags.append(time.time() - min((at for at, count in history if count > done), default=time.time()))
        memory.append((process.memory_info().rss - idle) / 2**20)
        if run["state"] in ENDED:
            break
        time.sleep(0.2)
    print(
        f"{written} jobs in {time.time() - begin:.0f} s, run {run['state']}{'':<14} {'min':>8} {'median':>8} {'max':>8}"
    )
    print(row("lag of the record behind the events", lags))
    print(row("server memory above idle", memory, "MiB"))


if __name__ == "__main__":
    main()
