"""What jobs on AWS Batch print: CloudWatch has it."""

from collections.abc import Iterator
from pathlib import Path

from snakeway import cloudwatch
from snakeway.cloudwatch import Position
from snakeway.targets.aws_batch.client import call, client, understood


class AwsBatchLogs:
    """The logs of jobs, by the jobs' ids."""

    def keep(self, run: str, external_id: str, path: Path) -> bool:
        """Write what a job has printed into a file; False if CloudWatch has nothing, or AWS has forgotten the job.

        Raises SchedulerAway, OSError.
        """
        group, streams = _place(run, external_id)
        if not streams:
            return False
        with understood("CloudWatch Logs"):
            path.parent.mkdir(parents=True, exist_ok=True)
            cloudwatch.keep(path, cloudwatch.pages(client("logs"), group, streams))
        return True

    def end(self, run: str, external_id: str) -> bytes:
        """Return the end of what a job's last container has printed so far. Raises SchedulerAway."""
        group, streams = _place(run, external_id)
        with understood("CloudWatch Logs"):
            return cloudwatch.end(client("logs"), group, streams[-1]) if streams else b""

    def more(self, run: str, external_id: str, since: Position | None) -> Iterator[tuple[bytes, Position]]:
        """Yield what a job has printed since a position. Raises SchedulerAway."""
        group, streams = _place(run, external_id)
        with understood("CloudWatch Logs"):
            yield from cloudwatch.pages(client("logs"), group, streams, since)


def _place(run: str, external_id: str) -> tuple[str, list[str]]:
    found = call("describe_jobs", jobs=[external_id])["jobs"]
    if not found or not str(found[0].get("jobName")).startswith(f"{run}-"):
        return cloudwatch.LOG_GROUP, []
    return cloudwatch.place_of(found[0])
