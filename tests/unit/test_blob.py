"""What may be a key, and how an installation says where its objects are."""

import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from snakeway.blobs.base import CHUNK_BYTES, Measured
from snakeway.blobs.local import LocalBlobs
from snakeway.errors import Invalid
from snakeway.model.blob import (
    MOST_KEY_BYTES,
    MOST_PART_BYTES,
    FolderLocation,
    S3Location,
    check_key,
    check_prefix,
    location_of,
)
from snakeway.settings import Settings

PARTS = st.text(max_size=12) | st.sampled_from([".", "..", "", "a", "a.blob", "a.blob-", "x" * 201])
TEXTS = st.text(max_size=40) | st.lists(PARTS, max_size=6).map("/".join)


def is_key(text: str) -> bool:
    try:
        check_key(text)
    except Invalid:
        return False
    return True


@given(TEXTS)
def test_a_key_stays_below_its_folder_and_can_be_written_down(text: str) -> None:
    if not is_key(text):
        return
    assert posixpath.normpath(text) == text
    assert not text.startswith("/")
    assert len(text.encode()) <= MOST_KEY_BYTES
    assert all(0 < len(part.encode()) <= MOST_PART_BYTES for part in text.split("/"))
    assert "\x00" not in text
    path = LocalBlobs(Path("/blobs"))._path(text)
    assert Path(posixpath.normpath(path)).is_relative_to("/blobs/objects")
    assert len(path.name.encode()) < 256


@given(TEXTS, TEXTS)
def test_different_keys_are_different_files_and_never_in_each_other(one: str, other: str) -> None:
    if not (is_key(one) and is_key(other)) or one == other:
        return
    first, second = (LocalBlobs(Path("/blobs"))._path(key) for key in (one, other))
    assert first != second
    assert first not in second.parents


@given(TEXTS, st.integers(0, 40))
def test_every_beginning_of_a_key_is_a_prefix(text: str, end: int) -> None:
    if is_key(text):
        assert check_prefix(text[:end]) == text[:end]


@pytest.mark.parametrize("key", ["a", "sha256/ab/cdef", "a b", "ü/名", ".a", "a.", "...", "-x", "\\", "a" * 200])
def test_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "\x7f", "a\tb", "\u2028", "\ud800", "\uffff", "a/" * 401]
)
def test_no_keys(key: str) -> None:
    with pytest.raises(Invalid):
        check_key(key)


@pytest.mark.parametrize("prefix", ["/a", "a//", "../", "a\n"])
def test_no_prefixes(prefix: str) -> None:
    with pytest.raises(Invalid):
        check_prefix(prefix)


@given(st.lists(st.binary(max_size=50)))
def test_what_goes_by_is_measured(pieces: list[bytes]) -> None:
    measured = Measured(pieces)
    assert b"".join(bytes(each) for each in measured) == b"".join(pieces)
    assert measured.written == _written(b"".join(pieces))


def _written(data: bytes) -> object:
    measured = Measured(data)
    list(measured)
    return measured.written


def test_large_pieces_are_cut() -> None:
    assert [len(each) for each in Measured(bytes(2 * CHUNK_BYTES + 1))] == [CHUNK_BYTES, CHUNK_BYTES, 1]


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("file:///srv/blobs", FolderLocation(Path("/srv/blobs"))),
        ("file://localhost/a%20b", FolderLocation(Path("/a b"))),
        ("s3://bucket", S3Location("bucket")),
        ("s3://bucket/", S3Location("bucket")),
        ("s3://bucket/a/b/", S3Location("bucket", "a/b/")),
        (
            "s3://bucket/p?endpoint=http://127.0.0.1:9000/&region=eu-1",
            S3Location("bucket", "p/", "http://127.0.0.1:9000", "eu-1"),
        ),
        ("s3://bucket?endpoint=https%3A%2F%2Fs3.example.org", S3Location("bucket", "", "https://s3.example.org")),
    ],
)
def test_locations(url: str, location: object) -> None:
    assert location_of(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blobs",
        "/srv/blobs",
        "gs://bucket",
        "file://srv/blobs",
        "file:blobs",
        "file:///a?b=c",
        "s3://",
        "s3:///a",
        "s3://b",
        "s3://bucket/../x",
        "s3://bucket/a#b",
        "s3://bucket?secret=hush",
        "s3://bucket?region=",
        "s3://bucket?endpoint=example.org",
        "s3://bucket?endpoint=http://h:x",
        "s3://bucket?endpoint=http://h/path",
        "s3://[bucket",
    ],
)
def test_no_locations(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        location_of(url)
    assert "hush" not in caught.value.detail


@pytest.mark.parametrize(
    "url", ["s3://key:hush@bucket/p", "s3://key@bucket", "s3://bucket?endpoint=http://key:hush@127.0.0.1:9000"]
)
def test_credentials_do_not_belong_into_the_url(url: str) -> None:
    with pytest.raises(Invalid, match="AWS_SECRET_ACCESS_KEY") as caught:
        location_of(url)
    assert "hush" not in caught.value.detail
    with pytest.raises(ValidationError, match="credentials do not belong"):
        Settings(blobs_url=url)


def test_the_default_is_in_the_data_folder(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).blobs_location == FolderLocation(tmp_path / "blobs")
