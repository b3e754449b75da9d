"""What S3 has against a request, in words."""

from typing import Any

import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from snakeway.model.failure import FailureKind
from snakeway.model.storage import StorageTrouble, wrong_prefix

K = FailureKind
URL = "http://127.0.0.1:9000"

CODES: list[tuple[str, int | None, FailureKind, str]] = [
    ("EndpointConnectionError", None, K.STORAGE_UNREACHABLE, f"nothing answers at {URL}"),
    ("ConnectTimeoutError", None, K.STORAGE_UNREACHABLE, "no connection in time"),
    ("SSLError", None, K.STORAGE_UNREACHABLE, "certificate"),
    ("SlowDown", 503, K.STORAGE_UNREACHABLE, "run it again later"),
    ("500", 500, K.STORAGE_UNREACHABLE, "(500)"),
    ("CodeOfTomorrow", 429, K.STORAGE_UNREACHABLE, "run it again later"),
    ("NoSuchBucket", 404, K.STORAGE_REFUSED, f"There is no bucket lab at {URL}: make it"),
    ("SignatureDoesNotMatch", 403, K.STORAGE_REFUSED, "correct AWS_SECRET_ACCESS_KEY"),
    ("InvalidAccessKeyId", 403, K.STORAGE_REFUSED, "correct AWS_ACCESS_KEY_ID"),
    ("ExpiredToken", 400, K.STORAGE_REFUSED, "have expired"),
    ("RequestTimeTooSkewed", 403, K.STORAGE_REFUSED, "clock"),
    ("PermanentRedirect", 301, K.STORAGE_REFUSED, "another region"),
    ("AccessDenied", 403, K.STORAGE_REFUSED, "may not do this (AccessDenied, 403)"),
    ("403", 403, K.STORAGE_REFUSED, "may not do this (403)"),
    ("NoCredentialsError", None, K.STORAGE_REFUSED, f"no credentials for the bucket lab at {URL}"),
    ("ParamValidationError", None, K.STORAGE_REFUSED, "'lab' cannot be the name of a bucket"),
    ("CodeOfTomorrow", 400, K.STORAGE_REFUSED, "(CodeOfTomorrow, 400)"),
]


@pytest.mark.parametrize(("code", "status", "kind", "words"), CODES)
def test_codes(code: str, status: int | None, kind: FailureKind, words: str) -> None:
    found, said = StorageTrouble(code, status, "lab", URL).judge()
    assert found is kind
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("code", [code for code, status, _, _ in CODES if status is None])
def test_names_of_exceptions_are_botocores(code: str) -> None:
    assert issubclass(getattr(boto, code), boto.BotoCoreError)


@pytest.mark.parametrize("told", [None, [], "x", {}, {"code": 3}, {"bucket": "b"}])
def test_what_was_not_told(told: Any) -> None:
    assert StorageTrouble.from_json(told) is None


def test_what_was_told() -> None:
    told = {"code": "NoSuchBucket", "status": 404, "bucket": "b", "endpoint": None, "more": 1}
    assert StorageTrouble.from_json(told) == StorageTrouble("NoSuchBucket", 404, "b")


@given(st.text(), st.none() | st.integers(), st.none() | st.text(), st.none() | st.text())
def test_every_trouble_is_judged(code: str, status: int | None, bucket: str | None, endpoint: str | None) -> None:
    trouble = StorageTrouble(code, status, bucket, endpoint)
    assert trouble.judge()[1]
    assert trouble.nothing == (not code)


@pytest.mark.parametrize(("prefix", "words"), [("$SNAKEMAKE_S3_PREFIX", "is named: set SNAKEMAKE"), ("/x", "'/x'")])
def test_prefixes(prefix: str, words: str) -> None:
    assert words in wrong_prefix(prefix)
