"""A run of 10,000 jobs that is traced: how many spans reach the collector, and what a collector costs that is killed.

Runs of the same workflow without a collector, with one, and with one that is killed when half of the jobs have
finished. A job has one span; with the jobs gather and all, attempt, run and request there are five more, in the
same trace. The kinds take turns and begin each round with another, because a machine that does other things drifts.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks.common import ratio, row, write_workflow
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.server import ENDED, Server
from tests.support.telemetry import Span

OTHERS = 5  # spans beside those of the scattered jobs
NONE, ALIVE, KILLED = KINDS = ("no collector", "collector", "collector killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(asked.rounds):
        first = number % len(KINDS)
        for kind in KINDS[first:] + KINDS[:first]:
            seconds[kind].append(measure(kind, asked.jobs))
    print(f"{'':<42} {'min':>8} {'median':>8} {'max':>8}")
    for kind, values in seconds.items():
        print(row(kind, values))
    for kind in (ALIVE, KILLED):
        print(f"{kind} / {NONE}: {ratio(seconds[kind], seconds[NONE]):.3f}")


def measure(kind: str, jobs: int) -> float:
    """Make one run, tell how it went and what arrived, and return its seconds."""
    with tempfile.TemporaryDirectory() as folder, otlp_receiver(Path(folder, "collector")) as receiver:
        run, seconds = traced_run(Path(folder), jobs, receiver if kind != NONE else None, kind == KILLED)
        print(f"{kind:<18} {seconds:7.1f} s, run {run['state']}, {run['jobs']['done']} jobs", flush=True)
        if kind == ALIVE:
            receiver.wait_for(jobs + OTHERS, trace_id=run["trace_id"], timeout_s=60)
            tell(receiver.spans(), run["trace_id"])
        if kind == KILLED:
            print(f"{'':<18} {len(receiver.spans(run['trace_id']))} spans had arrived")
    return seconds


def traced_run(folder: Path, jobs: int, receiver: Receiver | None, kill: bool) -> tuple[dict[str, Any], float]:
    """Run the workflow through a service of its own; returns the ended run and the seconds from submission to end."""
    write_workflow(folder / "workflows/many", jobs)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} if receiver else {}
    server = Server(folder / "data", workflows_dir=folder / "workflows", settings=settings).start()
    try:
        begin = time.perf_counter()
        run_id = server.submit("many")
        while (run := server.get(f"/runs/{run_id}"))["state"] not in ENDED:
            if kill and receiver is not None and run["jobs"]["done"] >= jobs // 2:
                receiver.kill()
                kill = False
            time.sleep(0.2)
        return run, time.perf_counter() - begin
    finally:
        server.stop()


def tell(spans: list[Span], trace_id: str) -> None:
    """Print how many spans arrived, and how many of them have no parent among them."""
    ours = {span.span_id: span for span in spans if span.trace_id == trace_id}
    orphans = [span for span in ours.values() if span.parent_id and span.parent_id not in ours]
    roots = [span.name for span in ours.values() if not span.parent_id]
    below = Counter((span.name, ours[span.parent_id].name) for span in ours.values() if span.parent_id in ours)
    print(f"{'':<18} {len(ours)} spans in the trace, {len(orphans)} without their parent, roots: {roots}")
    for (name, parent), count in below.most_common():
        print(f"{'':<18} {count} {name!r} below {parent!r}")


if __name__ == "__main__":
    main()
