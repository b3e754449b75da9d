"""Finding a run for somebody."""

from snakeway import ids
from snakeway.errors import Forbidden, OutsideRun, RunActive, RunNotFound
from snakeway.model.run import ACTIVE
from snakeway.model.user import Action, User, may
from snakeway.rows import RunRow
from snakeway.store import Transaction, runs


def find(tx: Transaction, user: User, run_id: str, action: Action = Action.READ, *, lock: bool = False) -> RunRow:
    """Return a run that ``user`` may do ``action`` to.

    Raises:
        RunNotFound: there is none, or the user may not even know of it.
        Forbidden: the user may see it, but not do this.

    """
    run = (runs.lock if lock else runs.get)(tx, run_id) if ids.is_id(run_id) else None
    if run is None or not may(user, Action.READ, run.owner):
        raise RunNotFound(f"there is no run {run_id}; 'snakeway runs' lists those there are")
    if not may(user, action, run.owner):
        raise Forbidden(f"run {run_id} is not yours to {action}")
    return run


def check_ours(run: RunRow) -> None:
    """Raise OutsideRun when the run was started by hand, so that nothing here has a hold on it."""
    if run.outside:
        where = run.source.get("directory") or "its own directory"
        raise OutsideRun(
            f"run {run.id} was started by hand and is only recorded here: stop it, or go on with it, in {where}"
        )


def check_ended(run: RunRow) -> None:
    """Raise RunActive unless the run has ended."""
    if run.state in ACTIVE:
        how = "wait for its end" if run.outside else f"wait for its end, or cancel it with 'snakeway cancel {run.id}'"
        raise RunActive(f"run {run.id} is {run.state}; {how}")
