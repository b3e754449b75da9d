"""A gate is a point where a workflow waits for a person's decision; it lies between attempts, so no process waits."""

import difflib
import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from snakeway.errors import Invalid
from snakeway.gatefile import MAX_ANSWER_BYTES


class GateState(StrEnum):
    """Where a gate of a run stands.

    OPEN      its rule was reached and waits for a decision about the evidence as it is.
    APPROVED  somebody approved that evidence, perhaps with an answer. That is not taken back: jobs may have used it.
    REJECTED  somebody rejected it. The run has failed, until somebody changes their mind.
    EXPIRED   nobody decided before its deadline. The run has failed; a re-run asks again.

    New evidence opens the gate again, whatever was decided before.
    """

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


_S = GateState
_SHOWN = 5  # gates in a sentence
REFUSED = frozenset({_S.REJECTED, _S.EXPIRED})  # a run that waits for such a gate has failed

MOVES: dict[GateState, frozenset[GateState]] = {
    _S.OPEN: frozenset({_S.APPROVED, _S.REJECTED, _S.EXPIRED}),
    _S.APPROVED: frozenset({_S.APPROVED, _S.OPEN}),  # another answer; new evidence
    _S.REJECTED: frozenset({_S.APPROVED, _S.REJECTED, _S.OPEN}),  # another mind; new evidence
    _S.EXPIRED: frozenset({_S.OPEN}),
}


def asked_again(state: GateState, *, same_evidence: bool) -> GateState:
    """Return where a gate stands when its rule has waited (again). A decision about this very evidence holds."""
    return state if same_evidence and state in (_S.APPROVED, _S.REJECTED) else _S.OPEN


def sentence(gates: Sequence[tuple[str, GateState, str | None, str]]) -> str:
    """Say what a run waits for, or why it does not any more; each gate as (name, state, decided by, comment)."""
    for name, state, by, comment in gates:
        if state is _S.REJECTED:
            return f"{by} rejected {name}{f': {comment}' if comment else '.'}"
        if state is _S.EXPIRED:
            return f"Nobody decided about {name} before its deadline."
    waiting = [name for name, state, _, _ in gates if state is _S.OPEN]
    shown = ", ".join(waiting[:_SHOWN]) + (f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else "")
    return f"Waits for a decision: {shown}." if waiting else "Goes on: everything was decided."


def find(names: Sequence[str], wanted: str) -> str | None:
    """Return the gate that somebody means: its name, or the end of it if only one ends so, with or without suffix."""
    if wanted in names:
        return wanted
    ending = [name for name in names if f"/{name}".endswith((f"/{wanted}", f"/{wanted}{PurePosixPath(name).suffix}"))]
    return ending[0] if len(ending) == 1 else None


def not_found(names: Sequence[str], wanted: str) -> str:
    """Return the words for a gate that is not there."""
    close = difflib.get_close_matches(wanted[:200], names)
    if close:
        return f"there is no gate {wanted[:200]!r}; did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return "the run has no gates, or has not reached them"
    return f"there is no gate {wanted[:200]!r}; there {'are' if len(names) > 1 else 'is'} {', '.join(names[:20])}"


def check_answer(answer: Any, schema: dict[str, Any] | None) -> None:
    """Raise Invalid unless the answer is what the gate's schema wants; ``field`` is the member at fault.

    The schema comes from a workflow: it may refer to nothing but itself, neither to files nor to other hosts.
    """
    if len(json.dumps(answer)) > MAX_ANSWER_BYTES:
        raise Invalid(f"an answer has at most {MAX_ANSWER_BYTES} bytes; put the rest into a file", field="answer")
    if schema is None:
        return
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        named = schema if isinstance(schema.get("$schema"), str) else {}
        validator = validator_for(named, default=Draft202012Validator)
        validator.check_schema(schema)
        worst = best_match(validator(schema, registry=Registry()).iter_errors({} if answer is None else answer))
    except Exception as error:  # noqa: BLE001  the library raises of all kinds when a schema is odd
        said = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise Invalid(f"the gate's schema is itself not valid: {said}", field="answer") from None
    if worst is not None:
        where = ".".join(["answer", *map(str, worst.absolute_path)])
        raise Invalid(f"the answer does not fit the gate: {worst.message[:500]}", field=where)
