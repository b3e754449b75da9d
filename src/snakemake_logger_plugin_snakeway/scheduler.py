"""What executor plugins say of jobs on a cluster, which Snakemake has no event for.

The Slurm plugin says in its log which number a job got and where its log lies; ours says in an attribute of the record
which jobs the scheduler does not accept for now. Both come in order with Snakemake's events, which is why they are
taken from the log.
"""

import re
from logging import LogRecord
from typing import NamedTuple

HELD = "snakeway_held"  # attribute of a record: {"jobs": [number, ...], "reason": text}
# snakemake-executor-plugin-slurm 2.8, Executor.run_job; a group of jobs is called by a name of letters.
_SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+) \(log: (.+)\)\.")


class Submission(NamedTuple):
    """The scheduler has a job."""

    t: float
    jobs: list[int]
    external_id: str
    log: str


class Hold(NamedTuple):
    """The scheduler does not take jobs for now."""

    t: float
    jobs: list[int]
    reason: str


def concerns(record: LogRecord) -> bool:
    """Whether `told` has something to say of the record; quick, because it is asked of every record."""
    return hasattr(record, HELD) or (
        isinstance(record.msg, str) and " has been submitted with SLURM jobid " in record.msg
    )


def told(record: LogRecord) -> Submission | Hold | None:
    """Read a record."""
    held = getattr(record, HELD, None)
    if held is not None:
        return Hold(record.created, list(held["jobs"]), str(held["reason"]))
    match = _SUBMITTED.fullmatch(record.getMessage())
    return Submission(record.created, [int(match[1])], match[2], match[3]) if match else None
