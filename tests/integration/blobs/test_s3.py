"""What only storage in a service can do wrong: keys that are refused, servers that are not there, URLs that expire."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from snakeway.blobs import Blobs
from snakeway.blobs.s3 import S3Blobs
from snakeway.errors import BlobExists, BlobsRefused, BlobsUnavailable, SnakewayError
from snakeway.model.blob import S3Location
from tests.support.s3 import S3Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("gateway")

BOUND_S = 60  # three tries of a second each, on a machine that does much else


def every_use(blobs: Blobs) -> list[Callable[[], object]]:
    return [
        lambda: blobs.put("k", b""),
        lambda: blobs.put("k", b"", only_new=True),
        lambda: blobs.put("k", [bytes(9 * 1024 * 1024)]),
        lambda: blobs.get("k"),
        lambda: blobs.stat("k"),
        lambda: list(blobs.list()),
        lambda: blobs.delete("k"),
    ]


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_bucket_that_is_not_there(s3: S3Blobs) -> None:
    blobs = S3Blobs(replace(s3.location, bucket="no-such-bucket"))
    for use in every_use(blobs):
        with pytest.raises(BlobsRefused, match="no bucket no-such-bucket"):
            use()


def test_a_wrong_secret(strict: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush" * 8)
    for use in every_use(S3Blobs(strict.location)):
        with pytest.raises(BlobsRefused, match="AWS_SECRET_ACCESS_KEY") as caught:
            use()
        assert "hush" not in everything_said(caught.value)


def test_an_unknown_key(strict: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-at-all")
    with pytest.raises(BlobsRefused, match="InvalidAccessKeyId") as caught:
        S3Blobs(strict.location).put("k", b"")
    assert "nobody-at-all" not in caught.value.detail


def everything_said(error: BaseException | None) -> str:
    said = []
    while error is not None:
        said.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def test_no_credentials(s3: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for use in every_use(S3Blobs(s3.location)):
        with pytest.raises(BlobsRefused, match="no credentials"):
            use()


def test_nobody_answers(as_user: Callable[[S3Server], None]) -> None:
    as_user(S3Server("", "k", "s"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with silent() as mute:
        for endpoint in (nobody, mute):
            blobs = S3Blobs(S3Location("bucket", "", endpoint, "us-east-1"), connect_s=1, silence_s=1)
            started = time.monotonic()
            with pytest.raises(BlobsUnavailable, match="does not answer"):
                blobs.stat("k")
            assert time.monotonic() - started < BOUND_S


def test_a_url_that_has_expired_or_was_changed(strict: S3Blobs) -> None:
    strict.put("k", b"content")
    short, whole = strict.presigned_url("k", 1), strict.presigned_url("k", 60)
    assert short is not None
    assert whole is not None
    refused = httpx.codes.FORBIDDEN
    wait_until(lambda: httpx.get(short).status_code == refused, timeout_s=30, what="the URL to expire")
    assert httpx.get(whole).content == b"content"
    assert httpx.get(whole.replace("/k?", "/other?")).status_code == refused


def test_an_upload_that_breaks_leaves_nothing(s3: S3Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(20 * 1024 * 1024)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        s3.put("k", broken())
    left = s3._client().list_multipart_uploads(Bucket=s3.location.bucket)
    assert "Uploads" not in left


def test_somebody_else_is_first_while_parts_are_sent(s3: S3Blobs) -> None:
    def slow() -> Iterator[bytes]:
        yield bytes(17 * 1024 * 1024)
        S3Blobs(s3.location).put("k", b"theirs")
        yield bytes(1024)

    try:
        s3.put("k", slow(), only_new=True)
    except BlobExists:
        assert s3.get("k") == b"theirs"
    else:  # a server without a conditional end of uploads: the last one stays, as the interface says
        assert s3.stat("k") is not None


def test_other_prefixes_are_not_seen(s3: S3Blobs) -> None:
    other = S3Blobs(replace(s3.location, prefix="lab/snakeway-2/"))
    other.put("k", b"theirs")
    s3.put("k", b"ours")
    assert [blob.key for blob in s3.list()] == ["k"]
    s3.delete("k")
    assert other.get("k") == b"theirs"


def test_errors_say_where(s3: S3Blobs) -> None:
    with pytest.raises(SnakewayError) as caught:
        s3.get("k")
    assert s3.location.bucket in caught.value.detail
    assert str(s3.location.endpoint) in caught.value.detail
