"""Jobs beside snakemake on the same machine: their processes are all there is to look at."""

from snakeway.model.failure import Bounds, Facts, Failure
from snakeway.targets.process import by_process
from snakeway.targets.raised import with_raised


class LocalDiagnosis:
    """There is no scheduler; the way the process ended and its last words decide."""

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job."""
        if facts.exit_code == 1:  # as a snakemake ends whose job raised something
            facts = with_raised(facts, facts.stderr_tail, alone=not facts.shell)
        return by_process(facts, bounds)
