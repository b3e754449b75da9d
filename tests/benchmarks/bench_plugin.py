"""What the logger plugin costs a run: many tiny jobs, with events and spans, against no plugin at all.

    python tests/benchmarks/bench_plugin.py [--jobs N] [--rounds N]

Prints wall-clock and CPU time of snakemake and of its jobs, and the ratio of the medians. The runs alternate and change
their order each round, because a machine that does other things drifts. Wall-clock time should not exceed `TARGET`.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.otlp import Receiver, otlp_receiver
from tests.support.processes import log_tail

TARGET = 1.03
SNAKEFILE = """
rule all:
    input: expand("out/{i}.txt", i=range(JOBS))
rule touch:
    output: "out/{i}.txt"
    shell: "touch {output}"
"""
# A small subset of the ready jobs is looked at each time; otherwise scheduling is most of the time.
OPTIONS = ["-c2", "--scheduler", "greedy", "--scheduler-subsample", "50"]


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def run(jobs: int, receiver: Receiver | None) -> Cost:
    """Run the workflow in a new folder, with the plugin if there is a receiver for its spans."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SNAKEWAY_"))}
    argv = [sys.executable, "-m", "snakemake", *OPTIONS]
    if receiver is not None:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        argv += ["--logger", "snakeway"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        Path(folder, "Snakefile").write_text(SNAKEFILE.replace("JOBS", str(jobs)))
        before, begun = _children_cpu(), time.perf_counter()
        if subprocess.run(argv, cwd=folder, env=environment, stdout=log, stderr=log, check=False).returncode != 0:
            raise SystemExit(f"snakemake failed:\n{log_tail(Path(folder) / 'log')}")
        return Cost(time.perf_counter() - begun, _children_cpu() - before)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    costs: dict[bool, list[Cost]] = {False: [], True: []}
    print("round  plugin  wall s   cpu s")
    for number in range(asked.rounds):
        for plugin in (False, True) if number % 2 == 0 else (True, False):
            with tempfile.TemporaryDirectory() as folder, otlp_receiver(Path(folder)) as receiver:
                cost = run(asked.jobs, receiver if plugin else None)
                if plugin:  # every job, the rule all, attempt and run
                    receiver.wait_for(asked.jobs + 3)
            costs[plugin].append(cost)
            print(f"{number + 1:5}  {'on' if plugin else 'off':6}  {cost.wall:6.2f}  {cost.cpu:6.2f}", flush=True)
    for name, place in (("wall", 0), ("cpu", 1)):
        without, with_plugin = (statistics.median(cost[place] for cost in costs[plugin]) for plugin in (False, True))
        print(f"{name}: median {without:.2f} s without, {with_plugin:.2f} s with, ratio {with_plugin / without:.3f}")
    print(f"target for wall: {TARGET}")


if __name__ == "__main__":
    main()
