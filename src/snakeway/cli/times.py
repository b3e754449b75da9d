"""Times and sizes as people read them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse(text: str | None) -> datetime | None:
    """Read a time of the server's; None when there is none, or it is not one."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def rfc3339(t: float) -> str:
    """Return seconds since the epoch as the server writes times."""
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(text: str | None) -> str:
    """Return a time of the server's in the local zone, to the second."""
    moment = parse(text)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def ago(text: str | None, now: datetime | None = None) -> str:
    """Return how long ago a time of the server's was."""
    moment = parse(text)
    return f"{duration(((now or datetime.now(UTC)) - moment).total_seconds())} ago" if moment else ""


def span(start: str | None, end: str | None, now: datetime | None = None) -> str:
    """Return how long something took that has a start; up to now, if it has no end."""
    begun = parse(start)
    return duration(((parse(end) or now or datetime.now(UTC)) - begun).total_seconds()) if begun else ""


def took(thing: Mapping[str, Any]) -> str:
    """Return how long a run, attempt or job has been going."""
    return span(thing["started_at"], thing["ended_at"])


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def size(count: int) -> str:
    """Return a number of bytes in a unit that keeps it short."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def moment(t: float | None) -> str:
    """Return seconds since the epoch, as an event tells them, as the server would write them; empty for no time."""
    try:
        if t is None:
            return ""
        return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return ""
