"""What every kind of object storage does: one suite for all of them."""

import hashlib
import io
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from snakeway.blobs import Blobs, Data
from snakeway.errors import BlobExists, BlobNotFound, Invalid, RangeNotSatisfiable

pytestmark = pytest.mark.xdist_group("gateway")

MIB = 1024 * 1024
ODD_KEYS = [
    "a",
    "a/b",
    "a.blob",
    "a.blob/b",
    "a.blob-/b",
    "a b/c+d",
    "100%/%2F/%20",
    "~#?&=*[]{}^|\\\"'`<>;:@!$,",
    "Größe/名前/\U0001f40d",
    "-/--help",
    ".hidden/..x/...",
    "x" * 200 + "/" + "y" * 200,
    "ends with a dot.",
    "e\u0301 and \u00e9",
]


def pattern(size: int) -> bytes:
    return (hashlib.sha256(b"pattern").digest() * (size // 32 + 1))[:size]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return [blob.key for blob in blobs.list(prefix)]


class TestPutAndGet:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1])
    def test_what_is_put_is_there(self, blobs: Blobs, size: int) -> None:
        data = pattern(size)
        written = blobs.put("sha256/ab/cdef", data)
        assert (written.size_bytes, written.sha256) == (size, sha256(data))
        assert blobs.get("sha256/ab/cdef", max_bytes=max(size, 1)) == data
        assert blobs.digest("sha256/ab/cdef") == sha256(data)

    @pytest.mark.parametrize("source", [io.BytesIO, lambda data: [data[:1], b"", data[1:]], lambda data: iter([data])])
    def test_any_source(self, blobs: Blobs, source: Callable[[bytes], Data]) -> None:
        assert blobs.put("k", source(b"abc")).size_bytes == 3
        assert blobs.get("k") == b"abc"

    def test_replace(self, blobs: Blobs) -> None:
        blobs.put("k", b"old, and longer")
        before = blobs.stat("k")
        blobs.put("k", b"new")
        after = blobs.stat("k")
        assert blobs.get("k") == b"new"
        assert before is not None
        assert after is not None
        assert before.etag != after.etag

    def test_nothing_is_stored_when_the_source_breaks(self, blobs: Blobs) -> None:
        def broken(pieces: int) -> Iterator[bytes]:
            for _ in range(pieces):
                yield pattern(MIB)
            raise ConnectionResetError("the other side has gone")

        for pieces in (0, 1, 20):
            with pytest.raises(ConnectionResetError):
                blobs.put("k", broken(pieces))
        assert blobs.stat("k") is None
        assert keys(blobs) == []

    def test_too_large_to_get(self, blobs: Blobs) -> None:
        blobs.put("k", b"12345")
        assert blobs.get("k", max_bytes=5) == b"12345"
        with pytest.raises(Invalid, match="5 bytes"):
            blobs.get("k", max_bytes=4)

    def test_large_streams_take_little_memory(self, blobs: Blobs) -> None:
        size = 40 * MIB
        piece = pattern(MIB)
        tracemalloc.start()
        try:
            written = blobs.put("large", (piece for _ in range(size // MIB)))
            digest = blobs.digest("large")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert written.size_bytes == size
        assert written.sha256 == digest == sha256(piece * (size // MIB))
        assert peak < 32 * MIB  # a few parts


class TestOnlyNew:
    def test_the_first_stays(self, blobs: Blobs) -> None:
        blobs.put("k", b"first", only_new=True)
        with pytest.raises(BlobExists, match="k already"):
            blobs.put("k", b"second", only_new=True)
        assert blobs.get("k") == b"first"

    def test_the_first_stays_when_the_second_is_large(self, blobs: Blobs) -> None:
        blobs.put("k", b"first")
        with pytest.raises(BlobExists):
            blobs.put("k", (pattern(MIB) for _ in range(10)), only_new=True)
        assert blobs.get("k") == b"first"

    def test_large_and_new(self, blobs: Blobs) -> None:
        assert blobs.put("k", (pattern(MIB) for _ in range(10)), only_new=True).size_bytes == 10 * MIB

    def test_one_of_many_writers_succeeds(self, blobs: Blobs) -> None:
        writers = 6
        together = threading.Barrier(writers)

        def write(number: int) -> int | None:
            together.wait(30)
            try:
                blobs.put("k", b"%d" % number, only_new=True)
            except BlobExists:
                return None
            return number

        blobs.stat("k")  # the connection is there
        with ThreadPoolExecutor(writers) as pool:
            winners = [number for number in pool.map(write, range(writers)) if number is not None]
        assert len(winners) == 1
        assert blobs.get("k") == b"%d" % winners[0]


class TestStream:
    @pytest.mark.parametrize(
        ("first", "length", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 4, b"3456"),
            (0, 1, b"0"),
            (9, 1, b"9"),
            (8, 100, b"89"),
            (0, 100, b"0123456789"),
        ],
    )
    def test_ranges(self, blobs: Blobs, first: int, length: int | None, expected: bytes) -> None:
        blobs.put("k", b"0123456789")
        with blobs.stream("k", first=first, length=length) as chunks:
            assert chunks.size_bytes == len(expected)
            assert chunks.blob.size_bytes == 10
            assert b"".join(chunks) == expected

    @pytest.mark.parametrize(("first", "length"), [(10, None), (11, 1), (-1, None), (0, 0), (2, -1)])
    def test_no_such_range(self, blobs: Blobs, first: int, length: int | None) -> None:
        blobs.put("k", b"0123456789")
        with pytest.raises(RangeNotSatisfiable):
            blobs.stream("k", first=first, length=length)

    def test_of_nothing(self, blobs: Blobs) -> None:
        blobs.put("k", b"")
        for length in (None, 5):
            with blobs.stream("k", length=length) as chunks:
                assert list(chunks) == []
        with pytest.raises(RangeNotSatisfiable):
            blobs.stream("k", first=1)

    def test_a_range_of_a_large_object(self, blobs: Blobs) -> None:
        data = pattern(20 * MIB)
        blobs.put("k", io.BytesIO(data))
        with blobs.stream("k", first=9 * MIB + 7, length=3 * MIB) as chunks:
            assert b"".join(chunks) == data[9 * MIB + 7 : 12 * MIB + 7]

    def test_it_need_not_be_read_out(self, blobs: Blobs) -> None:
        blobs.put("k", pattern(3 * MIB))
        with blobs.stream("k") as chunks:
            next(chunks)
        chunks.close()
        with pytest.raises(StopIteration):
            next(chunks)

    def test_what_is_not_there(self, blobs: Blobs) -> None:
        blobs.put("a/b", b"")
        for key in ("a", "b", "a/b/c"):
            with pytest.raises(BlobNotFound, match="there is no object"):
                blobs.stream(key)
            with pytest.raises(BlobNotFound):
                blobs.digest(key)
            assert blobs.stat(key) is None


class TestKeys:
    def test_odd_keys_are_kept_apart(self, blobs: Blobs) -> None:
        for key in ODD_KEYS:
            blobs.put(key, key.encode(), only_new=True)
        assert keys(blobs) == sorted(ODD_KEYS, key=str.encode)
        for key in ODD_KEYS:
            assert blobs.get(key) == key.encode()
            found = blobs.stat(key)
            assert found is not None
            assert (found.key, found.size_bytes) == (key, len(key.encode()))
            assert abs(found.modified - datetime.now(UTC)) < timedelta(minutes=5)
        blobs.delete(ODD_KEYS)
        assert keys(blobs) == []

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/..", "./a", "a\nb", "a\x00", "x" * 201])
    def test_what_cannot_be_a_key(self, blobs: Blobs, key: str) -> None:
        with pytest.raises(Invalid):
            blobs.put(key, b"")
        for method in (blobs.stream, blobs.stat, blobs.delete, blobs.digest, blobs.get):
            with pytest.raises(Invalid):
                method(key)
        with pytest.raises(Invalid):
            blobs.presigned_url(key, 60)


class TestList:
    def test_prefixes(self, blobs: Blobs) -> None:
        for key in ("a/b/1", "a/b/2", "a/bc", "a!", "ab", "b"):
            blobs.put(key, b"")
        assert keys(blobs) == ["a!", "a/b/1", "a/b/2", "a/bc", "ab", "b"]
        assert keys(blobs, "a") == ["a!", "a/b/1", "a/b/2", "a/bc", "ab"]
        assert keys(blobs, "a/b") == ["a/b/1", "a/b/2", "a/bc"]
        assert keys(blobs, "a/b/") == ["a/b/1", "a/b/2"]
        assert keys(blobs, "c") == keys(blobs, "b/") == keys(blobs, "a/b/1/") == []

    def test_more_than_a_page(self, blobs: Blobs) -> None:
        expected = [f"many/{number:04}" for number in range(1_050)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: blobs.put(key, b""), expected))
        found = blobs.list("many/")
        assert next(found).key == expected[0]
        assert [blob.key for blob in found] == expected[1:]
        blobs.delete(iter(expected))
        assert keys(blobs) == []

    def test_empty(self, blobs: Blobs) -> None:
        assert keys(blobs) == []


class TestDelete:
    def test_it_may_be_gone_already(self, blobs: Blobs) -> None:
        blobs.put("a/b", b"")
        blobs.put("a/c", b"")
        blobs.delete(["a/b", "a/b", "x/y"])
        blobs.delete("a/b")
        blobs.delete([])
        assert keys(blobs) == ["a/c"]

    def test_while_others_write_beside_it(self, blobs: Blobs) -> None:
        def work(name: str) -> None:
            for _ in range(15):
                blobs.put(f"shared/folder/{name}", b"x")
                blobs.delete(f"shared/folder/{name}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, "abcd"))
        assert keys(blobs) == []


def test_presigned_urls(blobs: Blobs) -> None:
    blobs.put("a b/ü", b"content")
    url = blobs.presigned_url("a b/ü", 60, 'Ergebnis "ü".tsv')
    if url is None:
        return
    answer = httpx.get(url)
    assert answer.content == b"content"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Ergebnis%20%22%C3%BC%22.tsv"
    plain = blobs.presigned_url("a b/ü", 60)
    assert plain is not None
    assert "content-disposition" not in httpx.get(plain).headers
    assert httpx.get(plain, headers={"Range": "bytes=1-2"}).content == b"on"


@pytest.mark.parametrize("expires_s", [0, -1, 7 * 24 * 3600 + 1])
def test_expiries_that_cannot_be_signed(blobs: Blobs, expires_s: int) -> None:
    with pytest.raises(Invalid, match="seconds"):
        blobs.presigned_url("k", expires_s)
