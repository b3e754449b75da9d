"""The logger plugin passes the tests that Snakemake's interface brings for plugins, and takes their records."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase as InterfaceTests

from snakemake_logger_plugin_snakeway import LogHandler
from snakeway.wire import ENV_ATTEMPT, ENV_EVENTS, ENV_RUN, read_events

_SNAKEMAKE = logging.getLogger("snakemake.logging")


class TestInterface(InterfaceTests):
    __test__ = True

    @pytest.fixture(autouse=True)
    def handlers_that_are_closed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Each test works in a folder of its own, and leaves no filter on Snakemake's logger."""
        monkeypatch.chdir(tmp_path)
        for name in (ENV_RUN, ENV_ATTEMPT, ENV_EVENTS):
            monkeypatch.delenv(name, raising=False)
        self.made: list[LogHandlerBase] = []
        yield
        for handler in self.made:
            handler.close()
            handler.close()  # Snakemake and `logging` each close it
        assert not _SNAKEMAKE.filters

    def get_log_handler_cls(self) -> type[LogHandlerBase]:
        return LogHandler

    def get_log_handler_settings(self) -> LogHandlerSettingsBase:
        return LogHandlerSettingsBase()

    def _create_handler(self) -> LogHandlerBase:
        self.made.append(super()._create_handler())
        return self.made[-1]

    def test_the_records_of_a_run_become_events(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        handler = self._create_handler()
        self._create_handler = lambda: handler  # type: ignore[method-assign]
        self.test_workflow_started_event()
        self.test_run_info_event()
        self.test_job_info_event()
        self.test_job_finished_event()
        self.test_job_info_event()
        self.test_error_event()
        self.test_job_error_event()
        self.test_progress_event()
        handler.close()
        (file,) = tmp_path.glob(".snakeway/attempts/*/events.ndjson")
        types = [event["type"] for event in read_events(file, 0, 1 << 20)[0]]
        assert types == [
            *("attempt_started", "stats", "job", "job_finished", "job", "job_failed", "progress", "attempt_ended")
        ]
        assert capfd.readouterr().err == "", "nothing to complain about"

    def test_a_record_that_lacks_something_is_complained_about_once(self, capfd: pytest.CaptureFixture[str]) -> None:
        handler = self._create_handler()
        handler.emit(self._create_event_record(LogEvent.WORKFLOW_STARTED))
        for _ in range(3):
            handler.emit(self._create_event_record(LogEvent.JOB_INFO))
        assert capfd.readouterr().err == "snakeway: cannot record: KeyError: 'jobid'; the run goes on without\n"
