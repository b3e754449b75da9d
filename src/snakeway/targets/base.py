"""What a target's module has to be able to do."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from snakeway.cloudwatch import Position
from snakeway.model.failure import Bounds, Facts, Failure
from snakeway.model.scheduled import Scheduled
from snakeway.owner import Owner


class SchedulerAway(Exception):
    """The scheduler does not answer, or not as it should; nothing follows from that for any job."""


class Diagnosis(Protocol):
    """Judges failed jobs."""

    def diagnose(self, facts: Facts, bounds: Bounds) -> Failure:
        """Judge one failed job; pure."""


class Logs(Protocol):
    """Has what jobs print, where that is in no file that we could read.

    A job that is not of ``run`` has printed nothing: its id comes from events, and jobs can write those.
    """

    def keep(self, run: str, external_id: str, path: Path) -> bool:
        """Write what a job has printed into a file, whole or not at all; False if there is nothing to write.

        Raises SchedulerAway, OSError.
        """

    def end(self, run: str, external_id: str) -> bytes:
        """Return the end of what a job has printed so far: one piece of it. Raises SchedulerAway."""

    def more(self, run: str, external_id: str, since: Position | None) -> Iterator[tuple[bytes, Position]]:
        """Yield what a job has printed since a position, or from the beginning. Raises SchedulerAway."""


class Scheduler(Protocol):
    """Talks to the scheduler of a target. Every method is a bounded number of calls, however many jobs there are."""

    def present(self) -> bool:
        """Whether this machine has what it takes to ask."""

    def look(self, runs: Collection[str]) -> Mapping[str, Mapping[str, Scheduled]]:
        """Return run id -> external id -> job, of all jobs of these runs that the scheduler has in its hands.

        Ended ones are among them for as long as the scheduler remembers them. Raises SchedulerAway.
        """

    def account(self, external_ids: Collection[str]) -> Mapping[str, Scheduled] | None:
        """Return what the books say of ended jobs; None if the scheduler keeps none.

        A job that is not there yet is left out. Raises SchedulerAway.
        """

    def cancel(self, run: str, external_ids: Collection[str], owner: Owner | None = None) -> None:
        """Have these jobs of a run ended, by the account whose jobs they are, if it is not the service's own.

        They end some time after this returns. Raises SchedulerAway.
        """

    def tidy(self, run: str) -> None:
        """Remove what jobs have needed beside themselves, now that none of this run is left. Raises SchedulerAway."""
