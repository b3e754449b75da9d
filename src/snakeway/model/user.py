"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What can be done to a run."""

    READ = "read"
    CONTROL = "control"  # cancel, re-run, delete


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated person or service; ``id`` is what rows name as owner."""

    id: str
    admin: bool = False


LOCAL = User("local", admin=True)  # everybody, on a server that binds to loopback and has no token


def may(user: User, action: Action, owner: str) -> bool:
    """Whether ``user`` may do ``action`` to a run of ``owner``: one's own everything, others' nothing."""
    del action  # one's own runs: everything; the distinction is for roles that may only read
    return user.admin or user.id == owner
