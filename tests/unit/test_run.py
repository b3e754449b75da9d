import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model import attempt as attempt_rules
from snakeway.model.attempt import AttemptState
from snakeway.model.run import ACTIVE, ENDED, MOVES, Gates, RunState, may_recover, settle

A = AttemptState
R = RunState


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        (A.QUEUED, R.QUEUED),
        (A.STARTING, R.RUNNING),
        (A.RUNNING, R.RUNNING),
        (A.SUCCEEDED, R.SUCCEEDED),
        (A.FAILED, R.FAILED),
        (A.CANCELLED, R.CANCELLED),
        (A.LOST, R.FAILED),
    ],
)
@pytest.mark.parametrize("earlier", [[], [(A.FAILED, False)], [(A.SUCCEEDED, False), (A.LOST, False)]])
def test_a_run_is_where_its_newest_attempt_is(earlier: list[tuple[A, bool]], newest: A, expected: R) -> None:
    assert settle([*earlier, (newest, False)]) is expected


@pytest.mark.parametrize("question", list(A))
def test_a_dry_run_of_a_real_run_changes_nothing(question: A) -> None:
    assert settle([(A.FAILED, False), (question, True)]) is R.FAILED


def test_a_run_that_is_only_a_dry_run_follows_it() -> None:
    assert settle([(A.RUNNING, True)]) is R.RUNNING
    assert settle([(A.FAILED, True), (A.SUCCEEDED, True)]) is R.SUCCEEDED


def test_what_leaves_an_end() -> None:
    assert MOVES[R.SUCCEEDED] == MOVES[R.CANCELLED] == {R.QUEUED, R.RUNNING}
    assert MOVES[R.FAILED] == {R.QUEUED, R.RUNNING, R.PAUSED}, "a gate that was rejected may be approved after all"
    assert ACTIVE | ENDED | {R.PAUSED} == set(R)


@pytest.mark.parametrize(
    ("gates", "state"),
    [
        (None, R.FAILED),
        (Gates(), R.PAUSED),
        (Gates(refused=True), R.FAILED),
        (Gates(cancelled=True), R.CANCELLED),
        (Gates(refused=True, cancelled=True), R.CANCELLED),
    ],
)
def test_a_run_that_only_gates_kept_from_succeeding(gates: Gates | None, state: R) -> None:
    assert settle([(A.FAILED, False)], gates) is state
    assert settle([(A.FAILED, False), (A.SUCCEEDED, True)], gates) is state, "a dry run is a question"
    assert settle([(A.FAILED, False), (A.QUEUED, False)], gates) is R.QUEUED


attempt_moves = st.lists(st.sampled_from(sorted(A)), min_size=1, max_size=12)


@given(attempt_moves)
def test_every_way_through_an_attempt_is_a_way_through_a_run(wanted: list[A]) -> None:
    """Whatever allowed moves the attempts make, the settled run makes allowed moves."""
    attempts = [A.QUEUED]
    state = settle([(A.QUEUED, False)])
    for new in wanted:
        if new in attempt_rules.MOVES[attempts[-1]]:
            attempts[-1] = new
        elif attempts[-1] in attempt_rules.ENDED:
            attempts.append(A.QUEUED)
        settled = settle([(attempt, False) for attempt in attempts])
        assert settled is state or settled in MOVES[state]
        state = settled


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([A.LOST], True),
        ([A.LOST] * 3, True),
        ([A.LOST] * 4, False),
        ([A.LOST, A.FAILED], False),
        ([A.LOST, A.LOST, A.LOST, A.FAILED, A.LOST], True),
        ([A.SUCCEEDED], False),
    ],
)
def test_lost_runs_are_started_again_a_bounded_number_of_times(attempts: list[A], expected: bool) -> None:
    assert may_recover(attempts, stop_requested=False, max_recoveries=3) is expected


def test_a_run_that_is_to_stop_is_not_started_again() -> None:
    assert not may_recover([A.LOST], stop_requested=True, max_recoveries=3)
    assert not may_recover([A.LOST], stop_requested=False, max_recoveries=0)
