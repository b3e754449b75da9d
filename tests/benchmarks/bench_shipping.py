"""What it costs a run by hand that its events are shipped to a server: 2,000 small jobs with and without.

    python tests/benchmarks/bench_shipping.py [--jobs N] [--rounds N]

The server is on the same machine and runs in both cases, so its work counts as well where there are few cores. The runs
alternate and change their order each round, because a machine that does other things drifts. The ratio of wall-clock
time should not exceed `TARGET`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.common import PROFILE, SNAKEMAKE, ratio, row, timed, write_workflow
from tests.support.server import Server

TARGET = 1.03


def by_hand(folder: Path, jobs: int, server: Server, *, shipped: bool) -> tuple[float, float]:
    """Run the workflow; returns its wall seconds, and those that the record was behind its end."""
    write_workflow(folder, jobs)
    env = {"SNAKEWAY_URL": server.url if shipped else ""}
    wall_s = timed([SNAKEMAKE, "--profile", PROFILE], folder, env)
    if not shipped:
        return wall_s, 0.0
    begun = time.perf_counter()
    run_id = json.loads((folder / ".snakeway" / "run.json").read_text())["run_id"]
    run = server.end_of(run_id)
    if run["state"] != "succeeded" or run["jobs"]["done"] != jobs + 2:
        raise SystemExit(f"the record is not complete: {run}")
    return wall_s, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("SNAKEWAY_", "OTEL_"))]:
        del os.environ[name]
    walls: dict[bool, list[float]] = {False: [], True: []}
    lags: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data").start()
        try:
            by_hand(Path(folder) / "warm", 10, server, shipped=True)
            for number in range(asked.rounds):
                for shipped in (False, True) if number % 2 == 0 else (True, False):
                    place = Path(folder) / f"{number}-{shipped}"
                    wall_s, lag_s = by_hand(place, asked.jobs, server, shipped=shipped)
                    walls[shipped].append(wall_s)
                    lags += [lag_s] if shipped else []
                    print(f"{number + 1:5}  shipping {'on' if shipped else 'off':3}  {wall_s:6.2f} s", flush=True)
        finally:
            server.stop()
    print(f"{asked.jobs} jobs by hand                           min   median      max")
    print(row("wall, not shipped", walls[False]))
    print(row("wall, shipped", walls[True]))
    print(row("record complete after the end of snakemake", lags))
    print(f"ratio {ratio(walls[True], walls[False]):.3f}, target {TARGET}")


if __name__ == "__main__":
    main()
