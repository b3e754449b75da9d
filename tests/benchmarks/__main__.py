"""Run the benchmarks that are named, or all of them."""

import runpy
import sys
from pathlib import Path

NAMES = ("start", "profile", "plugin", "api", "intake", "memory", "spans", "shipping", "uploads")
BY_NAME_ONLY = ("slurm", "aws_batch")  # need root and Debian's packages of Slurm and of containers


def main() -> None:
    """Run each benchmark module as a program of its own would run."""
    names = sys.argv[1:] or list(NAMES)
    unknown = set(names) - {*NAMES, *BY_NAME_ONLY}
    if unknown:
        sys.exit(f"no benchmark called {', '.join(sorted(unknown))}; there are {', '.join((*NAMES, *BY_NAME_ONLY))}")
    for name in names:
        print(f"\n== {name}", flush=True)
        sys.argv = [name]
        runpy.run_path(str(Path(__file__).parent / f"bench_{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
