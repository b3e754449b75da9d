"""Whatever is sent, the server answers with something other than an unexpected error."""

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway import ids
from snakeway.model.job import Job
from snakeway.rows import RunRow
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]

fuzzed = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

text = st.text(max_size=20) | st.sampled_from(
    ["\0", "..", "1", "-1", "99999999999999999999", "٣", "a=b", "MA", "YS9i", "%"]
)
cursors = text | st.binary(max_size=20).map(lambda data: urlsafe_b64encode(data).decode().rstrip("="))
NAMES = ["limit", "cursor", "state", "workflow", "target", "label", "owner", "created_after", "created_before"]
NAMES += ["attempt", "rule", "tail", "after", "other"]
times = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
queries = st.lists(st.tuples(st.sampled_from(NAMES), text | times | cursors), max_size=4)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
MEMBERS = ["target", "config", "set_resources", "set_threads", "targets", "until", "forcerun", "forceall", "labels"]
MEMBERS += ["note", "dry_run", "update_workflow", "webhooks"]
bodies = st.dictionaries(st.sampled_from(MEMBERS), plain, max_size=4)
sources = (
    st.just("plain") | plain | st.fixed_dictionaries({"git": st.dictionaries(st.sampled_from(["ref", "path"]), text)})
)


def told(path: str) -> str:
    return quote(path, safe="/")


@pytest.fixture
def run(api: Api) -> RunRow:
    """A run with a job, a log and an artifact, whose directory is there."""
    run = api.add_run()
    api.directory(run).log.write_bytes(b"a\nb\n")
    api.add_jobs(api.newest(run), Job(number=1, logs=["a.log"]))
    api.add_artifact(run, "a.txt", b"a")
    api.end(run)
    return run


def check(api: Api, method: str, path: str, **options: Any) -> None:
    response = api.request(method, path, **options)
    assert response.status_code < 500, f"{method} {path}: {response.text}"


PREFIXES = ["/", "/outside/", "/runs/", "/runs/{run}/", "/runs/{run}/jobs/", "/runs/{run}/artifacts/", "/workflows/"]
PATHS = [
    "",
    "/attempts",
    "/jobs",
    "/jobs?attempt=1",
    "/jobs/1",
    "/jobs/1/log",
    "/rules",
    "/log",
    "/artifacts",
    "/deliveries",
    "/events",
]


@fuzzed
@given(path=st.sampled_from([None, *PATHS]), query=queries)
def test_any_query(api: Api, run: RunRow, path: str | None, query: list[tuple[str, str]]) -> None:
    sent = "&".join(f"{name}={quote(value)}" for name, value in query)
    full = "/runs" if path is None else f"/runs/{run.id}{path}"
    check(api, "GET", f"{full}{'&' if '?' in full else '?'}{sent}")


@fuzzed
@given(raw=st.binary(max_size=40))
def test_any_query_string(api: Api, raw: bytes) -> None:
    check(api, "GET", f"/runs?{quote(raw, safe='&=%+')}")


@fuzzed
@given(cursor_of=st.sampled_from(["/runs", "/jobs", "/jobs?attempt=1", "/artifacts"]), cursor=cursors)
def test_any_cursor(api: Api, run: RunRow, cursor_of: str, cursor: str) -> None:
    path = cursor_of if cursor_of == "/runs" else f"/runs/{run.id}{cursor_of}"
    check(api, "GET", f"{path}{'&' if '?' in path else '?'}cursor={quote(cursor)}")


@fuzzed
@given(source=sources, body=bodies)
def test_any_submission(api: Api, source: Any, body: dict[str, Any]) -> None:
    check(api, "POST", "/runs", json={"workflow": source, **body})


@fuzzed
@given(body=bodies)
def test_any_rerun(api: Api, run: RunRow, body: dict[str, Any]) -> None:
    check(api, "POST", f"/runs/{run.id}/rerun", json=body)


HEADERS = ["Idempotency-Key", "traceparent", "Authorization", "Content-Type", "Accept", "Origin"]
FILE_HEADERS = ["Range", "If-Range", "If-None-Match", "Last-Event-ID"]
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)


@fuzzed
@given(content=st.binary(max_size=100))
def test_any_body(api: Api, content: bytes) -> None:
    check(api, "POST", "/runs", content=content, headers={"Content-Type": "application/json"})


@fuzzed
@given(name=st.sampled_from(HEADERS), value=values)
def test_any_header(api: Api, name: str, value: str) -> None:
    headers = {"Content-Type": b"application/json", name: value.encode("latin-1")}
    check(api, "POST", "/runs", content=b'{"workflow": "plain"}', headers=headers)


@fuzzed
@given(name=st.sampled_from(FILE_HEADERS), value=values)
def test_any_header_about_files(api: Api, run: RunRow, name: str, value: str) -> None:
    for path in ("log", "artifacts/a.txt", "events"):
        check(api, "GET", f"/runs/{run.id}/{path}", headers={"Range": "bytes=0-", name: value.encode("latin-1")})


@fuzzed
@given(prefix=st.sampled_from(PREFIXES), parts=st.lists(text, min_size=1, max_size=4))
def test_any_path(api: Api, run: RunRow, prefix: str, parts: list[str]) -> None:
    path = told("/".join(parts))
    check(api, "GET", f"{prefix.format(run=run.id)}{path}")


announcements = st.dictionaries(
    st.sampled_from(["name", "size_bytes", "sha256", "other"]), plain | st.just("a" * 64) | st.just(3), max_size=4
)


@fuzzed
@given(body=announcements)
def test_any_announcement(api: Api, body: dict[str, Any]) -> None:
    check(api, "POST", "/inputs", json=body)


@fuzzed
@given(
    offset=text | st.integers(0, 5).map(str),
    content=st.binary(max_size=6),
    part=st.text("0123456789=bytes-, ", max_size=12),
)
def test_any_piece_of_an_input(api: Api, offset: str, content: bytes, part: str) -> None:
    empty = {"name": "a", "size_bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    input_id = api.request("POST", "/inputs", json=empty).json()["id"]
    headers = {"Content-Type": "application/octet-stream", "Upload-Offset": offset.encode()}
    check(api, "PATCH", f"/inputs/{input_id}", content=content, headers=headers)
    check(api, "GET", f"/inputs/{input_id}/content", headers={"Range": part})


@fuzzed
@given(path=text, query=queries)
def test_any_query_about_inputs(api: Api, path: str, query: list[tuple[str, str]]) -> None:
    sent = "&".join(f"{name}={quote(value)}" for name, value in query)
    check(api, "GET", f"/inputs?{sent}")
    check(api, "GET", f"/inputs/{quote(path, safe='')}?{sent}")


started = st.fixed_dictionaries(
    {"seq": st.just(0), "t": st.floats() | st.integers(), "type": st.just("attempt_started"), "v": st.just(1)}
    | {name: st.just(True) for name in ("outside",)}
    | {name: st.just(False) for name in ("dry_run",)}
    | dict.fromkeys(("directory", "snakefile", "profile", "traceparent", "host", "user", "snakemake"), plain)
)


@fuzzed
@given(first=started, rest=st.lists(plain, max_size=3), offset=text, gone=text)
def test_any_events_of_a_run_by_hand(api: Api, first: dict[str, Any], rest: list[Any], offset: str, gone: str) -> None:
    run_id, attempt_id = ids.new_id(), ids.new_id()
    lines = [{**first, "run_id": run_id, "attempt_id": attempt_id}, *rest]
    path = f"/outside/{run_id}/{attempt_id}/events"
    headers = {"Content-Type": "application/x-ndjson"}
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    check(api, "POST", path, params={"offset": 0}, content=data, headers=headers)
    check(api, "POST", path, params={"offset": offset, "gone": gone}, content=b"", headers=headers)
    check(api, "GET", f"/outside/{run_id}/{attempt_id}")
    check(api, "GET", f"/runs/{run_id}")
