import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from snakeway.api import files
from snakeway.errors import LogNotFound
from snakeway.model.attempt import AttemptState
from snakeway.model.job import Job
from snakeway.rows import RunRow
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]

LOG = b"".join(b"line %d\n" % i for i in range(10))


@pytest.fixture
def run(sqlite_api: Api) -> RunRow:
    """A run whose snakemake has written ten lines."""
    run = sqlite_api.add_run()
    sqlite_api.directory(run).log.write_bytes(LOG)
    return run


def test_a_log_is_sent_as_text(sqlite_api: Api, run: RunRow) -> None:
    response = sqlite_api.request("GET", f"/runs/{run.id}/log")
    assert response.status_code == 200
    assert response.content == LOG
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["etag"].startswith('"')


RANGES = [
    ("bytes=0-4", 206, LOG[:5], "bytes 0-4/70"),
    ("bytes=60-", 206, LOG[60:], "bytes 60-69/70"),
    ("bytes=-6", 206, LOG[-6:], "bytes 64-69/70"),
    ("bytes=0-999", 206, LOG, "bytes 0-69/70"),
    ("bytes=0-1,5-6", 200, LOG, None),
    ("bytes=9-3", 200, LOG, None),
    ("items=0-1", 200, LOG, None),
]


@pytest.mark.parametrize(("asked", "status", "content", "content_range"), RANGES)
def test_a_part_is_sent_on_request(
    sqlite_api: Api, run: RunRow, asked: str, status: int, content: bytes, content_range: str | None
) -> None:
    response = sqlite_api.request("GET", f"/runs/{run.id}/log", headers={"Range": asked})
    assert (response.status_code, response.content) == (status, content)
    assert response.headers.get("content-range") == content_range
    assert response.headers["content-length"] == str(len(content))


def test_a_part_behind_the_end_is_refused(sqlite_api: Api, run: RunRow) -> None:
    response = sqlite_api.request("GET", f"/runs/{run.id}/log", headers={"Range": "bytes=70-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */70"
    assert response.json()["code"] == "range_not_satisfiable"


def test_an_empty_file_has_no_parts(sqlite_api: Api, run: RunRow) -> None:
    sqlite_api.directory(run).log.write_bytes(b"")
    for query in ("", "?tail=5"):
        response = sqlite_api.request("GET", f"/runs/{run.id}/log{query}", headers={"Range": "bytes=0-"})
        assert (response.status_code, response.content) == (200, b"")


def test_head_tells_the_size_only(sqlite_api: Api, run: RunRow) -> None:
    response = sqlite_api.request("HEAD", f"/runs/{run.id}/log", headers={"Range": "bytes=0-1"})
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "70"
    assert sqlite_api.request("HEAD", f"/runs/{run.id}/artifacts/nothing").status_code == 404


def test_the_tag_saves_sending_and_guards_ranges(sqlite_api: Api, run: RunRow) -> None:
    path = f"/runs/{run.id}/log"
    tag = sqlite_api.request("GET", path).headers["etag"]
    same = sqlite_api.request("GET", path, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    part = {"Range": "bytes=0-1"}
    assert sqlite_api.request("GET", path, headers={**part, "If-Range": tag}).status_code == 206
    assert sqlite_api.request("GET", path, headers={**part, "If-Range": '"other"'}).status_code == 200
    with sqlite_api.directory(run).log.open("ab") as log:
        log.write(b"more\n")
    changed = sqlite_api.request("GET", path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.content) == (200, LOG + b"more\n")
    assert sqlite_api.request("GET", path, headers={**part, "If-Range": tag}).status_code == 200


@pytest.mark.parametrize(("lines", "expected"), [(1, b"line 9\n"), (3, b"line 7\nline 8\nline 9\n"), (100_000, LOG)])
def test_the_last_lines_are_sent(sqlite_api: Api, run: RunRow, lines: int, expected: bytes) -> None:
    response = sqlite_api.request("GET", f"/runs/{run.id}/log?tail={lines}", headers={"Range": "bytes=0-1"})
    assert (response.status_code, response.content) == (200, expected)


@pytest.mark.parametrize("tail", ["0", "-1", "100001", "x", ""])
def test_the_number_of_last_lines_is_bounded(sqlite_api: Api, run: RunRow, tail: str) -> None:
    assert sqlite_api.refused("GET", f"/runs/{run.id}/log?tail={tail}", "invalid_request")["field"] == "tail"


def test_there_may_be_no_log(sqlite_api: Api, run: RunRow) -> None:
    sqlite_api.end(run)
    sqlite_api.add_attempt(run)
    sqlite_api.refused("GET", f"/runs/{run.id}/log", "log_not_found")
    sqlite_api.refused("GET", f"/runs/{run.id}/log?attempt=3", "attempt_not_found")
    assert sqlite_api.request("GET", f"/runs/{run.id}/log?attempt=1").content == LOG


def test_a_job_s_log_is_the_first_that_exists(sqlite_api: Api, run: RunRow) -> None:
    attempt = sqlite_api.newest(run)
    sqlite_api.add_jobs(attempt, Job(number=1, logs=["logs/no.log", "logs/b.log"]), Job(number=2))
    path = f"/runs/{run.id}/jobs/1/log"
    sqlite_api.refused("GET", path, "log_not_found")
    sqlite_api.write_file(run, "logs/b.log", b"1\n2\n3\n")
    assert sqlite_api.request("GET", path).content == b"1\n2\n3\n"
    assert sqlite_api.request("GET", path, headers={"Range": "bytes=2-3"}).content == b"2\n"
    assert sqlite_api.request("GET", f"{path}?tail=1&attempt=1").content == b"3\n"
    sqlite_api.refused("GET", f"/runs/{run.id}/jobs/2/log", "log_not_found")
    sqlite_api.refused("GET", f"/runs/{run.id}/jobs/3/log", "job_not_found")


def test_a_log_that_leads_out_of_the_run_is_not_sent(sqlite_api: Api, run: RunRow, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    attempt = sqlite_api.newest(run)
    sqlite_api.add_jobs(attempt, Job(number=1, logs=["../../../secret", str(secret), "a\0b", "link"]))
    sqlite_api.write_file(run, "x", b"").with_name("link").symlink_to(secret)
    sqlite_api.refused("GET", f"/runs/{run.id}/jobs/1/log", "log_not_found")
    log = sqlite_api.directory(run).log
    log.unlink()
    log.symlink_to(secret)
    sqlite_api.refused("GET", f"/runs/{run.id}/log", "log_not_found")


CONTENT = bytes(range(256)) * 10
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_artifacts_are_listed_by_path(api: Api) -> None:
    run = api.add_run()
    for name in ("b.txt", "a/ü.bin", "a/z.txt"):
        api.add_artifact(run, name, CONTENT, sha256=DIGEST)
    page = api.get(f"/runs/{run.id}/artifacts", limit=2)
    rest = api.get(f"/runs/{run.id}/artifacts", limit=2, cursor=page["next"])
    assert [each["path"] for each in page["items"] + rest["items"]] == ["a/z.txt", "a/ü.bin", "b.txt"]
    assert rest["next"] is None
    first = page["items"][0]
    assert first.pop("mtime").endswith("Z")
    expected = {"size_bytes": 2560, "sha256": DIGEST, "rule": "fit", "attempt": 1, "job": 3, "path": "a/z.txt"}
    expected["kind"] = "intermediate"
    assert first == expected
    api.refused("GET", f"/runs/{run.id}/artifacts?cursor=%25", "invalid_cursor")


def test_an_artifact_is_sent_as_an_attachment_with_its_digest(api: Api) -> None:
    run = api.add_run()
    api.add_artifact(run, 'a b/ü "1".html', CONTENT, sha256=DIGEST)
    response = api.request("GET", f"/runs/{run.id}/artifacts/a%20b/%C3%BC%20%221%22.html")
    assert response.content == CONTENT
    assert response.headers["etag"] == f'"{DIGEST}"'
    digest = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert response.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert response.headers["content-type"] == "text/html"
    assert response.headers["content-security-policy"].startswith("sandbox")
    name = "%C3%BC%20%221%22.html"
    assert response.headers["content-disposition"] == f"attachment; filename=\"_ _1_.html\"; filename*=UTF-8''{name}"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.tsv.gz", "application/octet-stream"), ("a.unknown", "application/octet-stream"), ("a.csv", "text/csv")],
)
def test_an_artifact_s_type_is_told_by_its_name(sqlite_api: Api, name: str, media_type: str) -> None:
    run = sqlite_api.add_run()
    sqlite_api.add_artifact(run, name, CONTENT)
    response = sqlite_api.request("GET", f"/runs/{run.id}/artifacts/{name}", headers={"Range": "bytes=1-2"})
    assert (response.status_code, response.content) == (206, CONTENT[1:3])
    assert response.headers["content-type"] == media_type
    assert "repr-digest" not in response.headers


def test_a_changed_artifact_does_not_bear_its_old_digest(sqlite_api: Api) -> None:
    run = sqlite_api.add_run()
    file = sqlite_api.add_artifact(run, "a.bin", CONTENT, sha256=DIGEST)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    response = sqlite_api.request("GET", f"/runs/{run.id}/artifacts/a.bin")
    assert response.status_code == 200
    assert response.headers["etag"] != f'"{DIGEST}"'
    assert "repr-digest" not in response.headers


@pytest.mark.parametrize(
    "path", ["nothing", "..%2f..%2fsnakeway.db", "%2e%2e/x", "a%00b", "a", "link", ".snakeway/run.json"]
)
def test_what_is_no_artifact_is_not_sent(sqlite_api: Api, path: str) -> None:
    run = sqlite_api.add_run()
    file = sqlite_api.add_artifact(run, "a/b", CONTENT)
    file.with_name("b").unlink()
    sqlite_api.add_artifact(run, "link", b"")
    link = sqlite_api.reads.directory(run.id).path / "link"
    link.unlink()
    link.symlink_to("/etc/hostname")
    sqlite_api.refused("GET", f"/runs/{run.id}/artifacts/{path}", "artifact_not_found")


async def collected(chunks: Any) -> list[bytes]:
    return [chunk async for chunk in chunks]


def opened(path: Path) -> files.OpenFile:
    return files.OpenFile(path, LogNotFound("gone"), path.parent)


@pytest.mark.anyio
async def test_a_file_that_grows_is_sent_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (files.CHUNK_BYTES + 10))
    file = opened(path)
    with path.open("ab") as log:
        log.write(b"more")
    chunks = await collected(files.chunks(file, 0, file.size))
    assert [len(chunk) for chunk in chunks] == [files.CHUNK_BYTES, 10]
    file.close()


@pytest.mark.anyio
async def test_a_file_that_shrinks_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    file = opened(path)
    path.write_bytes(b"y" * 10)
    assert await collected(files.chunks(file, 0, file.size)) == [b"y" * 10]
    file.close()
    file.close()
    assert await collected(files.chunks(file, 0, 10)) == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "nothing"])
def test_only_plain_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)  # opening one would wait for its writer
        case "link":
            path.symlink_to(__file__)
    with pytest.raises(LogNotFound):
        opened(path)


def test_everything_of_an_ended_run_can_still_be_read(api: Api) -> None:
    run = api.add_run()
    api.directory(run).log.write_bytes(LOG)
    api.end(run, AttemptState.CANCELLED)
    assert api.request("GET", f"/runs/{run.id}/log").content == LOG
