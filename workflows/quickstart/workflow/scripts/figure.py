"""Draw the measurements, the fitted lines and the slopes as one SVG picture."""

import argparse
import csv
import math
from xml.sax.saxutils import escape

COLOURS = ["#e06c00", "#a034f0", "#0f7f7f", "#4d5a66"]
INK = "#22303c"
GRID = "#dde3e8"
WIDTH, HEIGHT = 900, 470
# Left, top, right and bottom of the two panels.
MAIN = (75, 60, 575, 400)
SIDE = (690, 60, 870, 400)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def label(column):
    """flipper_length_mm becomes "Flipper length (mm)"."""
    *words, unit = column.split("_")
    return f"{' '.join(words).capitalize()} ({unit})"


def ticks(low, high, wanted=5):
    """Round numbers that cover the range from low to high."""
    raw = (high - low) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw)
    return [i * step for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def scale(marks, start, end):
    """A function from a value to its place between start and end."""
    low, high = marks[0], marks[-1]
    return lambda value: start + (value - low) / (high - low) * (end - start)


def text(x, y, words, anchor="middle", size=13, extra=""):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f'{extra}>{escape(words)}</text>'
    )


def line(x1, y1, x2, y2, colour, width=1.0):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )


def number(value):
    return f"{value:.6g}"


def main_panel(groups, predictor, response):
    left, top, right, bottom = MAIN
    xs = [float(row["x"]) for group in groups for row in group["rows"]]
    ys = [float(row["y"]) for group in groups for row in group["rows"]]
    x_marks, y_marks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    place_x, place_y = scale(x_marks, left, right), scale(y_marks, bottom, top)
    parts = []
    for mark in x_marks:
        parts.append(line(place_x(mark), top, place_x(mark), bottom, GRID))
        parts.append(text(place_x(mark), bottom + 20, number(mark)))
    for mark in y_marks:
        parts.append(line(left, place_y(mark), right, place_y(mark), GRID))
        parts.append(text(left - 8, place_y(mark) + 4, number(mark), "end"))
    parts.append(text((left + right) / 2, bottom + 45, label(predictor)))
    middle = (top + bottom) / 2
    turn = f' transform="rotate(-90 20 {middle:.1f})"'
    parts.append(text(20, middle, label(response), extra=turn))
    for group in groups:
        parts.append(f'<g fill="{group["colour"]}" fill-opacity="0.45">')
        for row in group["rows"]:
            x, y = place_x(float(row["x"])), place_y(float(row["y"]))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
        parts.append("</g>")
    for group in groups:
        band = [{key: float(row[key]) for key in row} for row in group["band"]]
        edge = [(p["x"], p["high"]) for p in band]
        edge += [(p["x"], p["low"]) for p in reversed(band)]
        points = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in edge)
        parts.append(
            f'<polygon points="{points}" fill="{group["colour"]}" fill-opacity="0.25"/>'
        )
        first, last = band[0], band[-1]
        parts.append(
            line(
                place_x(first["x"]),
                place_y(first["y"]),
                place_x(last["x"]),
                place_y(last["y"]),
                group["colour"],
                2.2,
            )
        )
    return parts


def side_panel(groups, predictor, response):
    left, top, right, bottom = SIDE
    ends = [float(group[key]) for group in groups for key in ("slope_low", "slope_high")]
    marks = ticks(min(ends), max(ends), 3)
    place = scale(marks, left, right)
    parts = []
    for mark in marks:
        parts.append(line(place(mark), top, place(mark), bottom, GRID))
        parts.append(text(place(mark), bottom + 20, number(mark)))
    units = f"{response.rsplit('_', 1)[1]} per {predictor.rsplit('_', 1)[1]}"
    parts.append(text((left + right) / 2, bottom + 45, f"Slope ({units})"))
    for index, group in enumerate(groups):
        y = top + (index + 0.5) * (bottom - top) / len(groups)
        low, high = float(group["slope_low"]), float(group["slope_high"])
        slope = float(group["slope"])
        colour = group["colour"]
        parts.append(text(left - 12, y + 4, group["species"], "end"))
        parts.append(line(place(low), y, place(high), y, colour, 3))
        for end in (low, high):
            parts.append(line(place(end), y - 6, place(end), y + 6, colour, 2))
        parts.append(f'<circle cx="{place(slope):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(text(place(slope), y - 14, f"{slope:.3g}"))
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", required=True, help="CSV file with one row a species")
    parser.add_argument("--rows", required=True, nargs="+", help="measurements")
    parser.add_argument("--bands", required=True, nargs="+", help="bands of the lines")
    parser.add_argument("--predictor", required=True, help="column that is x")
    parser.add_argument("--response", required=True, help="column that is y")
    parser.add_argument("--confidence", required=True, type=float, help="coverage")
    parser.add_argument("--figure", required=True, help="SVG file to write")
    args = parser.parse_args()

    groups = read(args.table)
    for index, (group, rows, band) in enumerate(zip(groups, args.rows, args.bands)):
        group["rows"], group["band"] = read(rows), read(band)
        group["colour"] = COLOURS[index % len(COLOURS)]

    share = f"{100 * args.confidence:.6g} % bootstrap intervals"
    heading = f"{label(args.response)} on {label(args.predictor).lower()}, with {share}"
    summary = "; ".join(
        f"{group['species']}: slope {group['slope']}"
        f" ({group['slope_low']} to {group['slope_high']})"
        for group in groups
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
        f"<title>{escape(heading)}</title>",
        f"<desc>{escape(summary)}</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(MAIN[0], 32, heading, "start", 16),
        *main_panel(groups, args.predictor, args.response),
        *side_panel(groups, args.predictor, args.response),
        "</svg>",
    ]
    with open(args.figure, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")
    print(f"{len(groups)} species, {sum(len(group['rows']) for group in groups)} points")


if __name__ == "__main__":
    main()
