from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from snakeway.api.body import DEEPEST, read_json
from snakeway.api.submission import RerunRequest, RunRequest
from snakeway.errors import Invalid
from snakeway.service import Rerun, Submission


def test_a_body_becomes_what_the_service_takes() -> None:
    body = (
        b'{"workflow": {"git": {"url": "https://example.org/x.git", "path": "a"}}, "until": ["fit"], "dry_run": true}'
    )
    submission = read_json(body, RunRequest).submission()
    assert submission == Submission(
        git_url="https://example.org/x.git", git_path="a", dry_run=True, overrides=submission.overrides
    )
    assert submission.overrides.until == ["fit"]
    assert read_json(b"{}", RerunRequest).rerun() == Rerun()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"config": {"a": {"b": "\\u0000"}}}', "config"),
        (b'{"config": {"a\\u0000": 1}}', "config"),
        (b'{"targets": ["a\\\\\\u0000"]}', "targets"),
        (b'{"config": ' + b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 2), "config"),
        (b'{"nothing": 1}', "nothing"),
        (b'{"set_resources": {"fit": {"mem": []}}}', "set_resources"),
    ],
)
def test_the_member_at_fault_is_named(body: bytes, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_json(body, RerunRequest)
    assert caught.value.field == field


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read_json(b'{"config": {"a": "\\\\u0000"}}', RerunRequest).config == {"a": "\\u0000"}


def test_many_members_are_not_deep() -> None:
    wide = {"config": {str(i): [i] for i in range(1000)}}
    assert read_json(json.encode(wide), RerunRequest).config == wide["config"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(st.binary(max_size=200) | plain.map(lambda value: json.encode({"config": value})) | plain.map(json.encode))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        value: Any = read_json(body, RerunRequest)
    except Invalid:
        return
    assert isinstance(value, RerunRequest)
