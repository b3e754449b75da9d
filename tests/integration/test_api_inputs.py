"""Inputs over HTTP: announced, sent in pieces, stored once, read by their owner, used by runs, deleted."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from snakeway import ids
from snakeway.app import create_app
from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.errors import QuotaExceeded
from snakeway.model.input import InputState, key_of, path_of
from snakeway.model.user import User
from snakeway.service.inputs import Inputs
from snakeway.service.used import used_by
from snakeway.settings import Settings
from snakeway.spool import Spool
from snakeway.store import Store, inputs
from tests.integration.test_api_fixtures import Api, make_parts

pytest_plugins = ["tests.integration.test_api_fixtures"]

BINARY = {"content-type": "application/octet-stream"}
DATA = b"sample,reads\n" + b"a,1\n" * 500


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def announced(api: Api, data: bytes = DATA, name: str = "samples.csv", status: int = 201) -> Any:
    return api.post("/inputs", {"name": name, "size_bytes": len(data), "sha256": sha(data)}, status=status)


def piece(api: Api, input_id: str, offset: int, data: Any) -> httpx.Response:
    return api.request("PATCH", f"/inputs/{input_id}", content=data, headers={**BINARY, "Upload-Offset": str(offset)})


def sent(api: Api, data: bytes = DATA, name: str = "samples.csv") -> Any:
    """Upload a file in one go."""
    found = announced(api, data, name)
    response = piece(api, found["id"], 0, data)
    assert response.status_code == 200, response.text
    assert response.json()["state"] == "complete"
    return response.json()


def refused(api: Api, input_id: str, offset: int, data: Any, code: str) -> Any:
    headers = {**BINARY, "Upload-Offset": str(offset)}
    return api.refused("PATCH", f"/inputs/{input_id}", code, content=data, headers=headers)


def objects(api: Api) -> list[str]:
    return [blob.key for blob in api.commands.inputs._blobs.list("inputs/")]


def spools(api: Api) -> list[str]:
    folder = api.settings.data_dir / "uploads"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_a_file_is_sent_in_pieces(api: Api) -> None:
    found = announced(api)
    assert (found["state"], found["offset"], found["size_bytes"]) == ("uploading", 0, len(DATA))
    assert found["reference"] == f"input:{found['id']}"
    first = piece(api, found["id"], 0, DATA[:700])
    assert (first.json()["offset"], first.headers["Upload-Offset"]) == (700, "700")
    head = api.request("HEAD", f"/inputs/{found['id']}")
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("700", str(len(DATA)))
    assert head.content == b""
    again = announced(api, status=200)
    assert (again["id"], again["offset"], again["state"]) == (found["id"], 700, "uploading")
    last = piece(api, found["id"], 700, (DATA[start : start + 100] for start in range(700, len(DATA), 100))).json()
    assert (last["state"], last["offset"], last["expires_at"]) == ("complete", len(DATA), None)
    assert last["completed_at"] is not None
    assert objects(api) == [key_of("local", sha(DATA))]
    assert spools(api) == []
    assert piece(api, found["id"], len(DATA), b"").json()["state"] == "complete"


def test_an_empty_file(api: Api) -> None:
    found = announced(api, b"")
    assert found["state"] == "uploading"
    assert piece(api, found["id"], 0, b"").json()["state"] == "complete"
    assert api.request("GET", f"/inputs/{found['id']}/content").content == b""


def test_bytes_that_begin_elsewhere_are_refused_with_the_right_offset(api: Api) -> None:
    found = announced(api)
    assert refused(api, found["id"], 5, DATA[5:], "offset_conflict")["offset"] == 0
    piece(api, found["id"], 0, DATA[:100])
    assert refused(api, found["id"], 0, DATA, "offset_conflict")["offset"] == 100
    assert refused(api, found["id"], 200, DATA[200:], "offset_conflict")["offset"] == 100
    assert api.get(f"/inputs/{found['id']}")["offset"] == 100


def test_more_than_was_announced_is_refused(api: Api) -> None:
    found = announced(api)
    refused(api, found["id"], 0, DATA + b"x", "invalid_request")
    assert api.get(f"/inputs/{found['id']}")["offset"] == 0
    refused(api, found["id"], 0, iter([DATA, b"x"]), "invalid_request")
    assert objects(api) == []


def test_bytes_of_another_digest_are_thrown_away(api: Api) -> None:
    found = announced(api)
    wrong = b"x" * len(DATA)
    assert sha(wrong) in refused(api, found["id"], 0, wrong, "input_damaged")["detail"]
    assert objects(api) == []
    assert spools(api) == []
    api.refused("GET", f"/inputs/{found['id']}", "input_not_found")
    assert sent(api)["state"] == "complete"


def test_the_same_content_is_kept_once(api: Api) -> None:
    first = sent(api)
    assert announced(api, status=200)["id"] == first["id"]
    other = announced(api, name="other.csv", status=200)
    assert (other["id"] != first["id"], other["state"], other["offset"]) == (True, "complete", len(DATA))
    assert objects(api) == [key_of("local", sha(DATA))]
    assert api.request("DELETE", f"/inputs/{first['id']}").status_code == 204
    assert api.request("GET", f"/inputs/{other['id']}/content").content == DATA
    assert api.request("DELETE", f"/inputs/{other['id']}").status_code == 204
    assert objects(api) == []


def test_two_uploads_of_the_same_content_at_a_time(api: Api) -> None:
    one, two = announced(api), announced(api, name="other.csv")
    piece(api, one["id"], 0, DATA[:10])
    assert piece(api, two["id"], 0, DATA).json()["state"] == "complete"
    assert piece(api, one["id"], 10, DATA[10:]).json()["state"] == "complete"
    assert spools(api) == []


def test_a_wrong_size_of_a_known_content(api: Api) -> None:
    sent(api)
    body = {"name": "other.csv", "size_bytes": 1, "sha256": sha(DATA)}
    assert api.refused("POST", "/inputs", "invalid_request", json=body)["field"] == "size_bytes"


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("name", "../x", "invalid_request"),
        ("name", "a b", "invalid_request"),
        ("sha256", "x", "invalid_request"),
        ("sha256", "A" * 64, "invalid_request"),
        ("size_bytes", -1, "invalid_request"),
        ("size_bytes", 10_001, "input_too_large"),
        ("size_bytes", 2**63, "invalid_request"),
        ("other", 1, "invalid_request"),
    ],
)
def test_what_cannot_be_announced(small_api: Api, member: str, value: Any, code: str) -> None:
    body = {"name": "a", "size_bytes": 1, "sha256": "a" * 64, member: value}
    assert small_api.refused("POST", "/inputs", code, json=body)["field"] == member
    assert small_api.get("/inputs")["items"] == []


@pytest.fixture
def small_api(sqlite_api: Api) -> Iterator[Api]:
    """An application that takes 10,000 bytes for an input, and 15,000 for all of an owner's."""
    settings = sqlite_api.settings.model_copy(update={"max_input_bytes": 10_000, "max_inputs_bytes_per_owner": 15_000})
    parts = make_parts(sqlite_api.store, settings)
    app = create_app(parts)
    with TestClient(app, base_url="http://127.0.0.1:8642", raise_server_exceptions=False) as client:
        yield replace(sqlite_api, app=app, client=client, settings=settings, commands=parts.commands)


def test_an_owner_has_so_much_room(small_api: Api) -> None:
    first = sent(small_api, b"a" * 10_000, "a")
    announced(small_api, b"b" * 5_000, "b")
    body = {"name": "c", "size_bytes": 1, "sha256": "c" * 64}
    assert "15000" in small_api.refused("POST", "/inputs", "quota_exceeded", json=body)["detail"]
    announced(small_api, b"a" * 10_000, "same-content", status=200)
    assert small_api.request("DELETE", f"/inputs/{first['id']}").status_code == 204
    small_api.refused("POST", "/inputs", "quota_exceeded", json=body)  # the other name still has it
    small_api.request("DELETE", f"/inputs/{small_api.get('/inputs')['items'][0]['id']}")
    small_api.post("/inputs", body, status=201)


@pytest.fixture
def cramped(store: Store, tmp_path: Path) -> Inputs:
    """The inputs of people who may keep 15,000 bytes each."""
    settings = Settings(data_dir=tmp_path, max_inputs_bytes_per_owner=15_000)
    return Inputs(store, settings, Storages(open_location))


def test_every_unfinished_upload_counts_with_its_whole_size(cramped: Inputs, store: Store) -> None:
    ada, digest = User("ada"), sha(b"a" * 10_000)
    cramped.announce(ada, "a", 1, digest)
    with pytest.raises(QuotaExceeded, match="your inputs have 1 bytes"):
        cramped.announce(ada, "b", 15_000, digest)
    first = cramped.announce(ada, "c", 10_000, digest)[0].row
    with pytest.raises(QuotaExceeded, match="your inputs have 10001 bytes"):
        cramped.announce(ada, "d", 10_000, digest)
    second = cramped.announce(ada, "e", 4_999, digest)[0].row
    cramped.announce(User("bob"), "a", 15_000, digest)
    begun = cramped.begin(ada, first.id, 0, 10_000)
    assert begun is not None
    cramped.write(*begun, 0, b"a" * 10_000)
    cramped.finish(ada, first.id)
    assert cramped.announce(ada, "f", 10_000, digest)[1] is False  # what is complete is there once, under any name
    with store.read() as tx:
        assert inputs.total_bytes(tx, "ada") == 10_000 + second.size_bytes + 1


def test_a_size_that_a_known_content_has_not_is_refused_also_if_it_was_announced_before(api: Api) -> None:
    body = {"name": "early", "size_bytes": 1, "sha256": sha(DATA)}
    early = api.post("/inputs", body, status=201)
    sent(api)
    problem = api.refused("POST", "/inputs", "invalid_request", json=body)
    assert (problem["field"], f"{len(DATA)} bytes" in problem["detail"]) == ("size_bytes", True)
    refused(api, early["id"], 0, DATA[:1], "input_damaged")
    assert api.request("GET", f"/inputs/{api.get('/inputs')['items'][0]['id']}/content").content == DATA


def test_a_list_in_pages(api: Api) -> None:
    made = [announced(api, b"x" * number, f"f{number}")["id"] for number in range(1, 6)]
    first = api.get("/inputs", limit=2)
    second = api.get("/inputs", limit=2, cursor=first["next"])
    third = api.get("/inputs", limit=2, cursor=second["next"])
    found = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert (found, third["next"]) == (made[::-1], None)
    assert api.get("/inputs", state="complete")["items"] == []
    assert len(api.get("/inputs", state=["complete", "uploading"])["items"]) == 5


def test_the_content_is_sent_whole_or_in_part(api: Api) -> None:
    path = f"/inputs/{sent(api)['id']}/content"
    whole = api.request("GET", path)
    assert (whole.content, whole.headers["etag"]) == (DATA, f'"{sha(DATA)}"')
    assert "samples.csv" in whole.headers["content-disposition"]
    part = api.request("GET", path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, DATA[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(DATA)}"
    assert api.request("GET", path, headers={"If-None-Match": f'"{sha(DATA)}"'}).status_code == 304
    api.refused("GET", path, "range_not_satisfiable", headers={"Range": f"bytes={len(DATA)}-"})
    head = api.request("HEAD", path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(DATA)))


def test_an_unfinished_upload_has_no_content_and_can_be_given_up(api: Api) -> None:
    found = announced(api)
    piece(api, found["id"], 0, DATA[:10])
    api.refused("GET", f"/inputs/{found['id']}/content", "input_not_found")
    assert api.request("DELETE", f"/inputs/{found['id']}").status_code == 204
    assert spools(api) == []
    refused(api, found["id"], 10, DATA[10:], "input_not_found")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({**BINARY}, "invalid_request"),
        ({**BINARY, "Upload-Offset": "-1"}, "invalid_request"),
        ({**BINARY, "Upload-Offset": "x"}, "invalid_request"),
        ({"content-type": "text/csv", "Upload-Offset": "0"}, "unsupported_media_type"),
        ({**BINARY, "content-encoding": "gzip", "Upload-Offset": "0"}, "unsupported_media_type"),
    ],
)
def test_a_piece_says_what_it_is(sqlite_api: Api, headers: dict[str, str], code: str) -> None:
    found = announced(sqlite_api)
    sqlite_api.refused("PATCH", f"/inputs/{found['id']}", code, content=DATA, headers=headers)


@pytest.mark.parametrize("input_id", ["x", "..", "0198c5b2-7d30-7c4e-9a55-0f6a3f1c2d10"])
def test_what_is_no_input(sqlite_api: Api, input_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        response = sqlite_api.request(method, f"/inputs/{input_id}{path}")
        assert response.status_code == 404
    assert piece(sqlite_api, input_id, 0, b"x").status_code in (404, 405)


# What one has is nobody else's.


def test_others_neither_see_nor_profit(api: Api) -> None:
    mine = sent(api)
    service, bob, carol = api.commands.inputs, User("bob"), User("carol")
    known, new = service.announce(bob, "samples.csv", len(DATA), sha(DATA))
    assert (new, known.row.state, known.offset) == (True, InputState.UPLOADING, 0)
    assert [each.row.id for each in service.list_(bob, None, [], None, 10).items] == [known.row.id]
    assert service.list_(carol, "local", [], None, 10).items == []
    for action in (service.get, service.content, service.finish, service.remove):
        with pytest.raises(Exception, match="there is no input"):
            action(carol, mine["id"])
    with pytest.raises(Exception, match="there is no input"):
        service.begin(carol, mine["id"], 0, 1)
    with pytest.raises(Exception, match="of yours") as error:
        used_by(api.store, "carol", {"a": {"b": mine["reference"]}})
    assert getattr(error.value, "field", None) == "a.b"
    refused(api, known.row.id, 0, DATA, "forbidden")  # not even an administrator sends what another announced
    spool = service.begin(bob, known.row.id, 0, len(DATA))
    assert spool is not None
    service.write(*spool, 0, DATA)
    assert service.finish(bob, known.row.id).row.state is InputState.COMPLETE
    assert sorted(objects(api)) == sorted([key_of("local", sha(DATA)), key_of("bob", sha(DATA))])
    service.remove(bob, known.row.id)
    assert objects(api) == [key_of("local", sha(DATA))]


# Runs.


def test_a_run_says_which_bytes_it_uses_and_keeps_them(api: Api) -> None:
    found = sent(api)
    config = {"samples": found["reference"], "n": 1}
    run = api.post("/runs", {"workflow": "plain", "config": config}, status=201)
    expected = {
        "id": found["id"],
        "path": path_of("samples.csv", sha(DATA)),
        "name": "samples.csv",
        "sha256": sha(DATA),
        "size_bytes": len(DATA),
    }
    assert (run["config"], run["inputs"]) == (config, [expected])
    assert run["id"] in api.refused("DELETE", f"/inputs/{found['id']}", "input_in_use")["detail"]
    api.post(f"/runs/{run['id']}/cancel", status=202)
    other = sent(api, b"other", "other.csv")
    again = api.post(f"/runs/{run['id']}/rerun", {"config": {"samples": other["reference"]}}, status=202)
    assert [each["id"] for each in again["run"]["inputs"]] == [found["id"], other["id"]]
    api.post(f"/runs/{run['id']}/cancel", status=202)
    api.refused("DELETE", f"/inputs/{found['id']}", "input_in_use")
    assert api.request("DELETE", f"/runs/{run['id']}").status_code == 204
    assert api.request("DELETE", f"/inputs/{found['id']}").status_code == 204
    assert api.request("DELETE", f"/inputs/{other['id']}").status_code == 204


def test_the_schema_sees_the_path(api: Api) -> None:
    found = sent(api)
    run = api.post("/runs", {"workflow": "strict", "config": {"samples": [found["reference"]]}}, status=201)
    assert run["config"] == {"samples": [found["reference"]]}
    body = {"workflow": "strict", "config": {"samples": found["reference"]}}
    assert path_of("samples.csv", sha(DATA)) in api.refused("POST", "/runs", "invalid_config", json=body)["detail"]


@pytest.mark.parametrize("unfinished", [True, False])
def test_a_reference_must_be_to_a_complete_input(api: Api, unfinished: bool) -> None:
    reference = announced(api)["reference"] if unfinished else f"input:{ids.new_id()}"
    body = {"workflow": "plain", "config": {"a": [{"b": reference}]}}
    problem = api.refused("POST", "/runs", "invalid_config", json=body)
    assert problem["field"] == "a.0.b"
    assert api.get("/runs")["items"] == []


# Crashes, and what they leave.


def test_a_crash_while_storing_is_made_good_by_the_next_request(api: Api) -> None:
    found = announced(api)
    Spool(api.settings.data_dir, found["id"]).append(0, DATA)
    with api.store.write() as tx:
        assert inputs.move(tx, found["id"], InputState.UPLOADING, InputState.STORING)
    assert announced(api, status=200)["state"] == "storing"
    assert piece(api, found["id"], len(DATA), b"").json()["state"] == "complete"
    assert api.request("GET", f"/inputs/{found['id']}/content").content == DATA


def test_what_is_being_stored_is_left_to_whoever_does(api: Api) -> None:
    found = announced(api)
    spool = Spool(api.settings.data_dir, found["id"])
    spool.append(0, DATA)
    with spool.held():
        refused(api, found["id"], len(DATA), b"", "input_busy")
        api.refused("DELETE", f"/inputs/{found['id']}", "input_busy")
    assert piece(api, found["id"], len(DATA), b"").json()["state"] == "complete"


def test_a_content_that_is_being_removed_is_not_stored_meanwhile(api: Api) -> None:
    first = sent(api)
    with api.store.write() as tx:  # its remover was killed
        inputs.move(tx, first["id"], InputState.COMPLETE, InputState.REMOVING)
    api.refused("GET", f"/inputs/{first['id']}", "input_not_found")
    second = announced(api)
    refused(api, second["id"], 0, DATA, "input_busy")
    assert api.get(f"/inputs/{second['id']}")["offset"] == len(DATA)
