import itertools

import pytest

from snakeway.errors import Invalid
from snakeway.model.attempt import ENDED, HELD, MOVES, AttemptState, Exit, Overrides, outcome

S = AttemptState


def test_every_move_between_states_is_decided() -> None:
    allowed = {(old, new) for old in S for new in MOVES[old]}
    assert allowed == {
        (S.QUEUED, S.STARTING),
        (S.QUEUED, S.CANCELLED),
        (S.STARTING, S.RUNNING),
        *itertools.product([S.STARTING, S.RUNNING], [S.SUCCEEDED, S.FAILED, S.CANCELLED, S.LOST]),
        (S.LOST, S.RUNNING),
    }


def test_states_are_waiting_held_or_ended() -> None:
    assert {S.QUEUED} | HELD | ENDED == set(S)
    assert not HELD & ENDED


@pytest.mark.parametrize(
    ("exit_code", "signal", "stop_requested", "expected"),
    [
        (0, None, False, S.SUCCEEDED),
        (0, None, True, S.SUCCEEDED),  # it finished before the stop reached it
        (1, None, False, S.FAILED),
        (1, None, True, S.CANCELLED),
        (130, None, False, S.FAILED),  # an interrupt that nobody here asked for
        (None, 9, False, S.LOST),
        (None, 9, True, S.CANCELLED),
    ],
)
def test_outcome_of_an_exit(exit_code: int | None, signal: int | None, stop_requested: bool, expected: S) -> None:
    exit_ = Exit("run", exit_code, signal, ended_at=0.0)
    assert outcome(exit_, stop_requested=stop_requested) is expected


@pytest.mark.parametrize(("stop_requested", "expected"), [(False, S.LOST), (True, S.CANCELLED)])
def test_outcome_without_an_exit(stop_requested: bool, expected: S) -> None:
    assert outcome(None, stop_requested=stop_requested) is expected


@pytest.mark.parametrize("value", [0, 1, 8000, "4GB", "1.5 GiB", "2h", "500"])
def test_plain_resources_pass(value: int | str) -> None:
    Overrides(set_resources={"align": {"mem_mb": value}}).check()


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (Overrides(set_resources={"align": {"mem_mb": "__import__('os').system('id')"}}), "set_resources.align.mem_mb"),
        (Overrides(set_resources={"align": {"mem_mb": "attempt * 1000"}}), "set_resources.align.mem_mb"),
        (Overrides(set_resources={"align": {"mem_mb": -1}}), "set_resources.align.mem_mb"),
        (Overrides(set_resources={"align": {"mem_mb": ""}}), "set_resources.align.mem_mb"),
        (Overrides(set_resources={"--config": {"mem_mb": 1}}), "set_resources"),
        (Overrides(set_resources={"align": {"mem mb": 1}}), "set_resources.align"),
        (Overrides(set_resources={"a" * 256: {"mem_mb": 1}}), "set_resources"),
        (Overrides(set_threads={"align": 0}), "set_threads.align"),
        (Overrides(set_threads={"align=1 --x": 1}), "set_threads"),
        (Overrides(targets=["--cores"]), "targets"),
        (Overrides(targets=["a\nb"]), "targets"),
        (Overrides(until=[""]), "until"),
        (Overrides(forcerun=["-R"]), "forcerun"),
    ],
)
def test_values_that_are_not_plain_are_refused(overrides: Overrides, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        overrides.check()
    assert caught.value.field == field


def test_overrides_of_another_version_are_read() -> None:
    assert Overrides.from_json({"forceall": True, "later": 1}) == Overrides(forceall=True)
