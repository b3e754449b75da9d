"""Gates: which wait for a person, and what the person decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from snakeway.errors import EvidenceChanged, GateDecided, GateExpired, GateNotFound
from snakeway.gatefile import Verdict
from snakeway.model import gate as rules
from snakeway.model.gate import GateState
from snakeway.model.user import Action, User
from snakeway.rows import DecisionRow, GateRow, RunRow, now
from snakeway.service.access import check_ours, find
from snakeway.store import Store, Transaction, gates, runs
from snakeway.store.page import Page


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody decides about a gate."""

    gate: str  # its name, or an end of it that no other gate of the run has
    verdict: Verdict
    answer: Any = None
    comment: str = ""
    digest: str | None = None  # of the evidence that was looked at; None: whatever it is now


class Gates:
    """Reads and decides gates. ``wake`` tells an embedded supervisor that there is something to do."""

    def __init__(self, store: Store, wake: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._wake = wake

    def list(self, user: User, states: Sequence[GateState], cursor: str | None, limit: int) -> Page[GateRow]:
        """Return a page of the gates of all runs that ``user`` may see; raises InvalidCursor."""
        with self._store.read() as tx:
            return gates.list_(tx, None if user.admin else user.id, states, cursor, limit)

    def of_run(self, user: User, run_id: str) -> tuple[Sequence[GateRow], Sequence[DecisionRow]]:
        """Return the gates that a run has reached and everything that was decided about them; raises RunNotFound."""
        with self._store.read() as tx:
            find(tx, user, run_id)
            return gates.of_run(tx, run_id), gates.decisions(tx, run_id)

    def decide(self, user: User, run_id: str, choice: Choice) -> tuple[RunRow, GateRow]:
        """Record a decision, and let the run go on if it waited for that; returns both as they stand.

        A run that is under way goes on with it afterwards. One that failed for other reasons than gates stays failed:
        a re-run finds the decision. Another answer than before has what was made of the first one made anew.

        Raises RunNotFound, Forbidden, OutsideRun, GateNotFound, GateExpired, GateDecided, EvidenceChanged, and Invalid
        for an answer that does not fit the gate's schema.
        """
        with self._store.read() as tx:
            check_ours(find(tx, user, run_id, Action.CONTROL))
            shown = _the_gate(tx, run_id, choice.gate)
        approved = choice.verdict is Verdict.APPROVED
        if approved:  # before anything is locked: a schema may be slow
            rules.check_answer(choice.answer, shown.answer_schema)
        with self._store.write() as tx:
            run = find(tx, user, run_id, Action.CONTROL, lock=True)
            gate = _the_gate(tx, run_id, shown.name)
            at = now()
            if gate.state is GateState.EXPIRED or (
                gate.state is GateState.OPEN and gate.deadline_at is not None and gate.deadline_at < at
            ):
                raise GateExpired(f"nobody decided about {gate.name} in time; 'snakeway rerun {run_id}' asks again")
            if gate.state is GateState.APPROVED and not approved:
                raise GateDecided(
                    f"{gate.name} was approved by {gate.decided_by}; approve it with another answer instead"
                )
            if gate.digest != (choice.digest or shown.digest):
                raise EvidenceChanged(f"the evidence of {gate.name} is not what it was; look at it again")
            gates.decide(tx, gate, choice.verdict, choice.answer if approved else None, choice.comment, user.id, at)
            gates.go_on(tx, run)
            run = runs.settle(tx, run_id)
        self._wake()
        return run, gate


def _the_gate(tx: Transaction, run_id: str, wanted: str) -> GateRow:
    names = [gate.name for gate in gates.of_run(tx, run_id)]
    name = rules.find(names, wanted)
    gate = gates.get(tx, run_id, name) if name is not None else None
    if gate is None:
        raise GateNotFound(rules.not_found(names, wanted))
    return gate
