"""Which runs a rule names, over every combination of what a rule can ask for."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from snakeway.errors import Invalid
from snakeway.model.retention import Rule, check_states
from snakeway.model.run import ENDED, RunState

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@dataclass
class Ended:
    state: RunState = RunState.FAILED
    workflow: str = "w"
    labels: dict[str, str] = field(default_factory=dict)
    ended_at: datetime | None = NOW - timedelta(days=31)


STATES: list[frozenset[RunState]] = [frozenset(), frozenset({RunState.FAILED}), ENDED]
LABELS = [{}, {"a": "1"}, {"a": "1", "b": "2"}]
OF_RUN = [{}, {"a": "1"}, {"a": "2"}, {"a": "1", "b": "2"}, {"a": "1", "keep": ""}]


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("ended_days_ago", [None, 29, 30, 31])
def test_every_combination(state: RunState, ended_days_ago: int | None) -> None:
    ended_at = None if ended_days_ago is None else NOW - timedelta(days=ended_days_ago)
    for states, wanted, workflow, labels, own in product(STATES, LABELS, [None, "w", "v"], OF_RUN, ["w", "v"]):
        expected = (
            state in ENDED
            and (not states or state in states)
            and ended_days_ago in (30, 31)
            and workflow in (None, own)
            and all(labels.get(key) == value for key, value in wanted.items())
            and "keep" not in labels
        )
        rule = Rule(MONTH, states, wanted, workflow)
        assert rule.matches(Ended(state, own, labels, ended_at), NOW, "keep") is expected, (rule, labels, own)


def test_the_label_that_keeps_a_run_has_any_value_and_a_name_of_choice() -> None:
    run = Ended(labels={"precious": "no"})
    assert not Rule(MONTH).matches(run, NOW, "precious")
    assert Rule(MONTH).matches(run, NOW, "keep")
    assert not Rule(MONTH, labels={"precious": "no"}).matches(run, NOW, "precious")


def test_a_rule_that_reaches_beyond_the_calendar_names_nothing() -> None:
    assert not Rule(timedelta(weeks=999_999)).matches(Ended(), NOW, "keep")


@pytest.mark.parametrize("state", RunState)
def test_a_rule_is_about_ended_runs(state: RunState) -> None:
    if state in ENDED:
        assert check_states([state, state]) == {state}
    else:
        with pytest.raises(Invalid, match="only ended runs") as caught:
            check_states([RunState.FAILED, state])
        assert caught.value.field == "states"


def test_a_rule_as_it_is_recorded() -> None:
    rule = Rule(timedelta(days=1), ENDED, {"a": "1"}, "w")
    assert rule.to_json() == {
        "older_than_s": 86400.0,
        "states": ["cancelled", "failed", "succeeded"],
        "labels": {"a": "1"},
        "workflow": "w",
    }
