"""Workflows that are sent: taken, submitted by their digest, or refused with a reason."""

from typing import Any

import pytest

from tests.integration.test_api_fixtures import Api
from tests.unit.test_bundle import tarred, zipped

pytest_plugins = ["tests.integration.test_api_fixtures"]

FILES = {
    "Snakefile": b'configfile: "config/config.yaml"\nrule all:\n',
    "config/config.yaml": b"samples: [a]\n",
    "workflow/schemas/config.schema.yaml": b"properties: {samples: {type: array}}\n",
    "README.md": b"# Title\n\nCounts things.\n",
}
TAR = {"content-type": "application/x-tar"}


def sent(api: Api, content: bytes = b"", name: str = "counting", **headers: str) -> Any:
    response = api.request(
        "POST", "/bundles", params={"name": name}, content=content or tarred(FILES), headers=headers or TAR
    )
    assert response.status_code == 201, response.text
    return response.json()


def test_a_workflow_is_sent_and_submitted(api: Api) -> None:
    known = sent(api)
    assert (known["name"], known["description"], known["defaults"]) == (
        "counting",
        "Counts things.",
        {"samples": ["a"]},
    )
    assert known["source"] == {"kind": "bundle", "name": "counting", "digest": known["digest"]}
    assert sent(api, zipped(FILES), **{"content-type": "application/zip"})["digest"] == known["digest"]
    bundle = {"bundle": {"digest": known["digest"], "name": "counting"}}
    run = api.post("/runs", {"workflow": bundle, "config": {"samples": ["b"]}}, status=201)
    assert (run["workflow"], run["digest"], run["source"]) == ("counting", known["digest"], known["source"])
    refused = api.refused("POST", "/runs", "invalid_config", json={"workflow": bundle, "config": {"samples": 1}})
    assert refused["field"] == "samples"


def test_a_bundle_has_no_newer_version(api: Api) -> None:
    known = sent(api)
    run = api.post("/runs", {"workflow": {"bundle": {"digest": known["digest"], "name": "counting"}}}, status=201)
    api.post(f"/runs/{run['id']}/cancel", status=202)
    problem = api.refused("POST", f"/runs/{run['id']}/rerun", "invalid_request", json={"update_workflow": True})
    assert problem["field"] == "update_workflow"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"content": b"no archive at all"}, "invalid_workflow"),
        ({"content": b""}, "invalid_workflow"),
        ({"content": tarred({**FILES, "../x": b""})}, "invalid_workflow"),
        ({"content": tarred({**FILES, "config/config.yaml": b"{"})}, "invalid_workflow"),
        ({"content": tarred(FILES), "params": {"name": "../x"}}, "invalid_request"),
        ({"content": tarred(FILES), "params": {}}, "invalid_request"),
        ({"content": tarred(FILES), "headers": {"content-type": "text/plain"}}, "unsupported_media_type"),
        ({"content": b"x" * 100_001}, "body_too_large"),
        ({"content": (b"x" * 50_000 for _ in range(3))}, "body_too_large"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_leaves_nothing(sqlite_api: Api, options: Any, code: str) -> None:
    sqlite_api.refused("POST", "/bundles", code, **{"params": {"name": "x"}, "headers": TAR, **options})
    assert list((sqlite_api.settings.data_dir / "workflows").glob("*")) == []


def test_an_archive_that_is_too_large_is_told_the_limit(sqlite_api: Api) -> None:
    large = {"content": b"x" * 100_001, "params": {"name": "x"}, "headers": TAR}
    detail = sqlite_api.refused("POST", "/bundles", "body_too_large", **large)["detail"]
    for said in ("larger than 100000 bytes", "SNAKEWAY_MAX_BUNDLE_BYTES", "POST /api/v1/inputs"):
        assert said in detail


@pytest.mark.parametrize(
    ("workflow", "code"),
    [
        ({"bundle": {"digest": f"sha256:{'0' * 64}", "name": "x"}}, "workflow_not_found"),
        ({"bundle": {"digest": "../../etc", "name": "x"}}, "workflow_not_found"),
        ({"bundle": {"digest": f"sha256:{'0' * 64}", "name": "../x"}}, "invalid_request"),
        ({"bundle": {"digest": f"sha256:{'0' * 64}", "name": ""}}, "invalid_request"),
        ({"bundle": {"digest": "x", "name": "x"}, "git": {"url": "https://example.org/x"}}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_a_bundle_that_was_not_sent_cannot_be_submitted(sqlite_api: Api, workflow: Any, code: str) -> None:
    sqlite_api.refused("POST", "/runs", code, json={"workflow": workflow})
