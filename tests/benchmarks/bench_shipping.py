"""What it costs a run by hand that its events are shipped to a server: 2,000 small jobs with and without.

    python tests/benchmarks/bench_shipping.py [--jobs N] [--rounds N]

Prints wall-clock time, and the processor time of snakemake and its jobs, which other programs disturb less. The server
is on the same machine and runs in both cases, so its work counts in the wall-clock time where there are few cores. The
runs alternate and change their order each round. The ratio of wall-clock time should not exceed `TARGET`.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.common import PROFILE, SNAKEMAKE, ratio, row, timed, write_workflow
from tests.support.server import Server

TARGET = 1.03


class Cost(NamedTuple):
    """Seconds: on the clock, of processors, and that the record was complete after the end of snakemake."""

    wall: float
    cpu: float
    lag: float


def by_hand(folder: Path, jobs: int, server: Server, *, shipped: bool) -> Cost:
    """Run the workflow to its end, and wait for its record."""
    write_workflow(folder, jobs)
    env = {"SNAKEWAY_URL": server.url if shipped else ""}
    before = _children_cpu()
    wall_s = timed([SNAKEMAKE, "--profile", PROFILE], folder, env)
    cpu_s = _children_cpu() - before
    if not shipped:
        return Cost(wall_s, cpu_s, 0.0)
    begun = time.perf_counter()
    run_id = json.loads((folder / ".snakeway" / "run.json").read_text())["run_id"]
    run = server.end_of(run_id)
    if run["state"] != "succeeded" or run["jobs"]["done"] != jobs + 2:
        raise SystemExit(f"the record is not complete: {run}")
    return Cost(wall_s, cpu_s, time.perf_counter() - begun)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of those that have ended: the server is not among them
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("SNAKEWAY_", "OTEL_"))]:
        del os.environ[name]
    costs: dict[bool, list[Cost]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data").start()
        try:
            by_hand(Path(folder) / "warm", 10, server, shipped=True)
            for number in range(asked.rounds):
                for shipped in (False, True) if number % 2 == 0 else (True, False):
                    place = Path(folder) / f"{number}-{shipped}"
                    cost = by_hand(place, asked.jobs, server, shipped=shipped)
                    costs[shipped].append(cost)
                    said = f"{cost.wall:6.2f} s wall, {cost.cpu:6.2f} s cpu"
                    print(f"{number + 1:5}  shipping {'on' if shipped else 'off':3}  {said}", flush=True)
        finally:
            server.stop()
    print(f"{asked.jobs} jobs by hand                           min   median      max")
    for name, place in (("wall", 0), ("cpu", 1)):
        without, with_ = ([cost[place] for cost in costs[shipped]] for shipped in (False, True))
        print(row(f"{name}, not shipped", without))
        print(row(f"{name}, shipped", with_))
        print(f"{name} ratio {ratio(with_, without):.3f}")
    print(row("record complete after the end of snakemake", [cost.lag for cost in costs[True]]))
    print(f"target of the wall ratio: {TARGET}")


if __name__ == "__main__":
    main()
