"""2,000 small jobs with profiles/local against Snakemake's defaults."""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.common import PROFILE, SNAKEMAKE, ratio, row, timed, write_workflow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds):
            for kind, times in (("profile", ours), ("defaults", theirs)):
                folder = Path(name) / f"{kind}-{number}"
                write_workflow(folder, options.jobs)
                arguments = ["--profile", PROFILE] if kind == "profile" else ["--cores", "all"]
                times.append(timed([SNAKEMAKE, *arguments], folder))
    print(f"{options.jobs} jobs{'':<33} {'min':>8} {'median':>8} {'max':>8}")
    print(row("profiles/local", ours))
    print(row("Snakemake's defaults", theirs))
    print(f"ratio {ratio(ours, theirs):.2f}")


if __name__ == "__main__":
    main()
