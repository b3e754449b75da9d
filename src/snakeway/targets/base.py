"""What a target's module has to be able to do."""

from collections.abc import Collection, Mapping
from typing import Protocol

from snakeway.model.failure import Bounds, Facts, Failure, SchedulerWords


class Diagnosis(Protocol):
    """Judges failed jobs: first everything is asked that has to be asked, then judged without any I/O."""

    def ask(self, external_ids: Collection[str]) -> Mapping[str, SchedulerWords]:
        """Return what the scheduler says of these jobs, as far as it answers; one call for all of them.

        Raises nothing: a scheduler that does not answer knows nothing.
        """

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job; pure."""
