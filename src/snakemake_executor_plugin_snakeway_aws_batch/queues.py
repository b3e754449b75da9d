"""What runs the containers of a queue: asked once for each."""

import threading
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_snakeway_aws_batch.fit import Platform


class Queues:
    """Knows the platform of each queue. May be used by many threads."""

    def __init__(self, client: Any, platform: str) -> None:
        self._client = client
        self._given = None if platform == "auto" else Platform(platform)
        self._lock = threading.Lock()
        self._known: dict[str, Platform] = {}

    def platform(self, queue: str) -> Platform:
        """Return the platform of a queue. Raises WorkflowError if it does not exist, and what the client raises."""
        if self._given is not None:
            return self._given
        with self._lock:
            if queue not in self._known:
                self._known[queue] = self._ask(queue)
            return self._known[queue]

    def _ask(self, queue: str) -> Platform:
        queues = self._client.describe_job_queues(jobQueues=[queue])["jobQueues"]
        if not queues:
            raise WorkflowError(f"AWS Batch has no job queue {queue}.")
        names = [place["computeEnvironment"] for place in queues[0].get("computeEnvironmentOrder", ())]
        found = self._client.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        kinds = {str(place.get("computeResources", {}).get("type", "")) for place in found}
        # A queue has environments of one kind only; one that is managed elsewhere has no type, and machines.
        return Platform.FARGATE if any(kind.startswith("FARGATE") for kind in kinds) else Platform.EC2
