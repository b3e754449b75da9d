import pytest
from litestar.testing import TestClient
from pydantic import SecretStr

from snakeway.app import create_app
from tests.integration.test_api_fixtures import Api, make_parts

pytest_plugins = ["tests.integration.test_api_fixtures"]

TOKEN = "0123456789abcdef"
GOOD = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8642", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8642", "[::1]", "[::1]:8642"]
)
def test_this_machine_s_names_are_let_in_without_a_token(sqlite_api: Api, host: str) -> None:
    assert sqlite_api.request("GET", "/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8642",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:x",
        "",
        "::1",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/health/live"])
def test_other_names_are_not(sqlite_api: Api, host: str, path: str) -> None:
    assert sqlite_api.refused("GET", path, "forbidden", headers={"Host": host})["field"] == "Host"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8642"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8642"}, False),
        ({"Origin": "http://127.0.0.1:8642"}, True),
        ({"Origin": "https://127.0.0.1:8642"}, True),
        ({"Origin": "http://127.0.0.1:9999"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_a_page_of_another_site_changes_nothing(sqlite_api: Api, headers: dict[str, str], allowed: bool) -> None:
    response = sqlite_api.request("POST", "/runs", json={"workflow": "plain"}, headers=headers)
    assert response.status_code == (201 if allowed else 403)
    assert sqlite_api.request("GET", "/runs", headers=headers).status_code == 200
    assert len(sqlite_api.get("/runs")["items"]) == int(allowed)


def with_token(api: Api) -> TestClient:
    settings = api.settings.model_copy(update={"token": SecretStr(TOKEN)})
    return TestClient(create_app(make_parts(api.store, settings)), base_url="https://runs.example.org")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/runs"),
        ("POST", "/api/v1/runs"),
        ("GET", "/api/v1/inputs"),
        ("POST", "/api/v1/inputs"),
        ("PATCH", "/api/v1/inputs/x"),
        ("GET", "/api/v1/inputs/x/content"),
        ("GET", "/api/v1/runs/x/events"),
        ("HEAD", "/api/v1/runs/x/log"),
        ("GET", "/api/v1/workflows"),
        ("GET", "/api/v1/targets"),
        ("GET", "/api/v1/health/ready"),
        ("GET", "/metrics"),
        ("GET", "/schema/openapi.json"),
        ("OPTIONS", "/api/v1/runs"),
    ],
)
def test_with_a_token_nothing_is_shown_to_others(sqlite_api: Api, method: str, path: str) -> None:
    with with_token(sqlite_api) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            response = client.request(method, path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == 'Bearer realm="snakeway"'
            assert TOKEN not in response.text
        assert client.request(method, path, headers=GOOD).status_code != 401


def test_with_a_token_every_name_will_do(sqlite_api: Api) -> None:
    with with_token(sqlite_api) as client:
        assert client.get("/api/v1/runs", headers=GOOD).status_code == 200
        assert client.post("/api/v1/runs", json={"workflow": "plain"}, headers=GOOD).status_code == 201


@pytest.mark.parametrize("path", ["/api/v1/health/live", "/problems", "/problems/unauthorized"])
def test_some_need_no_token(sqlite_api: Api, path: str) -> None:
    with with_token(sqlite_api) as client:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/runs/x", "/nothing", "/schema", "/problems/forbidden"])
def test_every_response_has_the_headers_that_keep_browsers_in_check(sqlite_api: Api, path: str) -> None:
    headers = sqlite_api.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
