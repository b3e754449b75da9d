"""What executor plugins say of jobs on a cluster, read from Snakemake's log."""

import logging
from typing import Any

import pytest

from snakemake_logger_plugin_snakeway.scheduler import Hold, Start, Submission, concerns, told


def record(message: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake.logging", logging.INFO, __file__, 1, message, (), None)
    made.created = 5.0
    made.__dict__.update(extra)
    return made


def test_a_submission_names_job_number_and_log() -> None:
    said = record(
        "Job 15 has been submitted with SLURM jobid 62 (log: /runs/r/.snakemake/slurm_logs/rule_a/x y (1)/62.log)."
    )
    assert concerns(said)
    assert told(said) == Submission(5.0, [15], "62", "/runs/r/.snakemake/slurm_logs/rule_a/x y (1)/62.log")


def test_a_hold_names_jobs_and_reason() -> None:
    said = record("Slurm does not accept job 3", snakeway_held={"jobs": [3, 4], "reason": "AssocMaxSubmitJobLimit"})
    assert concerns(said)
    assert told(said) == Hold(5.0, [3, 4], "AssocMaxSubmitJobLimit")


@pytest.mark.parametrize("message", ["Building DAG of jobs...", "SLURM run ID: x", 7, None])
def test_other_records_are_none_of_its_business(message: Any) -> None:
    assert not concerns(record(message))


def test_a_group_of_jobs_is_found_by_its_files() -> None:
    said = record("Job chain has been submitted with SLURM jobid 62 (log: x/62.log).")
    assert concerns(said)
    assert told(said) is None


def test_a_plugin_may_tell_a_submission_and_a_start_itself() -> None:
    submitted = {"jobs": [3, 4], "external_id": "a-b", "log": None}
    said = record("Job 3 has been submitted to AWS Batch", snakeway_submitted=submitted)
    assert concerns(said)
    assert told(said) == Submission(5.0, [3, 4], "a-b", None)
    said = record("AWS Batch has started job 3.", snakeway_started={"jobs": [3], "t": 4.5})
    assert concerns(said)
    assert told(said) == Start(5.0, [3], 4.5)
