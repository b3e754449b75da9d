"""The logs of jobs, read while Snakemake says that a job failed: another try may write them right after."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_logger_plugin_snakeway.requested import name_of
from snakeway.wire import tail


class Logs:
    """Reads the logs of one workflow's jobs; nothing that lies there, or does not, raises."""

    def __init__(self) -> None:
        self.directory: Path | None = None  # the workflow's: a shadow job can move the whole process for a while

    def begin(self) -> None:
        """Note the directory that the workflow is executed in."""
        self.directory = Path.cwd()

    def end_of(self, logs: Iterable[str], job: Any = None) -> tuple[str, str] | None:
        """Return name and end of the first of ``logs`` that holds something; else of the first; None without logs.

        A log is one of Snakemake's files, or a name. That of a ``job`` which ran in Snakemake's own process with
        ``shadow:`` is still in the shadow directory, if it is told that it failed.
        """
        directory = self.directory or Path()
        shadow = getattr(job, "shadow_dir", None)
        first = None
        for log in logs:
            text = tail(directory / shadow / log) if shadow else ""
            text = text if text.strip() else tail(directory / log)
            if text.strip():
                return name_of(log), text
            first = first or name_of(log)
        return None if first is None else (first, "")
