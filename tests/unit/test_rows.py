"""Rows without a database."""

import pytest
from sqlalchemy.orm.exc import UnmappedInstanceError
from sqlmodel import Session

from snakeway import ids
from snakeway.model.attempt import AttemptState
from snakeway.rows import AttemptRow, RunRow, now


def test_a_record_has_what_a_row_has() -> None:
    given = {"id": ids.new_id(), "run_id": ids.new_id(), "number": 1, "owner": "ada", "target": "local"}
    given |= {"digest": "sha256:0", "config": {"a": 1}, "created_at": now()}
    record, row = AttemptRow.record(**given), AttemptRow(**given)
    names = AttemptRow.model_fields
    assert {name: getattr(record, name) for name in names} == {name: getattr(row, name) for name in names}
    assert record.state is AttemptState.QUEUED
    assert not record.had_jobs


def test_no_session_takes_a_record() -> None:
    record = RunRow.record(id=ids.new_id(), owner="ada", workflow="w", digest="", target="local", created_at=now())
    with Session() as session, pytest.raises(UnmappedInstanceError):
        session.add(record)
    with pytest.raises(AttributeError):
        record.note = "changed"
