"""Times that come from events, in which anything may stand."""

from datetime import UTC, datetime


def moment(seconds: float | None) -> datetime | None:
    """Return the time ``seconds`` after the epoch; None for None and for what is no time."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError, TypeError):
        return None
