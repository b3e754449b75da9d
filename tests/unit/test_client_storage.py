"""Downloads that the server sends elsewhere: to a storage, which gets no token, and back where that is no use."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakeway.client import Client
from snakeway.errors import Unavailable
from tests.support.server import free_port
from tests.unit.test_client_files import PATIENCE
from tests.unit.test_client_nouns import RUN_ID
from tests.unit.test_client_stand_in import API, Reply, StandIn, file, running, text

PATH = f"/runs/{RUN_ID}/artifacts/a.bin"
DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
SIGNED = "X-Amz-Signature=feed"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def storage() -> Iterator[StandIn]:
    """Another server: another port is another origin."""
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url, "a-token-of-the-server", patience=PATIENCE) as client:
        yield client


def sent_to(url: str) -> Reply:
    return lambda handler: handler.send(307, b"", {"Location": url, "Cache-Control": "no-store"})


def test_the_storage_never_sees_the_token(server: StandIn, storage: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, sent_to(f"{storage.url}{API}/b/a.bin?{SIGNED}"))
    storage.on("GET", "/b/a.bin", file(DATA))
    client.download(RUN_ID, "a.bin", tmp_path / "a.bin", sha256=SHA)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    (asked,) = storage.requests
    assert asked.query == [("X-Amz-Signature", "feed")]
    assert "Authorization" not in asked.headers
    assert "Cookie" not in asked.headers
    assert server.requests[0].headers["Authorization"] == "Bearer a-token-of-the-server"


def test_what_broke_is_taken_up_with_a_new_address(
    server: StandIn, storage: StandIn, client: Client, tmp_path: Path
) -> None:
    server.on("GET", PATH, *(sent_to(f"{storage.url}{API}/{name}") for name in ("first", "second")))
    storage.on("GET", "/first", file(DATA, cut_after=1000, headers={"ETag": '"t"'}))
    storage.on("GET", "/second", file(DATA, headers={"ETag": '"t"'}))
    client.download(RUN_ID, "a.bin", tmp_path / "a.bin", sha256=SHA)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert storage.sent("/second")[0].headers["Range"] == "bytes=1000-"


def unreachable(_: StandIn) -> str:
    return f"http://127.0.0.1:{free_port()}/b/a.bin?{SIGNED}"


def refusing(storage: StandIn) -> str:
    storage.on("GET", "/expired", text("<Error>Request has expired</Error>", 403, "application/xml"))
    return f"{storage.url}{API}/expired"


def malformed(_: StandIn) -> str:
    return "http://[nowhere/"


@pytest.mark.parametrize("place", [unreachable, refusing, malformed])
def test_where_the_storage_is_no_use_the_server_sends_the_file(
    place: Callable[[StandIn], str], server: StandIn, storage: StandIn, client: Client, tmp_path: Path
) -> None:
    server.on("GET", PATH, sent_to(place(storage)), file(DATA))
    client.download(RUN_ID, "a.bin", tmp_path / "a.bin", sha256=SHA)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [request.query for request in server.requests] == [[], [("redirect", "false")]]


def test_damage_in_the_storage_is_noticed(server: StandIn, storage: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, sent_to(f"{storage.url}{API}/a"))
    storage.on("GET", "/a", file(DATA[:-1] + b"?"))
    with pytest.raises(Unavailable, match="arrived damaged"):
        client.download(RUN_ID, "a.bin", tmp_path / "a.bin", sha256=SHA)
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_not_repeated_in_an_error(
    server: StandIn, storage: StandIn, client: Client, tmp_path: Path
) -> None:
    server.on("GET", PATH, sent_to(f"{storage.url}{API}/a?{SIGNED}"))
    storage.on("GET", "/a", file(DATA, cut_after=0))
    with pytest.raises(Unavailable, match="the connection to the storage broke") as caught:
        client.download(RUN_ID, "a.bin", tmp_path / "a.bin", sha256=SHA)
    assert "feed" not in str(caught.value)
