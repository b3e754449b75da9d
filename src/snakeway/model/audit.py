"""What is remembered of removals."""

from enum import StrEnum


class AuditAction(StrEnum):
    """What was done to a run.

    DELETE  somebody removed this one run.
    PRUNE   somebody removed all runs that a rule named.
    EXPIRE  a supervisor removed it by a rule of the settings.
    """

    DELETE = "delete"
    PRUNE = "prune"
    EXPIRE = "expire"
