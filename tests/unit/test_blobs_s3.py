"""How the answers of S3 servers are understood, and who has to import what speaks to them."""

import logging
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError

from snakeway.blobs.base import Measured
from snakeway.blobs.s3 import _PARTS_OF_A_SIZE, PART_BYTES, S3Blobs, _parts
from snakeway.blobs.s3errors import explained
from snakeway.errors import (
    BlobExists,
    BlobNotFound,
    BlobsRefused,
    BlobsUnavailable,
    RangeNotSatisfiable,
    SnakewayError,
)
from snakeway.model.blob import S3Location
from snakeway.settings import Settings

WHERE = S3Location("bucket", "p/", "http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, BlobNotFound),
        ("NoSuchBucket", 404, BlobsRefused),
        ("PreconditionFailed", 412, BlobExists),
        ("InvalidRange", 416, RangeNotSatisfiable),
        ("ConditionalRequestConflict", 409, BlobsUnavailable),
        ("SlowDown", 503, BlobsUnavailable),
        ("500", 500, BlobsUnavailable),
        ("TooManyRequestsException", 429, BlobsUnavailable),
        ("RequestTimeout", 400, BlobsUnavailable),
        ("AccessDenied", 403, BlobsRefused),
        ("SignatureDoesNotMatch", 403, BlobsRefused),
        ("RequestTimeTooSkewed", 403, BlobsRefused),
        ("PermanentRedirect", 301, BlobsRefused),
        ("NewCodeOfTomorrow", 400, BlobsRefused),
    ],
)
def test_codes(code: str, status: int, expected: type[SnakewayError]) -> None:
    answer = {
        "Error": {"Code": code, "Message": "key AKIAHUSH is not known"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    with pytest.raises(expected) as caught, explained(WHERE, "k"):
        raise ClientError(answer, "PutObject")  # type: ignore[arg-type,unused-ignore]
    assert type(caught.value) is expected
    assert "AKIAHUSH" not in caught.value.detail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectTimeoutError(endpoint_url="http://127.0.0.1:9000"), BlobsUnavailable),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:9000"), BlobsUnavailable),
        (NoCredentialsError(), BlobsRefused),
    ],
)
def test_no_answer(error: Exception, expected: type[SnakewayError]) -> None:
    with pytest.raises(expected, match=r"the bucket bucket at http://127.0.0.1:9000"), explained(WHERE, "k"):
        raise error


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_parts(size: int) -> None:
    sizes = [len(part) for part in _parts(Measured(iter([bytes(size // 3), bytes(size - size // 3)])))]
    assert sum(sizes) == size
    assert all(each == PART_BYTES for each in sizes[:-1])
    assert len(sizes) == max(1, -(-size // PART_BYTES))


def test_the_largest_input_fits_into_the_parts_that_an_upload_may_have() -> None:
    largest_bytes = sum(PART_BYTES << (number // _PARTS_OF_A_SIZE) for number in range(10_000))
    setting = Settings.model_fields["max_input_bytes"]
    assert setting.default <= largest_bytes
    assert f"{largest_bytes // 1024**3} GiB" in str(setting.description)


def test_signing_needs_no_server_and_logs_no_credentials(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush-hush")
    with caplog.at_level(logging.INFO):
        url = S3Blobs(WHERE).presigned_url("a/b", 60, "results.tsv")
    assert url is not None
    assert url.startswith("http://127.0.0.1:9000/bucket/p/a/b?")
    assert "hush" not in url + caplog.text


def test_who_does_not_use_s3_does_not_import_it() -> None:
    code = (
        "import sys, snakeway.bootstrap, snakemake_logger_plugin_snakeway; from snakeway.settings import Settings; "
        "snakeway.bootstrap.open_blobs(Settings()).stat('k'); "
        "print([name for name in ('botocore', 'boto3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plugin_does_not_know_of_object_storage() -> None:
    code = (
        "import sys, snakemake_logger_plugin_snakeway; "
        "print([name for name in sys.modules if name.startswith(('botocore', 'snakeway.blobs'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
