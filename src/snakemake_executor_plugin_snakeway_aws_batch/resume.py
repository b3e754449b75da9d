"""Jobs of a snakemake that was killed are taken up by the one that recovers it, instead of being done again.

Snakemake remembers the id of each job that it has not seen end, for executors to use in this way; as it is told to make
incomplete files again, it does not look at the ids itself. Nothing is shared with the machines that jobs run on, so
their snakemake cannot say that they have ended, which it does on a cluster.
"""

import os
from typing import Any

from snakemake_executor_plugin_snakeway_aws_batch.patience import FAULTS
from snakeway.wire import ENV_RESUME

_GIVEN_AS_MS = 1000.0


class Resume:
    """Finds such jobs.

    Only in an attempt that is to go on with what others began, with the same workflow, configuration and options. The
    environment says so by the time (seconds since the epoch) at which the first of them started: what is older is
    another's.
    """

    def __init__(self, client: Any, run: str, workflow: Any) -> None:
        self._client = client
        self._run = run
        self._workflow = workflow
        self._since = float(os.environ.get(ENV_RESUME) or "inf")

    def find(self, job: Any) -> str | None:
        """Return the id of the job that may be making the outputs of this one; called by Snakemake's own thread.

        None if what it depends on is made anew, and for groups, of which Snakemake may put together others each time.
        """
        if self._since == float("inf") or job.is_group():
            return None
        dag = self._workflow.dag
        if any(dag.needrun(before) for before in dag.dependencies[job]):
            return None
        ids = self._workflow.persistence.external_jobids(job)
        return str(ids[0]) if len(ids) == 1 else None

    def usable(self, external_id: str) -> bool:
        """Whether a job is under way or has succeeded, as AWS Batch says; asks it."""
        try:
            found = self._client.describe_jobs(jobs=[external_id])["jobs"]
        except FAULTS:
            return False
        return any(
            job["status"] != "FAILED"
            and str(job["jobName"]).startswith(f"{self._run}-")
            and job.get("createdAt", 0) / _GIVEN_AS_MS >= self._since
            for job in found
        )
