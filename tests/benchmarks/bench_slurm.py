"""200 jobs of one second on a real Slurm cluster of four nodes: profiles/slurm against the Slurm plugin's defaults.

Says also which share of the time was neither the scheduler's nor the jobs': in which Slurm had no job of the run.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snakeway.targets.slurm import tables
from tests.benchmarks.common import SNAKEMAKE, ratio, row, timed
from tests.support.slurm import Cluster, slurm_cluster

CONFIGURATION = Path("/etc/slurm/slurm.conf")
PROFILE = Path(__file__).parent.parent.parent / "profiles" / "slurm"
WORKFLOW = """
rule all:
    input: expand("steps/{{i}}.txt", i=range({jobs}))

rule step:
    output: "steps/{{i}}.txt"
    shell: "sleep {seconds} && touch {{output}}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["profile", "defaults"])
    parser.add_argument("more", nargs="*", help="options for snakemake, in both cases")
    options = parser.parse_args()
    kinds = {
        "profile": ["--profile", str(PROFILE)],
        "defaults": ["--executor", "slurm", "--jobs", str(options.jobs)],
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds if options.only in (None, kind)}
    with (
        tempfile.TemporaryDirectory() as name,
        slurm_cluster(Path(name) / "cluster") as cluster,
        usual_place(Path(cluster.env["SLURM_CONF"])),
    ):
        for number in range(options.rounds):
            for kind in times:
                folder = Path(name) / f"{kind}-{number}"
                folder.mkdir()
                (folder / "Snakefile").write_text(WORKFLOW.format(jobs=options.jobs, seconds=options.seconds))
                wall_s = run(cluster, folder, [*kinds[kind], *options.more])
                times[kind].append(wall_s)
                busy_s, calls = busy(cluster, folder)
                print(
                    f"{kind}: {wall_s:.1f} s; Slurm had jobs for {busy_s:.1f} s, {1 - busy_s / wall_s:.0%} is neither's"
                )
                print(f"    calls: {calls}", flush=True)
    print(f"{options.jobs} jobs of {options.seconds} s{'':<26} {'min':>8} {'median':>8} {'max':>8}")
    for kind, found in times.items():
        print(row(kind, found))
    if len(times) > 1:
        print(f"ratio {ratio(times['profile'], times['defaults']):.2f}")


@contextmanager
def usual_place(configuration: Path) -> Iterator[None]:
    """Have the configuration where Slurm looks for it: the plugin's defaults take SLURM_CONF away from jobs."""
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.symlink_to(configuration)
    try:
        yield
    finally:
        CONFIGURATION.unlink()


def run(cluster: Cluster, folder: Path, arguments: Sequence[str]) -> float:
    """Return the wall seconds of a run whose calls of Slurm's commands are counted."""
    counters = folder / "bin"
    counters.mkdir()
    for command in ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        script = counters / command
        script.write_text(f'#!/bin/sh\necho {command} >> "{folder}/calls"\nexec /usr/bin/{command} "$@"\n')
        script.chmod(0o755)
    env = {**cluster.env, "PATH": f"{counters}{os.pathsep}{cluster.env['PATH']}", "HOME": str(Path.home())}
    return timed([SNAKEMAKE, *arguments], folder, env)


def busy(cluster: Cluster, folder: Path) -> tuple[float, str]:
    """Return how long Slurm had at least one job from ``folder``, and how often which command was called."""
    cluster.env["SLURM_TIME_FORMAT"] = "%s"
    wanted = cluster.run("sacct", "-n", "-X", "-P", "--format=JobID,WorkDir")
    ids = {line.split("|")[0] for line in wanted.splitlines() if line.endswith(f"|{folder}")}
    booked = tables.books(
        cluster.run("sacct", "-n", "-P", f"--format={tables.BOOKS_FORMAT}", f"--jobs={','.join(ids)}")
    )
    total, end = 0.0, 0.0
    for queued, ended in sorted((job.queued_at or 0, job.ended_at or 0) for job in booked.values()):
        total += max(0.0, ended - max(queued, end))
        end = max(end, ended)
    called = (folder / "calls").read_text().split()
    return total, ", ".join(f"{called.count(name)} {name}" for name in sorted(set(called)))


if __name__ == "__main__":
    main()
