"""Attempts that were started by hand: nobody here saw their process, so their events are all that can be judged."""

from collections.abc import Iterable
from dataclasses import dataclass

from snakeway.model.job import Job, JobState

EXIT_CODES = (0, 1)  # Snakemake's own: everything went well, or not everything


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended that said that it ended. ``why`` is only given when nothing else says it."""

    exit_code: int
    why: str | None = None


def judge(*, failed: int, unfinished: int, error: bool) -> Verdict:
    """Judge an attempt by its jobs and by whether something else failed, as Snakemake does for its exit code."""
    if failed or error:
        return Verdict(EXIT_CODES[1])
    if unfinished:
        return Verdict(EXIT_CODES[1], "Snakemake was stopped before its jobs had ended.")
    return Verdict(EXIT_CODES[0])


def reopen(jobs: Iterable[Job]) -> list[Job]:
    """Take back the end of jobs that were closed with their lost attempt; returns those that changed."""
    reopened = []
    for job in jobs:
        if job.state is JobState.LOST:
            job.state = JobState.SUBMITTED if job.started_at is None else JobState.RUNNING
            job.ended_at = None
            reopened.append(job)
    return reopened
