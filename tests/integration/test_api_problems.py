import logging
import os
import re
import tempfile
from html import escape
from typing import Any

import pytest
import yaml

from snakeway import errors
from snakeway.api.problems import EVERY_KIND, STATUS
from snakeway.errors import StoreBusy, every_error
from snakeway.model.user import User
from snakeway.rows import SupervisorRow, now
from snakeway.store import supervisors
from tests.integration.test_api_fixtures import Api

pytest_plugins = ["tests.integration.test_api_fixtures"]


def test_every_error_has_a_status_of_its_own() -> None:
    assert set(STATUS) == set(every_error())


def test_every_status_fits_its_branch_of_the_tree() -> None:
    for cls, status in STATUS.items():
        if issubclass(cls, errors.NotFound):
            assert status == 404
        if issubclass(cls, errors.Conflict):
            assert status == 409
        if issubclass(cls, errors.Invalid):
            assert 400 <= status < 500


@pytest.mark.parametrize("code", sorted(EVERY_KIND))
def test_every_kind_is_documented_where_its_type_points(sqlite_api: Api, code: str) -> None:
    kind = sqlite_api.client.get(f"/problems/{code}").json()
    assert kind["code"] == code
    assert kind["meaning"]
    page = sqlite_api.client.get(f"/problems/{code}", headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.headers["content-type"].startswith("text/html")
    assert escape(kind["title"]) in page.text


def test_kinds_are_listed(sqlite_api: Api) -> None:
    listed = sqlite_api.client.get("/problems").json()["items"]
    assert [kind["code"] for kind in listed] == sorted(EVERY_KIND)
    assert "run_ended" in sqlite_api.client.get("/problems", headers={"Accept": "text/html"}).text
    assert sqlite_api.client.get("/problems/nothing").json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/v1", 404, "not_found"),
        ("GET", "/schema/nothing", 404, None),
        ("PUT", "/api/v1/runs", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/workflows", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_a_problem_too(
    sqlite_api: Api, method: str, path: str, status: int, code: str | None
) -> None:
    response = sqlite_api.client.request(method, path)
    assert response.status_code == status
    if code is not None:
        assert response.json()["code"] == code
        assert response.headers["content-type"] == "application/problem+json"
    assert ("allow" in response.headers) == (status == 405)


def test_an_unexpected_error_is_in_the_log_and_not_in_the_answer(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(sqlite_api.reads, "run", broken)
    with caplog.at_level(logging.ERROR):
        problem = sqlite_api.refused("GET", "/runs/x", "internal_error")
    assert "secret" not in str(problem)
    found = re.search(r"[0-9a-f]{12}", problem["detail"])
    assert found is not None
    assert found[0] in caplog.text
    assert "the secret" in caplog.text


def test_a_busy_database_says_when_to_try_again(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise StoreBusy("the database is locked")

    monkeypatch.setattr(sqlite_api.reads, "runs", busy)
    response = sqlite_api.request("GET", "/runs")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


def test_what_may_be_seen_but_not_done_is_forbidden(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_user: User, _run_id: str) -> None:
        raise errors.Forbidden("not yours to control")

    monkeypatch.setattr(sqlite_api.commands, "cancel", forbidden)
    sqlite_api.refused("POST", "/runs/x/cancel", "forbidden")


def test_a_long_detail_is_cut_and_stays_text(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def long(*_: object) -> None:
        raise errors.Invalid("\udcff" + "x" * 10_000)

    monkeypatch.setattr(sqlite_api.reads, "run", long)
    assert len(sqlite_api.refused("GET", "/runs/x", "invalid_request")["detail"]) < 2_100


def test_health(api: Api) -> None:
    assert api.get("/health/live") == {"status": "ok", "version": api.get("/health/live")["version"]}
    response = api.request("GET", "/health/ready")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["status"] == "unavailable"
    assert response.json()["checks"]["database"] == "ok"
    assert "no supervisor" in response.json()["checks"]["supervisor"]
    with api.store.write() as tx:
        supervisors.beat(tx, SupervisorRow(id="s", host="h", pid=1, started_at=now(), seen_at=now()))
    ready = {"status": "ok", "checks": {"database": "ok", "supervisor": "ok", "data_dir": "ok"}}
    assert api.get("/health/ready") == ready
    api.settings.data_dir.rename(api.settings.data_dir.with_name("gone"))
    assert api.request("GET", "/health/ready").status_code == 503


def test_runs_that_cannot_be_written_make_it_not_ready(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        response = sqlite_api.request("GET", "/health/ready")
        assert response.status_code == 503
        return str(response.json()["checks"]["data_dir"])

    data_dir = sqlite_api.settings.data_dir
    assert (said(), list(data_dir.iterdir())) == ("ok", [])
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryFile", lambda **_: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"))
        assert said() == f"{data_dir} is not a folder that can be written to (No space left on device)"
    (data_dir / "runs").touch()
    assert said() == f"{data_dir / 'runs'} is not a folder that can be written to (Not a directory)"


def test_a_locked_database_makes_it_not_ready(sqlite_api: Api) -> None:
    with sqlite_api.store.write():
        response = sqlite_api.request("GET", "/health/ready")
    assert response.status_code == 503
    assert "database is locked" in response.json()["checks"]["database"]
    assert sqlite_api.request("GET", "/health/ready").json()["checks"]["database"] == "ok"


def test_a_database_that_is_away_makes_it_not_ready(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise StoreBusy("no answer")

    monkeypatch.setattr(sqlite_api.reads, "supervisors_alive", away)
    response = sqlite_api.request("GET", "/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "no answer"


def test_without_metrics_there_is_no_page_of_them(sqlite_api: Api) -> None:
    assert sqlite_api.client.get("/metrics").json()["code"] == "not_found"


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method.upper()} {path}": op for path, item in document["paths"].items() for method, op in item.items()}


def test_every_route_is_documented(sqlite_api: Api) -> None:
    document = sqlite_api.client.get("/schema/openapi.json").json()
    documented = operations(document)
    served = {
        f"{method} {route.path_format}"
        for route in sqlite_api.app.routes
        for method in route.methods
        if method != "OPTIONS" and not route.path.startswith("/schema")
    }
    assert set(documented) == served
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in documented.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), name
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], f"{name}: {parameter['name']}"
    assert len({operation["operationId"] for operation in documented.values()}) == len(documented)


def test_every_answer_and_body_has_an_example_and_every_route_its_problems(sqlite_api: Api) -> None:
    documented = operations(sqlite_api.client.get("/schema/openapi.json").json())
    for name, operation in documented.items():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert media["schema"]["examples"], name
        statuses = operation["responses"]
        assert {"400", "401", "403", "500"} <= set(statuses), name
        for status, response in statuses.items():
            for media_type, media in response.get("content", {}).items():
                if media_type != "application/octet-stream":
                    assert media["examples"], f"{name} {status}"
            if int(status) >= 400 and (name, status) != ("GET /api/v1/health/ready", "503"):
                assert list(response["content"]) == ["application/problem+json"], f"{name} {status}"


def test_only_a_rerun_can_do_without_its_body(sqlite_api: Api) -> None:
    documented = operations(sqlite_api.app.openapi_schema.to_schema())
    needed = {name: op["requestBody"]["required"] for name, op in documented.items() if "requestBody" in op}
    assert {name for name, body in needed.items() if not body} == {"POST /api/v1/runs/{run_id}/rerun"}
    assert needed["POST /api/v1/runs"]


def test_the_document_is_shown_without_a_network(sqlite_api: Api) -> None:
    page = sqlite_api.client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert (
        page.headers["content-security-policy"]
        == "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    assert "<script" not in page.text
    assert not re.findall(r"(?:src|href)=['\"](?:https?:)?//", page.text)
    for name in operations(sqlite_api.app.openapi_schema.to_schema()):
        assert name in page.text
    as_yaml = yaml.safe_load(sqlite_api.client.get("/schema/openapi.yaml").text)
    assert as_yaml["paths"].keys() == sqlite_api.client.get("/schema/openapi.json").json()["paths"].keys()
