"""Asks AWS Batch. Jobs are found by their names, which the executor begins with the run's id."""

import importlib.util
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from snakeway.model.scheduled import Phase, Scheduled
from snakeway.owner import Owner
from snakeway.targets.aws_batch import details
from snakeway.targets.aws_batch.client import call, paged

_ASKED_AT_ONCE = 100  # what DescribeJobs allows
_TERMINATORS = 8
_REASON = "cancelled by Snakeway"


class AwsBatchScheduler:
    """AWS Batch in the account and region that the environment leads to."""

    def present(self) -> bool:
        """Whether AWS's library is installed here."""
        return importlib.util.find_spec("boto3") is not None

    def look(self, runs: Collection[str]) -> Mapping[str, Mapping[str, Scheduled]]:
        """Return the jobs of the runs by run and id: for each run and queue, one call for 100 jobs.

        AWS finds jobs by the beginning of one name in one queue. Raises SchedulerAway.
        """
        if not runs:
            return {}
        found: dict[str, dict[str, Scheduled]] = {}
        queues = [queue["jobQueueArn"] for queue in paged("describe_job_queues", "jobQueues")]
        for run in sorted(runs):
            for queue in queues:
                names = [{"name": "JOB_NAME", "values": [f"{run}*"]}]
                for job in paged("list_jobs", "jobSummaryList", jobQueue=queue, filters=names):
                    found.setdefault(run, {})[str(job["jobId"])] = details.summary(job)
        return found

    def account(self, external_ids: Collection[str]) -> Mapping[str, Scheduled] | None:
        """Return what is known of ended jobs: one call for 100 of them. Raises SchedulerAway."""
        ids = sorted(external_ids)
        found: dict[str, Scheduled] = {}
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            answer = call("describe_jobs", jobs=ids[start : start + _ASKED_AT_ONCE])
            for job in answer["jobs"]:
                known = details.detail(job)
                if known.phase is Phase.ENDED:
                    found[str(job["jobId"])] = known
        return found

    def cancel(self, run: str, external_ids: Collection[str], owner: Owner | None = None) -> None:
        """Have jobs ended: one call for each, because AWS has no other. Raises SchedulerAway.

        There are no accounts of persons here: ``owner`` has the service's own rights.
        """
        del run, owner

        def terminate(id_: str) -> None:
            call("terminate_job", jobId=id_, reason=_REASON)

        with ThreadPoolExecutor(_TERMINATORS) as threads:
            list(threads.map(terminate, sorted(external_ids)))

    def tidy(self, run: str) -> None:
        """Have the definitions of a run's jobs forgotten, which a killed snakemake left. Raises SchedulerAway."""
        for definition in list(paged("describe_job_definitions", "jobDefinitions", status="ACTIVE")):
            if definition["jobDefinitionName"].startswith(f"snakeway-{run}-"):
                call("deregister_job_definition", jobDefinition=definition["jobDefinitionArn"])
