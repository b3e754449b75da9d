"""Keep the rows of one species in which both columns are measured.

Writes a CSV file with the columns x (the predictor) and y (the response), in the
order of the data file.
"""

import argparse
import csv


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="CSV file with the measurements")
    parser.add_argument("--species", required=True, help="species to keep")
    parser.add_argument("--predictor", required=True, help="column that becomes x")
    parser.add_argument("--response", required=True, help="column that becomes y")
    parser.add_argument("--rows", required=True, help="CSV file to write")
    args = parser.parse_args()

    kept = []
    seen = 0
    with open(args.data, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["species"] != args.species:
                continue
            seen += 1
            x, y = row[args.predictor], row[args.response]
            if "NA" not in (x, y):
                kept.append((x, y))
    if len(kept) < 3:
        raise SystemExit(
            f"{args.species}: {len(kept)} usable rows of {seen}; a line needs three."
        )

    with open(args.rows, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["x", "y"])
        writer.writerows(kept)
    print(f"{args.species}: kept {len(kept)} of {seen} rows")


if __name__ == "__main__":
    main()
