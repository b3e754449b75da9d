"""What a command prints: tables for people, tab-separated lines for programs, JSON for both.

On a terminal a list is a table as wide as the window. Elsewhere it is one line per item, columns separated by tabs,
without a heading, colours or cuts, so that ``cut`` and ``while read`` can be relied on. rich is imported for terminals
only.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

T = TypeVar("T")

CLOSED_PIPE = 141  # 128 + SIGPIPE: how every Unix program ends whose reader has gone

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_C1 = re.compile(r"[\x7f-\x9f]")
_STYLES = {
    "queued": "cyan",
    "submitted": "cyan",
    "starting": "cyan",
    "running": "blue",
    "paused": "yellow",
    "succeeded": "green",
    "delivered": "green",
    "pending": "cyan",
    "ok": "green",
    "failed": "red",
    "fail": "red",
    "lost": "red",
    "cancelled": "yellow",
    "warn": "yellow",
}


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column: its heading, what a program is given, and what a person is shown if that differs."""

    title: str
    value: Callable[[T], Any]
    shown: Callable[[T], str] | None = None
    right: bool = False
    state: bool = False  # coloured by what it says
    whole: bool = False  # never cut or wrapped


def clean(value: Any) -> str:
    """Return a value as text for one field of a line. It came over the network, so nothing in it steers a terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return printable(str(value)).strip()


def printable(text: str) -> str:
    """Return text in which nothing steers a terminal, or turns the order of what stands beside it around."""
    return _UNPRINTABLE.sub(" ", text)


def is_terminal(*, stderr: bool = False) -> bool:
    """Whether a person looks at the output, on something that can move its cursor."""
    stream = sys.stderr if stderr else sys.stdout
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def write(text: str, *, stderr: bool = False) -> None:
    """Write text as it is. A reader that has gone ends the command without a word."""
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:  # closed by the caller
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError as error:
        close_quietly(stream)
        raise typer.Exit(CLOSED_PIPE) from error


def write_bytes(data: bytes) -> None:
    """Write a log as it is."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        close_quietly(sys.stdout)
        raise typer.Exit(CLOSED_PIPE) from error


def close_quietly(stream: TextIO) -> None:
    """Send what is still to be written to nowhere, so that the interpreter's own flush at the end does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def line(*fields: Any, stderr: bool = False) -> None:
    """Write one line of fields."""
    write("\t".join(map(clean, fields)) + "\n", stderr=stderr)


def hint(text: str) -> None:
    """Say something that is not the result: it goes to stderr."""
    write(f"{text}\n", stderr=True)


def document(value: Any) -> None:
    """Write one JSON document."""
    write(as_json(value, indent=2) + "\n")


def json_line(value: Any) -> None:
    """Write one JSON document on one line."""
    write(as_json(value) + "\n")


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON that is readable and yet holds no character that steers a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(columns: Sequence[Column[T]], items: Iterable[T], *, empty: str) -> None:
    """Show a list; ``empty`` is what a person is told when there is nothing in it."""
    if not is_terminal():
        for item in items:
            line(*(column.value(item) for column in columns))
        return
    found = list(items)
    if not found:
        hint(empty)
        return
    console().print(rich_table(columns, found))


def rich_table(columns: Sequence[Column[T]], items: Sequence[T]) -> "Table":
    """Return a list as rich's table: fields are plain text there, never markup, and empty columns are left out."""
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    fields = []
    for column in columns:
        texts = [clean(column.shown(item) if column.shown else column.value(item)) for item in items]
        if not any(texts):
            continue
        result.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.whole or column.state or column.right,
            overflow="fold",
        )
        fields.append([Text(text, style=state_style(text) if column.state else "") for text in texts])
    for row in zip(*fields, strict=True):
        result.add_row(*row)
    return result


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Show one thing: a name and a value per line; empty values are left out for people."""
    found = [(name, clean(value)) for name, value in pairs]
    if not is_terminal():
        for name, text in found:
            line(name, text)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in found:
        if text:
            grid.add_row(name, Text(text, style=state_style(text)))
    console().print(grid)


def state_style(text: str) -> str:
    """Return the colour of a state; none for any other text."""
    return _STYLES.get(text.partition(" ")[0], "")


def console(*, stderr: bool = False) -> "Console":
    """Return rich's console: it knows the window's width, NO_COLOR and what the terminal can do."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def stdin_is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()
