"""Outputs in storages: collected by the names on record, listed, sent in parts, whole, and all in one archive."""

import hashlib
import io
import logging
import os
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from snakeway.blobs import Blobs, Storages
from snakeway.blobs.local import LocalBlobs
from snakeway.blobs.s3 import S3Blobs
from snakeway.bootstrap import open_location
from snakeway.errors import BlobsRefused
from snakeway.model.artifact import Kind
from snakeway.model.blob import S3Location, location_of
from snakeway.model.job import Job, JobState
from snakeway.rows import ArtifactRow, AttemptRow, RunRow, now
from snakeway.store import artifacts, attempts
from snakeway.supervisor import collect
from tests.integration.blobs.conftest import in_new_bucket
from tests.integration.test_api_fixtures import Api
from tests.support.s3 import S3Server

pytest_plugins = ["tests.integration.test_api_fixtures"]

pytestmark = pytest.mark.xdist_group("gateway")

DATA = os.urandom(3 * 1024 * 1024 + 17)  # several pieces
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Place:
    """Where a target keeps the files of a run, and the storage there."""

    url: str
    blobs: Blobs

    @property
    def address(self) -> str:
        """What Snakemake calls it."""
        assert isinstance(self.blobs, S3Blobs)
        return f"s3://{self.blobs.location.bucket}/{self.blobs.location.prefix}"


def place_on(server: S3Server) -> Place:
    blobs = in_new_bucket(server)
    return Place(server.blobs_url(blobs.location.bucket, blobs.location.prefix), blobs)


@pytest.fixture(params=["local", "moto", "gateway"])
def place(request: pytest.FixtureRequest, as_user: Callable[[S3Server], None], tmp_path: Path) -> Place:
    """Empty storage of every kind."""
    if request.param == "local":
        folder = tmp_path / "storage"
        return Place(f"file://{folder}", LocalBlobs(folder))
    server = request.getfixturevalue(request.param)
    as_user(server)
    return place_on(server)


@pytest.fixture
def bucket(server: S3Server) -> Place:
    """Empty storage in a bucket, once on each kind of server."""
    return place_on(server)


@pytest.fixture
def moto_bucket(moto: S3Server, as_user: Callable[[S3Server], None]) -> Place:
    """Empty storage in a bucket of moto."""
    as_user(moto)
    return place_on(moto)


def add(api: Api, run: RunRow, place: Place, path: str, data: bytes, **members: Any) -> None:
    """Put an object there and commit its record."""
    place.blobs.put(path, data)
    blob = place.blobs.stat(path)
    assert blob is not None
    values = {
        "run_id": run.id,
        "path": path,
        "kind": Kind.TARGET,
        "storage_url": place.url,
        "size_bytes": len(data),
        "mtime": blob.modified.timestamp(),
        "etag": blob.etag,
        "sha256": hashlib.sha256(data).hexdigest(),
        "rule": "fit",
        "attempt_id": api.newest(run).id,
        "job_number": 3,
        "created_at": now(),
    } | members
    with api.store.write() as tx:
        artifacts.save(tx, [values])


class TestDownload:
    @pytest.fixture
    def run(self, sqlite_api: Api, place: Place) -> RunRow:
        run = sqlite_api.add_run()
        add(sqlite_api, run, place, "deep/ü b.bin", DATA)
        add(sqlite_api, run, place, "empty", b"")
        return run

    def test_an_object_is_sent_through_the_server(self, sqlite_api: Api, run: RunRow) -> None:
        path = f"/runs/{run.id}/artifacts/deep/ü b.bin?redirect=false"
        whole = sqlite_api.request("GET", path)
        assert (whole.status_code, whole.content) == (200, DATA)
        assert whole.headers["content-length"] == str(len(DATA))
        assert whole.headers["etag"] == f'"{SHA}"'
        assert whole.headers["repr-digest"].startswith("sha-256=:")
        assert whole.headers["content-disposition"].startswith("attachment;")
        assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"
        part = sqlite_api.request("GET", path, headers={"Range": "bytes=1048570-2097160"})
        assert (part.status_code, part.content) == (206, DATA[1048570:2097161])
        assert part.headers["content-range"] == f"bytes 1048570-2097160/{len(DATA)}"
        end = sqlite_api.request("GET", path, headers={"Range": "bytes=-5", "If-Range": f'"{SHA}"'})
        assert (end.status_code, end.content) == (206, DATA[-5:])
        behind = sqlite_api.request("GET", path, headers={"Range": f"bytes={len(DATA)}-"})
        assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
        same = sqlite_api.request("GET", path, headers={"If-None-Match": f'"{SHA}"'})
        assert (same.status_code, same.content) == (304, b"")

    def test_an_empty_object(self, sqlite_api: Api, run: RunRow) -> None:
        response = sqlite_api.request("GET", f"/runs/{run.id}/artifacts/empty?redirect=false")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == "0"

    def test_the_head_is_the_server_s_own(self, sqlite_api: Api, run: RunRow) -> None:
        head = sqlite_api.request("HEAD", f"/runs/{run.id}/artifacts/deep/ü b.bin", follow_redirects=False)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(DATA))
        assert head.headers["repr-digest"].startswith("sha-256=:")

    def test_an_object_is_had_from_its_own_address(self, sqlite_api: Api, run: RunRow, place: Place) -> None:
        asked = f"/runs/{run.id}/artifacts/deep/ü b.bin"
        response = sqlite_api.request("GET", asked, follow_redirects=False)
        if isinstance(place.blobs, LocalBlobs):  # has no addresses
            assert (response.status_code, response.content) == (200, DATA)
            return
        assert response.status_code == 307
        assert response.headers["cache-control"] == "no-store"
        url = response.headers["location"]
        assert "X-Amz-Expires=900" in url
        got = httpx.get(url, trust_env=False)
        assert (got.status_code, got.content) == (200, DATA)
        assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC%20b.bin"
        part = httpx.get(url, headers={"Range": "bytes=0-3"}, trust_env=False)
        assert (part.status_code, part.content) == (206, DATA[:4])

    def test_what_was_changed_has_no_digest(self, sqlite_api: Api, run: RunRow, place: Place) -> None:
        place.blobs.put("empty", b"not any more")
        response = sqlite_api.request("GET", f"/runs/{run.id}/artifacts/empty?redirect=false")
        assert response.content == b"not any more"
        assert "repr-digest" not in response.headers

    def test_what_is_gone_is_not_found(self, sqlite_api: Api, run: RunRow, place: Place) -> None:
        place.blobs.delete("empty")
        for query in ("", "?redirect=false"):
            sqlite_api.refused("GET", f"/runs/{run.id}/artifacts/empty{query}", "artifact_not_found")
        assert sqlite_api.request("HEAD", f"/runs/{run.id}/artifacts/empty").status_code == 404

    def test_only_what_is_on_record_is_handed_out(self, sqlite_api: Api, run: RunRow, place: Place) -> None:
        place.blobs.put("secret", b"of the storage's owner")
        sqlite_api.refused("GET", f"/runs/{run.id}/artifacts/secret", "artifact_not_found")


def test_a_storage_that_does_not_serve_is_said(sqlite_api: Api, moto_bucket: Place) -> None:
    run = sqlite_api.add_run()
    add(sqlite_api, run, moto_bucket, "a", DATA)
    nowhere = moto_bucket.url.replace("s3://test-", "s3://nothing-")
    with sqlite_api.store.write() as tx:
        row = tx.get(ArtifactRow, (run.id, "a"))
        assert row is not None
        row.storage_url = nowhere
        tx.add(row)
    for path in ("artifacts/a", "artifacts/a?redirect=false", "archive"):
        assert "nothing-" in sqlite_api.refused("GET", f"/runs/{run.id}/{path}", "blobs_refused")["detail"]


class TestArchive:
    def test_everything_wherever_it_lies_in_order(self, sqlite_api: Api, place: Place) -> None:
        run = sqlite_api.add_run()
        long = "/".join(["folder" * 5] * 9) + "/ü.txt"  # longer than an old header holds
        sqlite_api.add_artifact(run, "b/local.txt", b"local")
        add(sqlite_api, run, place, "c.bin", DATA)
        add(sqlite_api, run, place, long, b"x" * 512)
        add(sqlite_api, run, place, "empty", b"")
        response = sqlite_api.request("GET", f"/runs/{run.id}/archive")
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-tar"
        assert response.headers["content-disposition"] == f'attachment; filename="{run.id}.tar"'
        again = sqlite_api.request("GET", f"/runs/{run.id}/archive")
        assert again.content == response.content
        with tarfile.open(fileobj=io.BytesIO(response.content)) as tar:
            read = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
            assert all(member.isreg() and member.mode == 0o644 for member in tar.getmembers())
        assert list(read) == sorted(read)
        assert read == {"b/local.txt": b"local", "c.bin": DATA, long: b"x" * 512, "empty": b""}

    def test_only_targets(self, sqlite_api: Api) -> None:
        run = sqlite_api.add_run()
        sqlite_api.add_artifact(run, "asked", b"1", kind=Kind.TARGET)
        sqlite_api.add_artifact(run, "made", b"2")
        for kind, names in (("target", ["asked"]), ("intermediate", ["made"])):
            content = sqlite_api.request("GET", f"/runs/{run.id}/archive", params={"kind": kind}).content
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                assert tar.getnames() == names
            assert [each["path"] for each in sqlite_api.get(f"/runs/{run.id}/artifacts", kind=kind)["items"]] == names
        sqlite_api.refused("GET", f"/runs/{run.id}/archive?kind=all", "invalid_request")

    def test_a_run_without_outputs_has_none(self, sqlite_api: Api) -> None:
        run = sqlite_api.add_run()
        sqlite_api.refused("GET", f"/runs/{run.id}/archive", "artifact_not_found")
        head = sqlite_api.request("HEAD", f"/runs/{run.id}/archive")
        assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/x-tar")

    def test_no_run(self, sqlite_api: Api) -> None:
        sqlite_api.refused("GET", f"/runs/{'0' * 36}/archive", "run_not_found")

    @pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out"])
    def test_a_name_that_leads_elsewhere_is_not_packed(self, name: str, sqlite_api: Api, moto_bucket: Place) -> None:
        run = sqlite_api.add_run()
        for storage_url, code in ((None, "artifact_not_found"), (moto_bucket.url, "invalid_request")):
            values = {"storage_url": storage_url, "attempt_id": api_attempt(sqlite_api, run)}
            row = ArtifactRow(
                run_id=run.id, path=name, size_bytes=1, mtime=1.0, job_number=1, created_at=now(), **values
            )
            with sqlite_api.store.write() as tx:
                tx.merge(row)
            sqlite_api.refused("GET", f"/runs/{run.id}/archive", code)

    def test_links_out_of_the_run_are_not_packed(self, sqlite_api: Api, tmp_path: Path) -> None:
        run = sqlite_api.add_run()
        file = sqlite_api.add_artifact(run, "a", b"1")
        (tmp_path / "secret").write_bytes(b"2")
        file.unlink()
        file.symlink_to(tmp_path / "secret")
        sqlite_api.refused("GET", f"/runs/{run.id}/archive", "artifact_not_found")


def api_attempt(api: Api, run: RunRow) -> str:
    return api.newest(run).id


class TestCollecting:
    """With outputs as Snakemake's storage plugin names them."""

    def attempt(self, api: Api, run: RunRow, place: Place, *jobs: Job) -> AttemptRow:
        row = api.newest(run)
        api.add_jobs(row, *jobs)
        with api.store.write() as tx:
            found = attempts.get(tx, row.id)
            assert found is not None
            found.storage_url = place.url
            found.collect_owner = "me"
            tx.add(found)
        return api.newest(run)

    def job(self, number: int, *outputs: str, directories: tuple[str, ...] = ()) -> Job:
        return Job(
            number=number,
            rule="fit",
            state=JobState.SUCCEEDED,
            outputs=[*outputs, *directories],
            directories=list(directories),
        )

    def collect(self, api: Api, attempt: AttemptRow, **settings: Any) -> dict[str, Any]:
        told = api.settings.model_copy(update=settings)
        collect.digest(api.store, told, Storages(open_location), attempt)
        return {each["path"]: each for each in api.get(f"/runs/{attempt.run_id}/artifacts")["items"]}

    def test_outputs_are_found_where_they_are(self, sqlite_api: Api, bucket: Place) -> None:
        run = sqlite_api.add_run()
        names = ("a.txt", "plots/1.txt", "plots/deep/2.txt", "plots/.snakemake_timestamp", "other.txt")
        for name in names:
            bucket.blobs.put(name, name.encode())
        sqlite_api.write_file(run, "here.txt", b"local")
        at = bucket.address
        told = (
            self.job(1, f"{at}a.txt", f"{at}gone.txt", "here.txt"),
            self.job(2, directories=(f"{at}plots",)),
            Job(number=3, state=JobState.FAILED, outputs=[f"{at}other.txt"]),
        )
        with sqlite_api.store.write() as tx:
            artifacts.request(tx, run.id, [f"{at}plots", "here.txt", f"{at}gone.txt"])
        found = self.collect(sqlite_api, self.attempt(sqlite_api, run, bucket, *told))
        assert {path: each["kind"] for path, each in found.items()} == {
            "a.txt": "intermediate",
            "here.txt": "target",
            "plots/1.txt": "target",
            "plots/deep/2.txt": "target",
        }
        assert found["a.txt"]["sha256"] == hashlib.sha256(b"a.txt").hexdigest()
        assert (found["a.txt"]["size_bytes"], found["a.txt"]["job"]) == (5, 1)
        assert found["plots/deep/2.txt"]["sha256"] == hashlib.sha256(b"plots/deep/2.txt").hexdigest()
        with sqlite_api.store.read() as tx:
            assert artifacts.to_collect(tx, "me", 10) == []

    def test_what_lies_elsewhere_is_not_touched(
        self, sqlite_api: Api, bucket: Place, server: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = sqlite_api.add_run()
        assert isinstance(bucket.blobs, S3Blobs)
        above = location_of(server.blobs_url(bucket.blobs.location.bucket))
        assert isinstance(above, S3Location)
        S3Blobs(above).put("lab/secret.txt", b"of another run")
        claims = (
            f"{bucket.address}../secret.txt",
            f"s3://{above.bucket}/lab/secret.txt",
            "s3://other/a.txt",
            "file:///etc/passwd",
        )
        told = self.job(1, *claims), self.job(2, directories=(f"s3://{above.bucket}/lab",))
        with caplog.at_level(logging.WARNING):
            assert self.collect(sqlite_api, self.attempt(sqlite_api, run, bucket, *told)) == {}
        assert caplog.text.count("is not listed") == 5

    def test_a_large_object_has_no_digest(self, sqlite_api: Api, moto_bucket: Place) -> None:
        run = sqlite_api.add_run()
        moto_bucket.blobs.put("large", b"12345")
        moto_bucket.blobs.put("small", b"1234")
        told = self.job(1, f"{moto_bucket.address}large", f"{moto_bucket.address}small")
        found = self.collect(sqlite_api, self.attempt(sqlite_api, run, moto_bucket, told), digest_max_bytes=4)
        assert found["large"]["sha256"] is None
        assert found["small"]["sha256"] == hashlib.sha256(b"1234").hexdigest()

    def test_a_storage_that_does_not_serve_loses_nothing(self, sqlite_api: Api, moto_bucket: Place) -> None:
        run = sqlite_api.add_run()
        sqlite_api.write_file(run, "here.txt", b"local")
        location = moto_bucket.blobs.location  # type: ignore[attr-defined]
        client = moto_bucket.blobs._client()  # type: ignore[attr-defined]
        client.delete_bucket(Bucket=location.bucket)
        told = self.job(1, "here.txt", f"{moto_bucket.address}a.txt")
        attempt = self.attempt(sqlite_api, run, moto_bucket, told)
        with pytest.raises(BlobsRefused):
            self.collect(sqlite_api, attempt)
        assert [each["path"] for each in sqlite_api.get(f"/runs/{run.id}/artifacts")["items"]] == ["here.txt"]
        with sqlite_api.store.read() as tx:
            assert [row.id for row in artifacts.to_collect(tx, "me", 10)] == [attempt.id]
        client.create_bucket(Bucket=location.bucket)
        moto_bucket.blobs.put("a.txt", b"back")
        assert self.collect(sqlite_api, attempt).keys() == {"here.txt", "a.txt"}

    def test_a_later_attempt_adds_and_forgets(self, sqlite_api: Api, moto_bucket: Place) -> None:
        run = sqlite_api.add_run()
        at = moto_bucket.address
        for name in ("kept", "temp"):
            moto_bucket.blobs.put(name, b"1")
        sqlite_api.write_file(run, "temp-here", b"1")
        first = self.attempt(sqlite_api, run, moto_bucket, self.job(1, f"{at}kept", f"{at}temp", "temp-here"))
        assert self.collect(sqlite_api, first).keys() == {"kept", "temp", "temp-here"}
        moto_bucket.blobs.delete("temp")
        (sqlite_api.reads.directory(run.id).path / "temp-here").unlink()
        moto_bucket.blobs.put("new", b"2")
        sqlite_api.end(run)
        sqlite_api.add_attempt(run)
        with sqlite_api.store.write() as tx:
            artifacts.request(tx, run.id, [f"{at}kept"])
        found = self.collect(sqlite_api, self.attempt(sqlite_api, run, moto_bucket, self.job(1, f"{at}new")))
        assert {path: (each["kind"], each["attempt"]) for path, each in found.items()} == {
            "kept": ("target", 1),
            "new": ("intermediate", 2),
        }


def test_a_stream_that_is_left_lets_go_of_its_connection(sqlite_api: Api, moto_bucket: Place) -> None:
    from snakeway.api.sources import ObjectSource

    moto_bucket.blobs.put("a", DATA)
    blob = moto_bucket.blobs.stat("a")
    assert blob is not None
    source = ObjectSource.of(moto_bucket.blobs, blob, (0, blob.size_bytes))
    assert source.read()
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join()
    assert source.read() == b""
