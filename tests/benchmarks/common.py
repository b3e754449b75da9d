"""What several benchmarks need."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
PROFILE = Path(__file__).parent.parent.parent / "profiles" / "local"

MANY_JOBS = """
rule all:
    input: "done.txt"

rule step:
    output: "steps/{{i}}.txt"
    shell: "touch {{output}}"

rule gather:
    input: expand("steps/{{i}}.txt", i=range({jobs}))
    output: "done.txt"
    shell: "touch {{output}}"
"""


def write_workflow(folder: Path, jobs: int) -> None:
    """Write a workflow of ``jobs`` jobs that do next to nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(MANY_JOBS.format(jobs=jobs))


def timed(argv: Iterable[str | Path], cwd: Path, env: dict[str, str] | None = None) -> float:
    """Return the wall seconds of a command that must succeed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([*map(str, argv)], cwd=cwd, env={**clean, **(env or {})}, check=True, capture_output=True)
    return time.perf_counter() - start


def row(name: str, values: list[float], unit: str = "s") -> str:
    """Return a line with minimum, median and maximum."""
    return f"{name:<42} {min(values):8.3f} {statistics.median(values):8.3f} {max(values):8.3f} {unit}"


def ratio(over: list[float], under: list[float]) -> float:
    """Return the median of the ratios, pair by pair, so that a drifting machine does not count."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))
