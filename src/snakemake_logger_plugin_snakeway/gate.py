"""Whether a failed job is a gate: one that `snakeway gate` ended because a person has to decide first."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any


def request_for(directory: Path, outputs: Sequence[str], exit_code: int | None) -> dict[str, Any]:
    """Return the members of an event that a gate has: its request. Empty for every other job."""
    from snakeway.gatefile import REJECTED, WAITING, read_decision, read_request  # only once something has failed

    if exit_code not in (WAITING, REJECTED):
        return {}
    for output in outputs:
        request = read_request(directory, output)
        if request is not None and request.gate == output:
            decision = read_decision(directory, output) if exit_code == REJECTED else None
            rejected = {"by": decision.by, "reason": decision.reason} if decision is not None else None
            return {"gate": {**asdict(request), "rejected": rejected}}
    return {}
