"""What the logger plugin costs a run: many tiny jobs, with events and spans, against no plugin at all.

    python -m tests.benchmarks.bench_plugin [--jobs N] [--rounds N]

In each round each runs alone, in changing order, and then both at the same time. Alone is how most runs are, but a
machine that does other things drifts by more than what is looked for. At the same time drift is common to both, and on
two processors also what the plugin does beside snakemake's main thread holds its run up. But the run that ends first
leaves the processors to the other, so that ratio is smaller than that of the work. It is to be read beside the control:
at the same time, `CONTROL` times as many jobs without the plugin / the jobs without the plugin.

The collector works beside the runs, and only for those with the plugin. Prints wall-clock and CPU time of snakemake and
of its jobs, and the medians of the ratios. Alone, wall-clock time should not exceed `TARGET`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.common import ratio
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.processes import log_tail

TARGET = 1.03
CONTROL = 1.03
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


class Kind(NamedTuple):
    """What is run."""

    jobs: int
    plugin: bool = False


def run(*kinds: Kind) -> list[Cost]:
    """Run workflows at the same time, each in a new folder; returns what each cost."""
    with tempfile.TemporaryDirectory() as folder, otlp_receiver(Path(folder) / "receiver") as receiver:
        costs: dict[int, Cost] = {}

        def one(number: int) -> None:
            costs[number] = _run(Path(folder) / str(number), kinds[number], receiver)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(kinds))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(costs) < len(kinds):
            raise SystemExit("snakemake failed, see above")
        spans = sum(kind.jobs + 3 for kind in kinds if kind.plugin)  # every job, the rule all, attempt and run
        receiver.wait_for(spans)
        return [costs[number] for number in range(len(kinds))]


def _run(folder: Path, kind: Kind, receiver: Receiver) -> Cost:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SNAKEWAY_"))}
    argv = [sys.executable, "-m", "snakemake", *OPTIONS]
    if kind.plugin:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        argv += ["--logger", "snakeway"]
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE.replace("JOBS", str(kind.jobs)))
    with (folder / "log").open("wb") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)  # with what its jobs have used
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"snakemake failed:\n{log_tail(folder / 'log')}")
        return Cost(time.perf_counter() - begun, used.ru_utime + used.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    without, plugin, more = Kind(asked.jobs), Kind(asked.jobs, plugin=True), Kind(round(asked.jobs * CONTROL))
    pairs: dict[str, list[tuple[Cost, Cost]]] = {}
    print(f"{'round':<6} {'':<28} wall s, first / second   cpu s, first / second")
    for number in range(asked.rounds):
        turn = -1 if number % 2 else 1  # -1: in reverse order
        for name, kind, together in (
            ("plugin / without, alone", plugin, False),
            ("plugin / without, at once", plugin, True),
            (f"{CONTROL} * jobs / jobs, at once", more, True),
        ):
            order = (kind, without)[::turn]
            over, under = (run(*order) if together else [cost for each in order for cost in run(each)])[::turn]
            pairs.setdefault(name, []).append((over, under))
            times = f"{over.wall:10.2f} / {under.wall:<10.2f} {over.cpu:10.2f} / {under.cpu:<10.2f}"
            print(f"{number + 1:<6} {name:<28} {times}", flush=True)
    for name, costs in pairs.items():
        for what in ("wall", "cpu"):
            print(f"{name}, {what}: {ratio(*([getattr(cost[place], what) for cost in costs] for place in (0, 1))):.3f}")
    print(f"target for wall, alone: {TARGET}")


if __name__ == "__main__":
    main()
