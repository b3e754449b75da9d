"""Fit a straight line to the rows of one species by least squares."""

import argparse
import csv


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--species", required=True, help="name to put into the result")
    parser.add_argument("--rows", required=True, help="CSV file with the columns x and y")
    parser.add_argument("--fit", required=True, help="CSV file to write")
    args = parser.parse_args()

    with open(args.rows, newline="", encoding="utf-8") as file:
        rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]

    n = len(rows)
    mean_x = sum(x for x, _ in rows) / n
    mean_y = sum(y for _, y in rows) / n
    sxx = sum((x - mean_x) ** 2 for x, _ in rows)
    syy = sum((y - mean_y) ** 2 for _, y in rows)
    sxy = sum((x - mean_x) * (y - mean_y) for x, y in rows)
    if sxx == 0 or syy == 0:
        raise SystemExit(f"{args.species}: one of the columns is constant.")
    slope = sxy / sxx
    intercept = mean_y - slope * mean_x
    r_squared = sxy**2 / (sxx * syy)

    with open(args.fit, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["species", "n", "slope", "intercept", "r_squared"])
        writer.writerow(
            [args.species, n, f"{slope:.6f}", f"{intercept:.6f}", f"{r_squared:.6f}"]
        )
    print(f"{args.species}: slope {slope:.3f}, r squared {r_squared:.3f}, n {n}")


if __name__ == "__main__":
    main()
