"""Gather the resampled lines of one species into percentile intervals.

Writes one row with the fitted line and its intervals, and the band of the line:
the interval of the fitted response at evenly spaced values of the predictor.
"""

import argparse
import csv
import math

STEPS = 40


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def percentile(ordered, share):
    """Value below which this share of the ordered values lies, interpolated."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def interval(values, confidence):
    ordered = sorted(values)
    tail = (1 - confidence) / 2
    return percentile(ordered, tail), percentile(ordered, 1 - tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", required=True, help="CSV file with the columns x and y")
    parser.add_argument("--fit", required=True, help="CSV file with the fitted line")
    parser.add_argument("--lines", required=True, nargs="+", help="resampled lines")
    parser.add_argument("--confidence", required=True, type=float, help="coverage")
    parser.add_argument("--intervals", required=True, help="CSV file to write")
    parser.add_argument("--band", required=True, help="CSV file to write")
    args = parser.parse_args()

    xs = [float(row["x"]) for row in read(args.rows)]
    (fit,) = read(args.fit)
    slope, intercept = float(fit["slope"]), float(fit["intercept"])
    lines = [
        (float(row["slope"]), float(row["intercept"]))
        for path in args.lines
        for row in read(path)
    ]

    slopes = interval([a for a, _ in lines], args.confidence)
    intercepts = interval([b for _, b in lines], args.confidence)
    with open(args.intervals, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["species", "n", "resamples", "slope", "slope_low", "slope_high"]
            + ["intercept", "intercept_low", "intercept_high", "r_squared"]
        )
        writer.writerow(
            [fit["species"], fit["n"], len(lines)]
            + [f"{value:.3f}" for value in (slope, *slopes, intercept, *intercepts)]
            + [f"{float(fit['r_squared']):.3f}"]
        )

    first, last = min(xs), max(xs)
    with open(args.band, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["x", "y", "low", "high"])
        for step in range(STEPS + 1):
            x = first + (last - first) * step / STEPS
            low, high = interval([a * x + b for a, b in lines], args.confidence)
            writer.writerow(
                f"{value:.3f}" for value in (x, slope * x + intercept, low, high)
            )
    print(f"{fit['species']}: intervals from {len(lines)} resampled lines")


if __name__ == "__main__":
    main()
