"""What the plugin learns from the host about a job that failed."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakemake_logger_plugin_snakeway.host import OomKiller, StandardError


@pytest.fixture
def vmstat(tmp_path: Path) -> Path:
    """A file like the kernel's."""
    return tmp_path / "vmstat"


def test_each_kill_is_claimed_once(vmstat: Path) -> None:
    vmstat.write_text("pgfault 5\noom_kill 7\n")
    killer = OomKiller(vmstat)
    assert killer.claim() is False
    vmstat.write_text("pgfault 6\noom_kill 9\n")
    assert [killer.claim() for _ in range(3)] == [True, True, False]
    vmstat.write_text("oom_kill 10\n")
    assert killer.claim() is True


@pytest.mark.parametrize("text", ["pgfault 5\n", "oom_kill many\n", None])
def test_a_kernel_that_does_not_tell_leaves_it_open(vmstat: Path, text: str | None) -> None:
    if text is not None:
        vmstat.write_text(text)
    assert OomKiller(vmstat).claim() is None


@pytest.fixture
def stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A file in the place of standard error; the value is its descriptor."""
    with (tmp_path / "stderr").open("w") as file:
        monkeypatch.setattr(sys, "__stderr__", file)
        yield file.fileno()


RECORD = logging.LogRecord("snakemake", logging.INFO, "", 0, "said", None, None)


def test_what_was_written_since_snakemake_said_something_is_the_jobs(stderr: int) -> None:
    os.write(stderr, b"snakemake\n")
    known = StandardError()
    assert known.tail() == ""
    os.write(stderr, b"job\nfailed\n")
    assert known.tail() == "job\nfailed"
    os.write(stderr, b"rule a:\n")
    known.emit(RECORD)
    os.write(stderr, b"".join(b"%d\n" % number for number in range(99)))
    assert known.tail().splitlines() == [str(number) for number in range(49, 99)]


def test_words_that_another_thread_is_saying_are_not_the_jobs(stderr: int) -> None:
    known = StandardError()
    known.attached = True
    speaker = threading.Thread(target=known.begin)
    speaker.start()
    speaker.join()
    os.write(stderr, b"rule a:\n")
    assert known.tail() == ""


def test_a_terminal_or_nothing_in_its_place_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    known = StandardError()
    known.emit(RECORD)
    assert known.tail() == ""
