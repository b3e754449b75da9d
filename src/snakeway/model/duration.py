"""Lengths of time as people write them: ``30m``, ``2h``, ``1.5d``."""

import re
from datetime import timedelta

from snakeway.errors import Invalid

_LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(text: str) -> timedelta:
    """Read a number and a unit (s, m, h, d or w); raises Invalid."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise Invalid(f"{text!r} is not a length of time such as 90s, 30m, 2h, 7d or 4w")
    return timedelta(seconds=float(found[1]) * _UNIT_S[found[2]])
