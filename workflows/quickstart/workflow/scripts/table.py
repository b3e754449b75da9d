"""Put the intervals of all species into one table."""

import argparse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--intervals", required=True, nargs="+", help="one CSV each")
    parser.add_argument("--table", required=True, help="CSV file to write")
    args = parser.parse_args()

    header = None
    rows = []
    for path in args.intervals:
        with open(path, encoding="utf-8") as file:
            first, *rest = file.read().splitlines()
        if header not in (None, first):
            raise SystemExit(f"{path}: its columns differ from those of the other files.")
        header = first
        rows += rest

    with open(args.table, "w", encoding="utf-8") as file:
        file.write("\n".join([header, *rows]) + "\n")
    print(f"{len(rows)} species")


if __name__ == "__main__":
    main()
