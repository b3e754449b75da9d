from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakeway.errors import Invalid
from snakeway.model.duration import parse_duration

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1.5h", timedelta(hours=1.5)),
        (" 30 d ", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
        ("999999w", timedelta(weeks=999999)),
    ],
)
def test_a_length_of_time(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "+1d", "1e3s", "1d2h", "30 days", "1000000s", "1.d", "٣d", "30D"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(Invalid, match="is not a length of time"):
        parse_duration(text)


@given(number=st.integers(0, 999_999), unit=st.sampled_from(sorted(UNITS)), blanks=st.sampled_from(["", " ", "\t"]))
def test_every_whole_number_of_every_unit(number: int, unit: str, blanks: str) -> None:
    assert parse_duration(f"{blanks}{number}{blanks}{unit}") == timedelta(**{UNITS[unit]: number})


@given(st.text(max_size=12))
def test_any_text_is_a_length_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert parse_duration(text) >= timedelta()
