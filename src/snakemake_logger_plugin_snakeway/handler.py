"""The plugin's contact with Snakemake: when it is made, what it is handed, when it is closed."""

import logging
import os
import queue
from logging import LogRecord
from logging.handlers import QueueHandler

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_snakeway.evidence import Evidence
from snakemake_logger_plugin_snakeway.guard import Guard
from snakemake_logger_plugin_snakeway.identity import Identity
from snakemake_logger_plugin_snakeway.recorder import Recorder

_SNAKEMAKE = logging.getLogger("snakemake.logging")  # the one logger of Snakemake and of its executor plugins
# How long records may lie while jobs run. Being woken for each costs more than what is done with it: with 2,000 jobs
# that do nothing, this halves what the plugin takes from the processors.
GATHER_S = 0.1


class LogHandler(LogHandlerBase):
    """Gets every log record, in a thread that Snakemake keeps for logger plugins, and records those that count.

    An attempt begins when Snakemake begins to execute a workflow, so ``--lint``, ``--unlock``, ``--summary`` and their
    like leave nothing behind. Neither does a dry run by hand. An error before that, such as a broken Snakefile, is
    recorded only if Snakeway started the attempt and so waits for the reason; by hand it is on the screen.
    """

    def __post_init__(self) -> None:
        self._guard = Guard()
        self._identity: Identity | None = None  # None: nothing is to be recorded
        self._recorder: Recorder | None = None
        self._queue: queue.Queue[LogRecord] | None = None  # Snakemake's, if it passes on only what is recorded
        self._evidence = Evidence(self._guard)
        with self._guard():
            identity = Identity.from_environment(os.environ)
            if identity.by_hand and self.common_settings.dryrun:
                return
            self._identity = identity
            _SNAKEMAKE.addFilter(self._evidence)

    def emit(self, record: LogRecord) -> None:
        with self._guard():
            self._take(record)
            if self._queue is not None and self._queue.empty() and self._recorder is not None:
                self._recorder.wait(GATHER_S)  # a kill -9 meanwhile loses what Snakemake says

    def close(self) -> None:
        """End the attempt. Snakemake calls this when its listener thread has ended; at exit `logging` does so again."""
        with self._guard():
            identity, self._identity = self._identity, None
            recorder, self._recorder = self._recorder, None
            if identity is not None:
                _SNAKEMAKE.removeFilter(self._evidence)
                _SNAKEMAKE.removeHandler(self._evidence.stderr)
            if recorder is not None:
                recorder.end()
        super().close()

    def _take(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        if self._recorder is None:
            if self._identity is None or event is None or not self._begins(event, self._identity):
                return
            self._recorder = Recorder(self._identity, record, self.common_settings, self._guard, self._evidence)
            _SNAKEMAKE.addHandler(self._evidence.stderr)  # now: behind the handlers that Snakemake has set up
            self._evidence.stderr.attached = True
            self._narrow_queue(self._recorder)
        elif self._queue is None and not self._recorder.wants(record):
            return  # with a queue, its filter has asked, but for what lay in it before
        self._recorder.take(record)

    def _narrow_queue(self, recorder: Recorder) -> None:
        """Have Snakemake pass on only what is recorded, if there is no other logger plugin that gets the same records.

        Snakemake logs some eight records for each job. Waking the plugins' thread costs it 50 µs each time, which is
        more than what we do with a record.
        """
        handlers = [handler for handler in _SNAKEMAKE.handlers if isinstance(handler, QueueHandler)]
        if len(getattr(self.common_settings, "log_handler_settings", ())) != 1 or len(handlers) != 1:
            return  # a workflow may add handlers as well
        if isinstance(handlers[0].queue, queue.Queue):
            handlers[0].addFilter(recorder.wants)
            self._queue = handlers[0].queue

    @staticmethod
    def _begins(event: LogEvent, identity: Identity) -> bool:
        return event is LogEvent.WORKFLOW_STARTED or (event is LogEvent.ERROR and not identity.by_hand)

    @property
    def writes_to_stream(self) -> bool:
        return False

    @property
    def writes_to_file(self) -> bool:
        return False  # true would have Snakemake announce the file as its log

    @property
    def has_filter(self) -> bool:
        return True  # Snakemake's own filter drops what --quiet is not to show

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return self._identity is not None
