"""When the plugin lets Snakemake's records come together: while jobs run, and nothing else waits for it.

The time for that is set so long that what should not wait, and does, is not there when it is looked for.
"""

import logging
import sys
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import Queue
from traceback import walk_stack
from types import CodeType
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase
from snakemake_interface_logger_plugins.tests import MockOutputSettings

from snakemake_logger_plugin_snakeway import LogHandler, handler, progress
from snakemake_logger_plugin_snakeway.recorder import Recorder
from snakeway.wire import ENV_ATTEMPT, ENV_EVENTS, ENV_RUN, read_events
from tests.support.waiting import wait_until

_SNAKEMAKE = logging.getLogger("snakemake.logging")
_SOON_S = 30.0
_NOT_S = 0.3  # for what must not happen

JOB = {
    "rule_name": "step",
    "rule_msg": None,
    "wildcards": {},
    "threads": 1,
    "input": [],
    "output": ["out.txt"],
    "log": [],
    "benchmark": None,
    "reason": "",
    "resources": {},
    "shellcmd": "",
}


class Snakemake:
    """Logs as Snakemake does: through a queue to a thread that calls the plugin."""

    def __init__(self, directory: Path, plugins: int = 1) -> None:
        settings = MockOutputSettings()
        settings.log_handler_settings = dict.fromkeys(map(str, range(plugins)))  # type: ignore[attr-defined]
        self.plugin = LogHandler(settings, LogHandlerSettingsBase())
        self.queue: Queue[Any] = Queue(-1)
        self.handler = QueueHandler(self.queue)
        _SNAKEMAKE.addHandler(self.handler)
        self._listener = QueueListener(self.queue, self.plugin)
        self._directory = directory
        self._running = False

    def log(self, event: LogEvent, **told: Any) -> None:
        _SNAKEMAKE.info("", extra={"event": event, **told})

    def listen(self) -> None:
        self._listener.start()
        self._running = True

    def end(self) -> None:
        if self._running:
            self._listener.stop()
            self._running = False
        _SNAKEMAKE.removeHandler(self.handler)
        self.plugin.close()

    def types(self) -> list[str]:
        files = self._directory.glob(".snakeway/attempts/*/events.ndjson")
        return [event["type"] for file in files for event in read_events(file, 0, 1 << 20)[0]]

    def told(self, *types: str) -> None:
        """Wait until these are the types of all events."""
        wait_until(lambda: self.types() == [*types], timeout_s=_SOON_S, what=f"events {types}")

    def waits(self) -> None:
        """Wait until the plugin's thread lets records come together: it has found the queue empty."""
        wait_until(lambda: Recorder.wait.__code__ in _running_code(), timeout_s=_SOON_S, what="the plugin to wait")


def _running_code() -> set[CodeType]:
    frames = [*sys._current_frames().values()]
    return {frame.f_code for first in frames for frame, _ in walk_stack(first)}


@pytest.fixture(autouse=True)
def long_time_to_gather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in (ENV_RUN, ENV_ATTEMPT, ENV_EVENTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(handler, "GATHER_S", 2 * _SOON_S)
    level = _SNAKEMAKE.level
    _SNAKEMAKE.setLevel(logging.INFO)
    yield
    _SNAKEMAKE.setLevel(level)


@pytest.fixture
def snakemake(tmp_path: Path) -> Iterator[Snakemake]:
    """One that has begun to execute a workflow and whose records were all taken."""
    found = Snakemake(tmp_path)
    try:
        found.listen()
        found.log(LogEvent.WORKFLOW_STARTED)
        found.told("attempt_started")
        yield found
    finally:
        found.end()


def test_what_comes_while_jobs_run_is_taken_together_and_not_after_the_last_has_ended(snakemake: Snakemake) -> None:
    snakemake.log(LogEvent.JOB_INFO, jobid=1, **JOB)
    snakemake.told("attempt_started", "job")
    snakemake.waits()
    snakemake.log(LogEvent.JOB_FINISHED, job_id=1)
    snakemake.log(LogEvent.JOB_INFO, jobid=2, **JOB)
    with pytest.raises(AssertionError):
        wait_until(lambda: len(snakemake.types()) > 2, timeout_s=_NOT_S, what="a record that was taken at once")
    snakemake.log(LogEvent.JOB_FINISHED, job_id=2)
    snakemake.log(LogEvent.PROGRESS, done=2, total=2)
    snakemake.told("attempt_started", "job", "job_finished", "job", "job_finished", "progress")


def test_what_waits_in_the_queue_is_not_held_up(tmp_path: Path) -> None:
    snakemake = Snakemake(tmp_path)
    try:
        snakemake.log(LogEvent.WORKFLOW_STARTED)
        for job in range(5):
            snakemake.log(LogEvent.JOB_INFO, jobid=job, **JOB)
        snakemake.listen()
        snakemake.told("attempt_started", *["job"] * 5)
        snakemake.log(LogEvent.PROGRESS, done=5, total=5)
    finally:
        snakemake.end()


def test_jobs_that_a_checkpoint_adds_are_waited_for_again(snakemake: Snakemake) -> None:
    snakemake.log(LogEvent.PROGRESS, done=1, total=1)
    snakemake.log(LogEvent.PROGRESS, done=1, total=3)
    snakemake.log(LogEvent.JOB_INFO, jobid=2, **JOB)
    before = ("attempt_started", "progress", "progress", "job")
    snakemake.told(*before)
    snakemake.waits()
    snakemake.log(LogEvent.JOB_FINISHED, job_id=2)
    with pytest.raises(AssertionError):
        wait_until(lambda: len(snakemake.types()) > 4, timeout_s=_NOT_S, what="a record that was taken at once")
    snakemake.log(LogEvent.PROGRESS, done=3, total=3)
    snakemake.told(*before, "job_finished", "progress")


def test_progress_that_is_not_written_does_not_enter_the_queue(
    snakemake: Snakemake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_EVERY_S", 2 * _SOON_S)
    snakemake.log(LogEvent.JOB_INFO, jobid=1, **JOB)
    snakemake.told("attempt_started", "job")
    snakemake.waits()
    for done in (1, 2, 3):
        snakemake.log(LogEvent.PROGRESS, done=done, total=9)
    snakemake.log(LogEvent.SHELLCMD)
    assert snakemake.queue.qsize() == 1
    snakemake.log(LogEvent.PROGRESS, done=9, total=9)
    snakemake.told("attempt_started", "job", "progress", "progress")


@pytest.mark.parametrize("beside", ["another plugin", "another queue"])
def test_who_else_listens_gets_everything_at_once(tmp_path: Path, beside: str) -> None:
    snakemake = Snakemake(tmp_path, plugins=2 if beside == "another plugin" else 1)
    other = QueueHandler(Queue(-1))
    if beside == "another queue":
        _SNAKEMAKE.addHandler(other)
    try:
        snakemake.listen()
        snakemake.log(LogEvent.WORKFLOW_STARTED)
        snakemake.told("attempt_started")
        snakemake.log(LogEvent.JOB_INFO, jobid=1, **JOB)
        snakemake.told("attempt_started", "job")
        snakemake.log(LogEvent.SHELLCMD)
        snakemake.log(LogEvent.JOB_FINISHED, job_id=1)
        snakemake.told("attempt_started", "job", "job_finished")
        assert not snakemake.handler.filters
    finally:
        _SNAKEMAKE.removeHandler(other)
        snakemake.end()
