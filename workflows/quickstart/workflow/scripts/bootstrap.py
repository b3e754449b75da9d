"""Fit a line to each of many resamples of the rows of one species.

The random numbers depend only on the seed, the species and the batch, so the same
job always writes the same bytes.

The job may map --mem-mb MB more than it has mapped when it starts. With
--ballast-mb it allocates and fills that much memory first. If that is more than
it was given, it ends with a MemoryError, as a job does that is too large for its
machine.
"""

import argparse
import csv
import random
import sys

MB = 1024 * 1024
# Room for what the interpreter itself needs, so that a job that needs N MB runs
# when it is given N MB.
OWN_MB = 16


def limit_memory(mem_mb):
    """Limit the address space of this process to what it has now plus mem_mb."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = mapped + (mem_mb + OWN_MB) * MB
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError) as error:
        print(f"The memory limit is not enforced on this system: {error}")


def resample(rows, seed, resamples):
    """Slope and intercept of one least-squares line for each resample."""
    numbers = random.Random(seed)
    n = len(rows)
    lines = []
    while len(lines) < resamples:
        drawn = numbers.choices(rows, k=n)
        mean_x = sum([x for x, _ in drawn]) / n
        mean_y = sum([y for _, y in drawn]) / n
        sxx = sum([(x - mean_x) ** 2 for x, _ in drawn])
        if sxx == 0:
            continue  # all draws have the same x: no line, draw again
        slope = sum([(x - mean_x) * (y - mean_y) for x, y in drawn]) / sxx
        lines.append((slope, mean_y - slope * mean_x))
    return lines


def run(args):
    ballast = b"\1" * (args.ballast_mb * MB)
    with open(args.rows, newline="", encoding="utf-8") as file:
        rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
    lines = resample(rows, f"{args.seed}:{args.species}:{args.batch}", args.resamples)
    with open(args.lines, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["slope", "intercept"])
        writer.writerows((f"{slope:.6f}", f"{intercept:.6f}") for slope, intercept in lines)
    print(f"{args.species}, batch {args.batch}: {len(lines)} resamples of {len(rows)} rows")
    if ballast:
        print(f"Allocated {args.ballast_mb} MB for the memory demonstration")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", required=True, help="CSV file with the columns x and y")
    parser.add_argument("--species", required=True, help="species, part of the seed")
    parser.add_argument("--batch", required=True, type=int, help="batch, part of the seed")
    parser.add_argument("--seed", required=True, type=int, help="seed of all batches")
    parser.add_argument("--resamples", required=True, type=int, help="number of lines")
    parser.add_argument("--mem-mb", required=True, type=int, help="memory limit in MB")
    parser.add_argument("--ballast-mb", type=int, default=0, help="MB to allocate")
    parser.add_argument("--lines", required=True, help="CSV file to write")
    args = parser.parse_args()

    limit_memory(args.mem_mb)
    try:
        run(args)
    except MemoryError:
        needed = f"needed {args.ballast_mb} MB" if args.ballast_mb else "needed more"
        sys.exit(f"MemoryError: {needed}, was given {args.mem_mb} MB; raise mem_mb")


if __name__ == "__main__":
    main()
