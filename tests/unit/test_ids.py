"""Ids: their layout, their order, and what is derived from them."""

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from snakeway.ids import first_id_at, is_id, new_id, span_id, trace_id

MILLISECONDS = st.integers(0, 2**48 - 1)
MOMENTS = st.integers(10**9, 10**11).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
PARTS = st.lists(st.integers(0, 10**6) | st.uuids().map(str), min_size=1, max_size=4)


@given(MILLISECONDS)
def test_an_id_is_a_uuid_of_version_7(at_ms: int) -> None:
    made = uuid.UUID(new_id(at_ms))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == at_ms


@given(MILLISECONDS, MILLISECONDS)
def test_ids_sort_by_creation_as_text(first: int, second: int) -> None:
    if first < second:
        assert new_id(first) < new_id(second)


def test_an_id_tells_the_time_of_its_creation() -> None:
    before = datetime.now(UTC)
    made = uuid.UUID(new_id())
    created = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert before - timedelta(milliseconds=1) <= created <= datetime.now(UTC)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_id(5) for _ in range(1000)}) == 1000


@given(MOMENTS, st.integers(1, 10**6))
def test_a_bound_divides_earlier_from_later_ids(moment: datetime, apart_ms: int) -> None:
    at_ms = int(moment.timestamp() * 1000)
    assert new_id(at_ms - apart_ms) < first_id_at(moment) <= new_id(at_ms)


@given(st.uuids())
def test_only_the_usual_form_is_an_id(value: uuid.UUID) -> None:
    assert is_id(str(value))
    assert not is_id(value.hex)
    assert not is_id(f"{{{value}}}")
    assert not is_id(f"{value} ")


@given(st.text())
def test_other_text_is_not_an_id(text: str) -> None:
    assert not is_id(text) or str(uuid.UUID(text)) == text


@given(st.uuids(version=4))
def test_the_trace_id_is_the_run_id(value: uuid.UUID) -> None:
    assert f"{trace_id(str(value)):032x}" == value.hex


@given(PARTS, PARTS)
def test_span_ids_are_valid_repeatable_and_distinct(one: list[str | int], other: list[str | int]) -> None:
    assert 0 < span_id(*one) < 2**64
    assert span_id(*one) == span_id(*one)
    assert (span_id(*one) == span_id(*other)) == ([*map(str, one)] == [*map(str, other)])
