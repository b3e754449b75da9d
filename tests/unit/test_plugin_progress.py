"""Which of Snakemake's many PROGRESS records are written."""

import logging
from pathlib import Path

import pytest

from snakemake_logger_plugin_snakeway.progress import PROGRESS_EVERY_S, Progress
from snakeway.wire import EventWriter, read_events

Told = tuple[float, int, int]  # when, done, total


class Written:
    """What was written after `Progress` was told something."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.progress = Progress(EventWriter(file, pytest.fail))

    def after(self, *told: Told) -> list[Told]:
        """Tell and return what is written by then."""
        for t, done, total in told:
            record = logging.makeLogRecord({"created": t, "done": done, "total": total})
            if self.progress.due(record):
                self.progress.take(record)
        events, _ = read_events(self._file, 0, 1 << 20)
        return [(event["t"], event["done"], event["total"]) for event in events]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "events.ndjson")


def test_the_first_is_written_and_then_one_each_second(written: Written) -> None:
    soon, late = 100 + PROGRESS_EVERY_S / 2, 100 + PROGRESS_EVERY_S
    assert written.after((100, 1, 9), (soon, 2, 9), (late, 3, 9), (late + 0.1, 4, 9)) == [(100, 1, 9), (late, 3, 9)]


def test_the_last_is_written_at_once(written: Written) -> None:
    assert written.after((100, 1, 3), (100.1, 2, 3), (100.2, 3, 3)) == [(100, 1, 3), (100.2, 3, 3)]


def test_a_total_that_grows_is_written_at_once(written: Written) -> None:
    assert written.after((100, 1, 5), (100.1, 2, 8), (100.2, 3, 8)) == [(100, 1, 5), (100.1, 2, 8)]


def test_the_end_writes_what_was_passed_over_once(written: Written) -> None:
    written.after((100, 1, 9), (100.1, 2, 9))
    written.progress.end(101)
    written.progress.end(102)
    assert written.after() == [(100, 1, 9), (101, 2, 9)]


def test_the_end_writes_nothing_that_is_written(written: Written) -> None:
    assert written.after() == []
    written.after((100, 1, 9))
    written.progress.end(101)
    assert written.after() == [(100, 1, 9)]


def test_a_record_of_another_kind_of_snakemake_breaks_nothing_where_it_is_logged(written: Written) -> None:
    assert written.progress.due(logging.makeLogRecord({})) is True
