"""Jobs beside snakemake on the same machine: their processes are all there is to look at."""

from collections.abc import Collection, Mapping

from snakeway.model.failure import Bounds, Facts, Failure, SchedulerWords
from snakeway.targets.process import by_process


class LocalDiagnosis:
    """There is no scheduler; the way the process ended and its last words decide."""

    def ask(self, external_ids: Collection[str]) -> Mapping[str, SchedulerWords]:
        """Return nothing: there is nobody to ask."""
        del external_ids
        return {}

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job."""
        return by_process(facts, bounds)
