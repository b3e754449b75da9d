"""What an attempt's end waits for once none of its jobs is left in the scheduler."""

from pathlib import Path
from typing import Any, cast

import pytest

from snakeway.rows import AttemptRow, now
from snakeway.settings import Settings
from snakeway.supervisor.cluster import Clusters, Ending
from snakeway.targets import Scheduler, SchedulerAway


class Untidy:
    """A stand-in for a scheduler that does not let us remove anything."""

    asked = 0

    def tidy(self, _run: str) -> None:
        self.asked += 1
        raise SchedulerAway("AWS Batch, deregister_job_definition: AccessDeniedException")


@pytest.fixture
def clusters(tmp_path: Path) -> Clusters:
    return Clusters(cast("Any", None), cast("Any", None), Settings(data_dir=tmp_path), "supervisor")


@pytest.mark.parametrize(("waited_s", "settled"), [(0.0, False), (299.0, False), (300.0, True)])
def test_tidying_up_is_tried_for_a_while_and_then_left(clusters: Clusters, waited_s: float, *, settled: bool) -> None:
    row = AttemptRow(id="a", run_id="r", number=1, owner="o", target="t", executor="none", digest="", created_at=now())
    scheduler = Untidy()
    ending = Ending(cancel=True, sure_after_s=15)
    assert clusters._leave(cast("Scheduler", scheduler), row, ending, waited_s) is settled
    assert scheduler.asked == 1
