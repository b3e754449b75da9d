"""What executor plugins say of jobs on a cluster, which Snakemake has no event for.

The Slurm plugin says in its log which number a job got and where its log lies. Ours say it in attributes of records:
which jobs the scheduler does not accept for now, which it has and under which id, and when they started. Both come in
order with Snakemake's events, which is why they are taken from the log.
"""

import re
from logging import LogRecord
from typing import NamedTuple

HELD = "snakeway_held"  # attribute of a record: {"jobs": [number, ...], "reason": text}
SUBMITTED = "snakeway_submitted"  # {"jobs": [number, ...], "external_id": text, "log": text or None}
STARTED = "snakeway_started"  # {"jobs": [number, ...], "t": seconds since the epoch}
_ATTRIBUTES = frozenset({HELD, SUBMITTED, STARTED})
# snakemake-executor-plugin-slurm 2.8, Executor.run_job; a group of jobs is called by a name of letters.
_SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid (\d+) \(log: (.+)\)\.")


class Submission(NamedTuple):
    """The scheduler has a job; told again when it becomes known where the job's log is."""

    t: float
    jobs: list[int]
    external_id: str
    log: str | None


class Start(NamedTuple):
    """The scheduler has started a job."""

    t: float
    jobs: list[int]
    started: float


class Hold(NamedTuple):
    """The scheduler does not take jobs for now."""

    t: float
    jobs: list[int]
    reason: str


def concerns(record: LogRecord) -> bool:
    """Whether `told` has something to say of the record; quick, because it is asked of every record."""
    return not _ATTRIBUTES.isdisjoint(record.__dict__) or (
        isinstance(record.msg, str) and " has been submitted with SLURM jobid " in record.msg
    )


def told(record: LogRecord) -> Submission | Hold | Start | None:
    """Read a record."""
    held, submitted, started = (getattr(record, name, None) for name in (HELD, SUBMITTED, STARTED))
    if held is not None:
        return Hold(record.created, list(held["jobs"]), str(held["reason"]))
    if submitted is not None:
        log = submitted["log"]
        return Submission(
            record.created, list(submitted["jobs"]), str(submitted["external_id"]), None if log is None else str(log)
        )
    if started is not None:
        return Start(record.created, list(started["jobs"]), float(started["t"]))
    match = _SUBMITTED.fullmatch(record.getMessage())
    return Submission(record.created, [int(match[1])], match[2], match[3]) if match else None
