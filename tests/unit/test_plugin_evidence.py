"""What is kept on a record of Snakemake's when a job fails."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.io import IOFile, flag
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_snakeway.evidence import Evidence, failed_in_postprocessing, log_of
from snakemake_logger_plugin_snakeway.guard import Guard


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def evidence() -> Evidence:
    """That of a workflow which is executed in the working directory."""
    found = Evidence(Guard())
    found.filter(logging.makeLogRecord({"event": LogEvent.WORKFLOW_STARTED}))
    return found


def told(evidence: Evidence, event: LogEvent, **members: Any) -> logging.LogRecord:
    """A record of this event, as the plugin gets it."""
    record = logging.makeLogRecord({"event": event, **members})
    evidence.filter(record)
    return record


def failed_afterwards(evidence: Evidence, job: object) -> logging.LogRecord:
    """The record that Snakemake makes where it finds that an output of ``job`` is missing."""
    try:
        raise FileNotFoundError(f"an output of {job}")
    except FileNotFoundError:
        return told(evidence, LogEvent.ERROR)


@pytest.mark.parametrize("event", [LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR])
@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ([], None),
        (["absent.log"], ("absent.log", "")),
        (["absent.log", "empty.log"], ("absent.log", "")),
        (["empty.log", "absent.log", "full.log", "other.log"], ("full.log", "why")),
        (["x" * 300, "full.log"], ("full.log", "why")),
        ([".", "full.log"], ("full.log", "why")),
    ],
)
def test_the_first_log_that_holds_something_is_kept(
    event: LogEvent,
    logs: list[str],
    said: tuple[str, str] | None,
    evidence: Evidence,
    working_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in (("empty.log", "\n"), ("full.log", "why\n"), ("other.log", "else\n")):
        (working_directory / name).write_text(text)
    member = "log" if event is LogEvent.JOB_ERROR else "aux_logs"
    (working_directory / "shadow").mkdir()
    monkeypatch.chdir("shadow")  # as a job with `shadow:` does that is executed beside
    record = told(evidence, event, **{member: logs})
    assert log_of(record) == said


def test_a_log_in_object_storage_is_read_from_its_copy_and_has_its_address_as_name(
    evidence: Evidence, working_directory: Path
) -> None:
    copy = working_directory / "copy.log"
    copy.write_text("why\n")
    stored = IOFile(flag(str(copy), "storage_object", SimpleNamespace(print_query="s3://bucket/a.log")))
    job = SimpleNamespace(jobid=7, log=[stored], is_group=lambda: False)
    assert failed_in_postprocessing(failed_afterwards(evidence, job)) == {7: ("s3://bucket/a.log", "why")}
