"""What is printed: tables, lines, JSON, times."""

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from snakeway.cli import output, times
from snakeway.cli.output import Column

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine

ITEMS: list[dict[str, Any]] = [
    {"name": "one", "state": "failed", "size": 1024, "note": "[bold]x[/bold]", "empty": ""},
    {"name": "two\x1b[2J", "state": "running", "size": 5, "note": "a\tb\nc", "empty": None},
]
COLUMNS: list[Column[dict[str, Any]]] = [
    Column("NAME", lambda item: item["name"]),
    Column("STATE", lambda item: item["state"], state=True),
    Column("SIZE", lambda item: item["size"], lambda item: times.size(item["size"]), right=True),
    Column("EMPTY", lambda item: item["empty"]),
    Column("NOTE", lambda item: item["note"]),
]


def drawn(width: int, **options: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, markup=False, highlight=False, **options)
    console.print(output.rich_table(COLUMNS, ITEMS))
    return out.getvalue()


def test_a_table() -> None:
    lines = [line.rstrip() for line in drawn(60, color_system=None).splitlines()]
    assert lines == [
        "NAME     STATE       SIZE  NOTE",
        "one      failed   1.0 KiB  [bold]x[/bold]",
        "two [2J  running      5 B  a b c",
    ]


def test_states_have_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mfailed" in drawn(60, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in drawn(60, color_system="standard")


@pytest.mark.parametrize("width", [20, 30, 40])
def test_a_narrow_window_wraps_and_loses_nothing(width: int) -> None:
    lines = drawn(width, color_system=None).splitlines()
    assert max(map(len, lines)) <= width
    assert "failed" in "".join(lines)


def test_elsewhere_a_line_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(COLUMNS, iter(ITEMS), empty="nothing")
    assert capsys.readouterr() == (
        "one\tfailed\t1024\t\t[bold]x[/bold]\ntwo [2J\trunning\t5\t\ta b c\n",
        "",
    )


def test_nothing_is_said_to_people_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output.table(COLUMNS, [], empty="nothing")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(output, "is_terminal", lambda **_: True)
    output.table(COLUMNS, [], empty="nothing")
    assert capsys.readouterr() == ("", "nothing\n")


def test_facts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [("state", "failed"), ("none", None), ("config", {"a": [1]}), ("flag", True)]
    output.facts(pairs)
    assert capsys.readouterr().out == 'state\tfailed\nnone\t\nconfig\t{"a":[1]}\nflag\tyes\n'
    monkeypatch.setattr(output, "is_terminal", lambda **_: True)
    output.facts(pairs)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["state", "failed"],
        ["config", '{"a":[1]}'],
        ["flag", "yes"],
    ]


@unhurried
@given(st.text() | st.dictionaries(st.text(), st.text()) | st.lists(st.text()))
def test_a_field_is_one_field_of_one_line(value: Any) -> None:
    text = output.clean(value)
    assert text.splitlines() in ([], [text]) or not set(text) & set("\n\r\t")
    assert not set(text) & {chr(code) for code in (*range(32), *range(127, 160))}


@unhurried
@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_json_and_steers_no_terminal(value: Any) -> None:
    text = output.as_json(value)
    assert json.loads(text) == value
    assert not set(text) & {chr(code) for code in (*range(32), *range(127, 160))}


def test_a_dumb_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setenv("TERM", "xterm")
    assert output.is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not output.is_terminal()


def test_closed_streams_are_no_terminals_and_swallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert not output.is_terminal()
    output.write("x")
    output.write_bytes(b"x")


@pytest.mark.parametrize("write", [lambda: output.write("x\n"), lambda: output.write_bytes(b"x\n")])
def test_a_reader_that_has_gone_ends_the_command(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with pytest.raises(typer.Exit) as caught:
            write()
        assert caught.value.exit_code == 141
        stream.write("more")  # goes nowhere


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 01 h"),
        (10**8, "1157 d 09 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert times.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**50, "1.0 PiB"),
        (2**70, "1048576.0 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert times.size(count) == text


def test_times() -> None:
    now = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
    assert times.ago("2026-01-02T03:04:05Z", now) == "1 min 00 s ago"
    assert times.span("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:15.5Z") == "10 s"
    assert times.span("2026-01-02T03:04:05Z", None, now) == "1 min 00 s"
    assert times.span(None, None) == times.ago(None) == times.local(None) == times.local("nonsense") == ""
    assert times.parse("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_console_knows_the_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert output.console().width == 57
