"""Which runs are removed to make room: rules about ended runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from snakeway.errors import Invalid
from snakeway.model.run import ENDED, RunState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EndedRun(Protocol):
    """What a rule has to know of a run."""

    state: RunState
    workflow: str
    labels: dict[str, str]
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rule:
    """Names ended runs; its members are combined with "and"."""

    older_than: timedelta  # since the end of the run
    states: frozenset[RunState] = frozenset()  # none: any end
    labels: Mapping[str, str] = field(default_factory=dict)  # all of them
    workflow: str | None = None

    def matches(self, run: EndedRun, at: datetime, keep_label: str) -> bool:
        """Whether the rule names ``run``. One with the label ``keep_label``, whatever its value, no rule names."""
        return (
            run.state in (self.states or ENDED)
            and run.state in ENDED
            and keep_label not in run.labels
            and run.ended_at is not None
            and run.ended_at <= self.ended_by(at)
            and (self.workflow is None or run.workflow == self.workflow)
            and self.labels.items() <= run.labels.items()
        )

    def ended_by(self, at: datetime) -> datetime:
        """Return the latest end that is old enough."""
        try:
            return max(at - self.older_than, _EPOCH)
        except OverflowError:
            return _EPOCH

    def to_json(self) -> dict[str, Any]:
        """Return the rule for a record of what it did."""
        return {
            "older_than_s": self.older_than.total_seconds(),
            "states": sorted(self.states),
            "labels": dict(self.labels),
            "workflow": self.workflow,
        }


def check_states(states: Iterable[RunState]) -> frozenset[RunState]:
    """Return the states as a rule has them; raises Invalid for one in which a run cannot be removed."""
    found = frozenset(states)
    if not found <= ENDED:
        ends = ", ".join(state for state in RunState if state in ENDED)
        raise Invalid(f"only ended runs can be removed: {ends}", field="states")
    return found
