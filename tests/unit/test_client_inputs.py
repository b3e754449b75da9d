"""Uploads: sent from where the server is, taken up when something breaks, given up when it is no use."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snakeway.client import Client, Patience
from snakeway.errors import InputBusy, InputDamaged, Invalid, OffsetConflict, QuotaExceeded, Unavailable
from tests.unit.test_client_nouns import OTHER_ID, input_
from tests.unit.test_client_stand_in import Reply, StandIn, broken, page, problem, reply, running

DATA = bytes(range(256)) * 10_000
SHA = hashlib.sha256(DATA).hexdigest()
PATH = f"/inputs/{OTHER_ID}"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url, patience=Patience(first_s=0.01, longest_s=0.02, total_s=0.1)) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "data.bin").write_bytes(DATA)
    return tmp_path / "data.bin"


def told(state: str = "uploading", offset: int = 0, **members: Any) -> Reply:
    size = {"size_bytes": len(DATA), "sha256": SHA, "completed_at": None}
    return reply(input_(state=state, offset=offset, **size, **members))


def pieces(server: StandIn) -> list[tuple[int, bytes]]:
    """Where each piece began, and what it was."""
    sent = [request for request in server.sent(PATH) if request.method == "PATCH"]
    return [(int(request.headers["Upload-Offset"]), request.body or b"") for request in sent]


def test_a_file_is_announced_and_sent(server: StandIn, client: Client, file: Path) -> None:
    server.on("POST", "/inputs", told()).on("PATCH", PATH, told("complete", len(DATA)))
    read: list[int] = []
    sent: list[int] = []
    assert client.inputs.upload(file, read=read.append, sent=sent.append)["state"] == "complete"
    assert server.requests[0].body == {"name": "data.bin", "size_bytes": len(DATA), "sha256": SHA}
    assert pieces(server) == [(0, DATA)]
    assert (read[-1], sent[-1]) == (len(DATA), len(DATA))
    assert server.requests[1].headers["Content-Length"] == str(len(DATA))


def test_what_the_server_has_is_not_sent(server: StandIn, client: Client, file: Path) -> None:
    server.on("POST", "/inputs", told("complete", len(DATA)))
    client.inputs.upload(file, "other")
    assert [request.method for request in server.requests] == ["POST"]
    assert server.requests[0].body["name"] == "other"


def test_an_upload_goes_on_where_it_was(server: StandIn, client: Client, file: Path) -> None:
    server.on("POST", "/inputs", told(offset=1000)).on("PATCH", PATH, told("complete", len(DATA)))
    client.inputs.upload(file)
    assert pieces(server) == [(1000, DATA[1000:])]


def test_a_broken_connection_is_taken_up_where_the_server_is(server: StandIn, client: Client, file: Path) -> None:
    server.on("POST", "/inputs", told())
    server.on("PATCH", PATH, broken(), broken(), told("complete", len(DATA)))
    server.on("GET", PATH, told(offset=5000), told(offset=900_000))
    client.inputs.upload(file)
    assert pieces(server) == [(0, DATA), (5000, DATA[5000:]), (900_000, DATA[900_000:])]


def test_an_offset_that_is_not_the_server_s_is_corrected(server: StandIn, client: Client, file: Path) -> None:
    server.on("POST", "/inputs", told())
    server.on("PATCH", PATH, problem("offset_conflict", 409, "elsewhere", offset=7), told("complete", len(DATA)))
    server.on("GET", PATH, told(offset=7))
    client.inputs.upload(file)
    assert pieces(server) == [(0, DATA), (7, DATA[7:])]


def test_a_file_that_is_being_stored_is_waited_for(server: StandIn, client: Client, file: Path) -> None:
    busy = problem("input_busy", 409, "stores it")
    server.on("POST", "/inputs", told("storing", len(DATA)))
    server.on("PATCH", PATH, *[busy] * 30, told("complete", len(DATA)))
    server.on("GET", PATH, told("storing", len(DATA)))
    client.inputs.upload(file)
    assert set(pieces(server)) == {(len(DATA), b"")}


def test_a_content_that_stays_on_its_way_out_is_not_waited_for_for_ever(
    server: StandIn, client: Client, file: Path
) -> None:
    busy = [problem("input_busy", 409, "the same content is being removed")] * 30
    server.on("POST", "/inputs", told())
    server.on("PATCH", PATH, *busy, told("complete", len(DATA)))
    server.on("GET", PATH, told(offset=len(DATA)))
    with pytest.raises(InputBusy, match=r"being removed.*data\.bin again later.*nothing is sent twice"):
        client.inputs.upload(file)
    assert pieces(server)[0] == (0, DATA)
    assert set(pieces(server)[1:]) == {(len(DATA), b"")}


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("input_damaged", 422, InputDamaged),
        ("quota_exceeded", 409, QuotaExceeded),
        ("invalid_request", 400, Invalid),
    ],
)
def test_what_is_refused_is_not_tried_again(
    server: StandIn, client: Client, file: Path, code: str, status: int, expected: type[Exception]
) -> None:
    server.on("POST", "/inputs", told()).on("PATCH", PATH, problem(code, status, "no"))
    with pytest.raises(expected):
        client.inputs.upload(file)
    assert len(pieces(server)) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (broken(), Unavailable),
        (problem("blobs_unavailable", 503, "no"), Unavailable),
        (problem("offset_conflict", 409, "no"), OffsetConflict),
    ],
)
def test_patience_ends_when_nothing_goes_on(
    server: StandIn, client: Client, file: Path, answer: Reply, expected: type[Exception]
) -> None:
    server.on("POST", "/inputs", told()).on("PATCH", PATH, answer).on("GET", PATH, told())
    with pytest.raises(expected):
        client.inputs.upload(file)
    assert len(pieces(server)) > 2


def test_an_empty_file(server: StandIn, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    empty = {"size_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    server.on("POST", "/inputs", reply(input_(state="uploading", offset=0, **empty)))
    server.on("PATCH", PATH, reply(input_(offset=0, **empty)))
    client.inputs.upload(tmp_path / "empty")
    assert pieces(server) == [(0, b"")]


def test_only_files_are_uploaded(client: Client, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        client.inputs.upload(tmp_path)
    with pytest.raises(Invalid, match="not a file"):
        client.inputs.upload(Path("/dev/null"))
    with pytest.raises(FileNotFoundError):
        client.inputs.upload(tmp_path / "none")


def test_all_of_a_list(server: StandIn, client: Client) -> None:
    server.on("GET", "/inputs", page(input_(), next_="x"), page(input_(name="b")))
    assert [each["name"] for each in client.inputs.each()] == ["a.txt", "b"]
    with pytest.raises(Invalid):
        client.inputs.remove("..")
