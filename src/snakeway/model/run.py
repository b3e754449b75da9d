"""A run is what a user asked for; its state is settled from its attempts, never set by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from snakeway.model.attempt import HELD, AttemptState


class RunState(StrEnum):
    """Where a run stands, computed by :func:`settle`.

    QUEUED     its newest attempt waits for a supervisor.
    RUNNING    its newest attempt is held by a supervisor.
    PAUSED     its newest attempt ended and only a person's decision keeps it from going on.
    SUCCEEDED, FAILED, CANCELLED   as its newest attempt ended (a lost one that is not tried again: failed).
    """

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_R = RunState
ENDED = frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED})
ACTIVE = frozenset({_R.QUEUED, _R.RUNNING})
RESTING = ENDED | {_R.PAUSED}  # nothing happens by itself

# A re-run brings an ended run back to the queue. A run that was started by hand goes on whenever somebody goes on with
# it, or when an attempt that seemed lost is heard of again. Nothing else leaves an end.
MOVES: dict[RunState, frozenset[RunState]] = {
    _R.QUEUED: frozenset({_R.RUNNING, _R.SUCCEEDED, _R.FAILED, _R.CANCELLED}),
    _R.RUNNING: frozenset({_R.QUEUED, _R.PAUSED, _R.SUCCEEDED, _R.FAILED, _R.CANCELLED}),
    _R.PAUSED: frozenset({_R.QUEUED, _R.RUNNING, _R.FAILED, _R.CANCELLED}),
    _R.SUCCEEDED: frozenset({_R.QUEUED, _R.RUNNING}),
    _R.FAILED: frozenset({_R.QUEUED, _R.RUNNING, _R.PAUSED}),  # a rejected gate was approved after all
    _R.CANCELLED: frozenset({_R.QUEUED, _R.RUNNING}),
}

_FROM_ENDED_ATTEMPT = {
    AttemptState.SUCCEEDED: _R.SUCCEEDED,
    AttemptState.FAILED: _R.FAILED,
    AttemptState.CANCELLED: _R.CANCELLED,
    AttemptState.LOST: _R.FAILED,
}


@dataclass(frozen=True, slots=True)
class Gates:
    """How the gates stand that alone kept the newest attempt from succeeding."""

    refused: bool = False  # one of them was rejected, or not decided in time
    cancelled: bool = False  # somebody did not want to wait any more


def settle(attempts: Sequence[tuple[AttemptState, bool]], gates: Gates | None = None) -> RunState:
    """Return the run's state from its attempts, oldest first, each as (state, is a dry run).

    ``gates`` is None unless the newest attempt failed for nothing but gates.

    A dry run of a run that has real attempts is a question about it and does not change its state. The sequence must
    not be empty: a run is committed together with its first attempt.
    """
    real = [state for state, dry_run in attempts if not dry_run]
    newest = real[-1] if real else attempts[-1][0]
    if newest is AttemptState.QUEUED:
        return RunState.QUEUED
    if newest in HELD:
        return RunState.RUNNING
    if newest is AttemptState.FAILED and gates is not None:
        if gates.cancelled:
            return RunState.CANCELLED
        return RunState.FAILED if gates.refused else RunState.PAUSED
    return _FROM_ENDED_ATTEMPT[newest]


def may_recover(attempts: Sequence[AttemptState], *, stop_requested: bool, max_recoveries: int) -> bool:
    """Whether a run whose newest attempt was lost is to be started again by itself.

    Counts the losses since the last attempt that ended in another way, so that a run which somebody re-runs gets
    its full number of recoveries again.
    """
    losses = 0
    for state in reversed(attempts):
        if state is not AttemptState.LOST:
            break
        losses += 1
    return 0 < losses <= max_recoveries and not stop_requested
