"""Submitting one job, until AWS Batch has it or says that it never will.

SubmitJob has no token by which a request that is sent twice would be known as one. So no request is repeated whose
answer may have been lost, before a job with its name, which no other job has, has been looked for.
"""

import threading
from collections.abc import Callable
from typing import Any

from snakemake_executor_plugin_snakeway_aws_batch.definitions import Definitions
from snakemake_executor_plugin_snakeway_aws_batch.order import Order
from snakemake_executor_plugin_snakeway_aws_batch.patience import (
    FAULTS,
    may_have_been_accepted,
    pause_s,
    words,
    worth_another_try,
)


class Stopped(Exception):
    """Everything is being cancelled; the job was not submitted."""


class Submitter:
    """Submits jobs, from any thread. ``once`` must not repeat requests by itself; ``client`` may."""

    def __init__(
        self,
        once: Any,
        client: Any,
        definitions: Definitions,
        stopping: threading.Event,
        tell_held: Callable[[list[int], str, str], None],
    ) -> None:
        self._once = once
        self._client = client
        self._definitions = definitions
        self._stopping = stopping
        self._tell_held = tell_held

    def submit(self, jobs: list[int], make: Callable[[], Order]) -> str:
        """Return AWS's id of the job that ``make`` orders; ``jobs`` are its numbers.

        Raises Stopped, what ``make`` raises, or what AWS said when it will never accept the job.
        """
        order: Order | None = None
        unclear, tries = False, 0
        while not self._stopping.is_set():
            try:
                order = order or make()
                found = self._find(order) if unclear else None
                if found is not None:
                    return found
                unclear = False
                arn = self._definitions.arn(order.definition)
            except FAULTS as error:
                reason = self._reason(error)
            else:
                try:
                    return str(self._once.submit_job(**order.request, jobDefinition=arn)["jobId"])
                except FAULTS as error:
                    reason = self._reason(error)
                    unclear = may_have_been_accepted(error)
            tries += 1
            if tries == 1:
                text = f"AWS Batch does not accept job {jobs[0]} for now ({reason}); it will be submitted again."
                self._tell_held(jobs, reason, text)
            self._stopping.wait(pause_s(tries))
        if unclear and order is not None:
            self._settle(order)
        raise Stopped

    def _reason(self, error: Exception) -> str:
        """Return why it is worth another try; raises the error if it is not."""
        reason = worth_another_try(error)
        if reason is None:
            raise error
        return f"{reason}: {words(error)}"

    def _find(self, order: Order) -> str | None:
        """Return the id of the job that AWS has accepted although its answer was lost; None if it has not."""
        request = order.request
        answer = self._client.list_jobs(
            jobQueue=request["jobQueue"], filters=[{"name": "JOB_NAME", "values": [request["jobName"]]}]
        )
        return next((str(found["jobId"]) for found in answer["jobSummaryList"]), None)

    def _settle(self, order: Order) -> None:
        """Terminate what AWS may have accepted, now that nobody will wait for it."""
        try:
            found = self._find(order)
            if found is not None:
                self._client.terminate_job(jobId=found, reason="cancelled by snakemake")
        except FAULTS:
            return  # its name tells whose it is
