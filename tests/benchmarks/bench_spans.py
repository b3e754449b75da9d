"""A run of 10,000 jobs that is traced: how many spans reach the collector, and what a collector costs that is killed.

Two services run the same workflow at the same time, one of them without a collector: a machine that does other things
slows both, and so does the collector itself, which shares the machine. The other one's collector lives, or is killed
when half of the jobs have finished. Their times are compared, and how far one was when the other ended.

A job has one span; with the jobs gather and all, attempt, run and request there are five more, in the same trace.
"""

import argparse
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.common import ratio, row, write_workflow
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.server import ENDED, Server
from tests.support.telemetry import Span

OTHERS = 5  # spans beside those of the scattered jobs
ALIVE, KILLED = KINDS = ("collector", "collector killed")
_LOOK_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    for kind in KINDS:
        pairs = [pair(kind, asked.jobs, traced_first=number % 2 == 0) for number in range(asked.rounds)]
        traced, untraced = ([each[place] for each in pairs] for place in (0, 1))
        print(f"{'':<42} {'min':>8} {'median':>8} {'max':>8}")
        print(row(kind, traced))
        print(row("no collector, at the same time", untraced))
        print(f"{kind} / no collector: {ratio(traced, untraced):.3f}", flush=True)


def pair(kind: str, jobs: int, *, traced_first: bool) -> tuple[float, float]:
    """Run the workflow with and without a collector; returns the seconds of both, in this order."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = stack.enter_context(otlp_receiver(folder / "collector"))
        servers = {}
        for name in ("traced", "untraced") if traced_first else ("untraced", "traced"):
            write_workflow(folder / name / "workflows/many", jobs)
            write_workflow(folder / name / "workflows/first", 1)
            settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} if name == "traced" else {}
            workflows = folder / name / "workflows"
            servers[name] = Server(folder / name / "data", workflows_dir=workflows, settings=settings).start()
            stack.callback(servers[name].stop)
        for server in servers.values():  # now both are warm: each has what it imports for its first run
            server.end_of(server.submit("first"))
        seconds, runs = followed(servers, receiver if kind == KILLED else None, jobs)
        print(f"{kind:<18} {seconds['traced']:7.1f} s, without {seconds['untraced']:7.1f} s", flush=True)
        told = ", ".join(f"{name} {run['state']} with {run['jobs']['done']} jobs" for name, run in runs.items())
        print(f"{'':<18} {told}")
        trace_id = runs["traced"]["trace_id"]
        if kind == ALIVE:
            tell(receiver.wait_for(jobs + OTHERS, trace_id=trace_id, timeout_s=60), trace_id)
        else:
            print(f"{'':<18} {len(receiver.spans(trace_id))} spans had arrived")
        return seconds["traced"], seconds["untraced"]


def followed(
    servers: dict[str, Server], to_kill: Receiver | None, jobs: int
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Submit to each server and wait for all; returns the seconds of each and the ended runs."""
    begin = time.perf_counter()
    ids = {name: server.submit("many") for name, server in servers.items()}
    seconds: dict[str, float] = {}
    runs: dict[str, dict[str, Any]] = {}
    while len(seconds) < len(servers):
        time.sleep(_LOOK_S)
        runs = {name: server.get(f"/runs/{ids[name]}") for name, server in servers.items()}
        for name, run in runs.items():
            if run["state"] in ENDED and name not in seconds:
                seconds[name] = time.perf_counter() - begin
                print(f"{'':<18} {name} ended; done by then: {[each['jobs']['done'] for each in runs.values()]}")
        if to_kill is not None and runs["traced"]["jobs"]["done"] >= jobs // 2:
            to_kill.kill()
            to_kill = None
    return seconds, runs


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
