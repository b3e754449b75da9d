"""Jobs that are over although the Slurm plugin goes on waiting for them."""

import pytest

from snakemake_executor_plugin_snakeway_slurm.overlooked import FORGOTTEN, Overlooked


@pytest.mark.parametrize("state", ["PREEMPTED", "CANCELLED", "REVOKED", "DEADLINE", "BOOT_FAIL"])
def test_a_job_in_an_end_that_the_plugin_does_not_know_is_over_after_a_while(state: str) -> None:
    seen = Overlooked()
    assert seen.look(["1"], {"1": state}, at=0.0) == {}
    assert seen.look(["1"], {"1": state}, at=9.9) == {}
    assert seen.look(["1"], {"1": state}, at=10.0) == {"1": state}


def test_a_preempted_job_that_goes_back_into_the_queue_is_not_over() -> None:
    seen = Overlooked()
    assert seen.look(["1"], {"1": "PREEMPTED"}, at=0.0) == {}
    assert seen.look(["1"], {"1": "PENDING"}, at=5.0) == {}
    assert seen.look(["1"], {"1": "PREEMPTED"}, at=20.0) == {}


def test_a_job_that_slurm_has_forgotten_is_over_after_two_minutes() -> None:
    seen = Overlooked()
    assert seen.look(["1", "2"], {"2": "RUNNING"}, at=0.0) == {}
    assert seen.look(["1", "2"], {"2": "RUNNING"}, at=119.0) == {}
    assert seen.look(["1", "2"], {"2": "RUNNING"}, at=120.0) == {"1": FORGOTTEN}


def test_another_end_begins_to_count_anew() -> None:
    seen = Overlooked()
    seen.look(["1"], {"1": "PREEMPTED"}, at=0.0)
    assert seen.look(["1"], {}, at=11.0) == {}
    assert seen.look(["1"], {}, at=130.0) == {}
    assert seen.look(["1"], {}, at=131.0) == {"1": FORGOTTEN}


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT"])
def test_what_the_plugin_knows_is_left_to_it(state: str) -> None:
    seen = Overlooked()
    assert seen.look(["1"], {"1": state}, at=0.0) == {}
    assert seen.look(["1"], {"1": state}, at=1000.0) == {}
