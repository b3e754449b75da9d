import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_submitted_run_is_queued_and_found(api: Api) -> None:
    body = {
        "workflow": "strict",
        "config": {"samples": ["x"]},
        "set_resources": {"all": {"mem_mb": 100, "runtime": "2h"}},
        "set_threads": {"all": 2},
        "targets": ["done.txt"],
        "labels": {"project": "p"},
        "note": "ünïcode",
    }
    response = api.request("POST", "/runs", json=body)
    assert response.status_code == 201, response.text
    run = response.json()
    assert response.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert {name: run[name] for name in ("state", "workflow", "target", "config", "labels", "note", "owner")} == {
        "state": "queued",
        "workflow": "strict",
        "target": "local",
        "config": {"samples": ["x"]},
        "labels": {"project": "p"},
        "note": "ünïcode",
        "owner": "local",
    }
    assert run["jobs"] == {"total": 0, "done": 0, "failed": 0}
    assert run["digest"].startswith("sha256:")
    assert run["trace_id"] == run["id"].replace("-", "")
    assert run["created_at"].endswith("Z")
    assert run["started_at"] is None
    assert api.get(f"/runs/{run['id']}") == run
    assert api.get("/runs") == {"items": [run], "next": None}
    [attempt] = api.get(f"/runs/{run['id']}/attempts")["items"]
    assert attempt["overrides"] == {
        "set_resources": {"all": {"mem_mb": 100, "runtime": "2h"}},
        "set_threads": {"all": 2},
        "targets": ["done.txt"],
        "until": [],
        "forcerun": [],
        "forceall": False,
        "image": None,
    }


def test_the_caller_s_trace_is_the_run_s(api: Api) -> None:
    run = api.post("/runs", {"workflow": "plain"}, status=201, traceparent=TRACEPARENT)
    assert run["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    malformed = api.post("/runs", {"workflow": "plain"}, status=201, traceparent="00-zz-1-01")
    assert malformed["trace_id"] == malformed["id"].replace("-", "")


BAD_BODIES: list[tuple[Any, str, str | None]] = [
    ({}, "invalid_request", None),
    ([], "invalid_request", None),
    ({"workflow": "plain", "unknown": 1}, "invalid_request", "unknown"),
    ({"workflow": 1}, "invalid_request", "workflow"),
    ({"workflow": ""}, "invalid_request", "workflow"),
    ({"workflow": {"git": {"url": 1}}}, "invalid_request", "workflow.git.url"),
    ({"workflow": {"git": {"url": "x", "branch": "main"}}}, "invalid_request", "workflow.git.branch"),
    ({"workflow": {"git": {"url": "ftp://example.org/x"}}}, "invalid_request", "workflow"),
    ({"workflow": "plain", "dry_run": "true"}, "invalid_request", "dry_run"),
    ({"workflow": "plain", "labels": {"a": 1}}, "invalid_request", "labels"),
    ({"workflow": "plain", "labels": {"ä": "1"}}, "invalid_request", "labels"),
    ({"workflow": "plain", "labels": {f"k{i}": "" for i in range(33)}}, "invalid_request", "labels"),
    ({"workflow": "plain", "note": "x" * 10_001}, "invalid_request", "note"),
    ({"workflow": "plain", "note": "a\0b"}, "invalid_request", "note"),
    ({"workflow": "plain", "config": {"a\0": 1}}, "invalid_request", "config"),
    ({"workflow": "plain", "image": "1.4"}, "invalid_request", "image"),  # its target has no containers
    ({"workflow": "plain", "image": "-x"}, "invalid_request", "image"),
    ({"workflow": "plain", "set_threads": {"all": 0}}, "invalid_request", "set_threads"),
    ({"workflow": "plain", "set_threads": {"all": True}}, "invalid_request", "set_threads"),
    ({"workflow": "plain", "set_resources": {"all": {"mem": "x()"}}}, "invalid_request", "set_resources.all.mem"),
    ({"workflow": "plain", "targets": ["--unlock"]}, "invalid_request", "targets"),
    ({"workflow": "plain", "until": "all"}, "invalid_request", "until"),
    ({"workflow": "nothing"}, "workflow_not_found", None),
    ({"workflow": "../plain"}, "workflow_not_found", None),
    ({"workflow": "broken"}, "invalid_workflow", None),
    ({"workflow": "plain", "target": "nowhere"}, "target_not_found", None),
    ({"workflow": "plain", "target": "bad"}, "invalid_target", None),
    ({"workflow": "strict", "config": {"samples": [1]}}, "invalid_config", "samples.0"),
]


@pytest.mark.parametrize(("body", "code", "field"), BAD_BODIES)
def test_a_submission_that_cannot_be_carried_out_is_refused(
    sqlite_api: Api, body: Any, code: str, field: str | None
) -> None:
    problem = sqlite_api.refused("POST", "/runs", code, json=body)
    if field is not None:
        assert problem["field"].startswith(field), problem
    assert sqlite_api.get("/runs")["items"] == []


def test_an_unreachable_repository_is_another_server_s_fault(sqlite_api: Api) -> None:
    body = {"workflow": {"git": {"url": "http://127.0.0.1:9/none.git"}}}
    assert sqlite_api.refused("POST", "/runs", "source_unreachable", json=body)["status"] == 502


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b"", {}, "invalid_request"),
        (b"", JSON, "invalid_request"),
        (b"{", JSON, "invalid_request"),
        (b"null", JSON, "invalid_request"),
        (b'{"workflow": "\xff"}', JSON, "invalid_request"),
        (b'{"workflow": "plain", "config": {"a": NaN}}', JSON, "invalid_request"),
        (b'{"workflow": "plain", "note": "\\ud800"}', JSON, "invalid_request"),
        (b'{"workflow": "plain", "config": {"a": 1e999}}', JSON, "invalid_request"),
        (b'{"workflow": "plain", "config": ' + b'{"a":' * 100 + b"1" + b"}" * 101, JSON, "invalid_request"),
        (b'{"workflow": "plain", "config": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, JSON, "invalid_request"),
        (b'{"workflow": "plain"}', {"content-type": "text/plain"}, "unsupported_media_type"),
        (b'{"workflow": "plain"}', {"content-type": "application/x-www-form-urlencoded"}, "unsupported_media_type"),
        (b'{"workflow": "plain"}', {**JSON, "content-encoding": "gzip"}, "unsupported_media_type"),
        (b'{"workflow": "plain", "note": "' + b"x" * 70_000 + b'"}', JSON, "body_too_large"),
    ],
)
def test_a_body_that_is_no_proper_json_is_refused(
    sqlite_api: Api, content: bytes, headers: dict[str, str], code: str
) -> None:
    sqlite_api.refused("POST", "/runs", code, content=content, headers=headers)


def test_a_body_that_does_not_announce_its_size_is_bounded_too(sqlite_api: Api) -> None:
    chunks = (b" " * 8192 for _ in range(20))
    problem = sqlite_api.refused("POST", "/runs", "body_too_large", content=chunks, headers=JSON)
    for said in ("larger than 65536 bytes", "SNAKEWAY_MAX_BODY_BYTES", "POST /api/v1/inputs"):
        assert said in problem["detail"]


def test_a_configuration_is_kept_as_it_was_sent(api: Api) -> None:
    config = {"big": 2**62, "small": -0.1, "text": "\\u0000", "deep": [[[[]]]], "unicode": "\U0001f40d"}
    run = api.post("/runs", {"workflow": "plain", "config": config}, status=201)
    assert api.get(f"/runs/{run['id']}")["config"] == config


def test_the_same_key_makes_one_run(api: Api) -> None:
    body = {"workflow": "plain", "config": {"a": 1}}
    first = api.post("/runs", body, status=201, idempotency_key="k")
    again = api.request("POST", "/runs", json=body, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.json() == first
    assert again.headers["location"] == f"/api/v1/runs/{first['id']}"
    other = {"json": {**body, "note": "x"}, "headers": {"Idempotency-Key": "k"}}
    api.refused("POST", "/runs", "idempotency_conflict", **other)
    assert len(api.get("/runs")["items"]) == 1
    for key in ("", "x" * 256):
        options = {"json": body, "headers": {"Idempotency-Key": key}}
        assert api.refused("POST", "/runs", "invalid_request", **options)["field"] == "Idempotency-Key"


def test_eight_at_once_with_one_key_make_one_run(api: Api) -> None:
    ready = threading.Barrier(8)

    def submit(_: int) -> tuple[int, str]:
        ready.wait()
        response = api.request("POST", "/runs", json={"workflow": "plain"}, headers={"Idempotency-Key": "k"})
        return response.status_code, response.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({run_id for _, run_id in answers}) == 1
    assert len(api.get("/runs")["items"]) == 1
