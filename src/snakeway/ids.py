"""Identifiers: where they come from and what can be derived from them.

Runs and attempts are named by UUID version 7 (RFC 9562, section 5.7): the first 48 bits are the creation time in
milliseconds, so ids sort by creation and one index serves listing by time. Trace and span ids are derived from them,
so a span that is sent twice is the same span.
"""

import hashlib
import secrets
import time
import uuid
from datetime import datetime

_UUID7 = 7
_UUID7_VERSION = 0x7000_0000_0000_0000_0000
_RFC_VARIANT = 0x8000_0000_0000_0000


def new_id(at_ms: int | None = None) -> str:
    """Return a new UUIDv7 in its usual text form; ``at_ms`` (milliseconds since the epoch) replaces the clock."""
    time_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    low = secrets.randbits(74)
    value = (
        (time_ms & 0xFFFF_FFFF_FFFF) << 80 | _UUID7_VERSION | (low >> 62) << 64 | _RFC_VARIANT | (low & (1 << 62) - 1)
    )
    return str(uuid.UUID(int=value))


def is_id(text: str) -> bool:
    """Whether ``text`` is an id in the one form that is used in URLs, paths and rows."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def made_at(text: str) -> float | None:
    """Return when an id of :func:`new_id` was made, in seconds since the epoch; None for any other text.

    For ids that others send: one of another version would not sort by its time.
    """
    if not is_id(text):
        return None
    value = uuid.UUID(text)
    return (value.int >> 80) / 1000 if value.version == _UUID7 and value.variant == uuid.RFC_4122 else None


def first_id_at(moment: datetime) -> str:
    """Return the smallest id that an object created at ``moment`` could have: a bound for listings by time."""
    return str(uuid.UUID(int=(max(0, int(moment.timestamp() * 1000)) & 0xFFFF_FFFF_FFFF) << 80))


def trace_id(run_id: str) -> int:
    """Return the trace id of a run that no caller's trace was handed to: the run's own 128 bits."""
    return uuid.UUID(run_id).int


def span_id(*parts: str | int) -> int:
    """Return the 64-bit span id of the thing named by ``parts`` (e.g. attempt id, job number, try)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1
