"""Logs read from any place, and downloads that arrive whole or not at all."""

import base64
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakeway.client import Client, Patience
from snakeway.errors import ArtifactNotFound, Invalid, LogNotFound, Unavailable
from tests.unit.test_client_nouns import RUN_ID
from tests.unit.test_client_stand_in import StandIn, broken, file, problem, running

PATH = f"/runs/{RUN_ID}/artifacts/results/a%20b%25%23.bin"
NAME = "results/a b%#.bin"
LOG = f"/runs/{RUN_ID}/log"
PATIENCE = Patience(first_s=0.01, longest_s=0.02, total_s=0.1)
DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
DIGEST = {"Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(SHA)).decode()}:", "ETag": f'"{SHA}"'}


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url, patience=PATIENCE) as client:
        yield client


def ranges(server: StandIn) -> list[str | None]:
    return [request.headers.get("Range") for request in server.requests]


def test_a_file_arrives_whole_and_alone(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA))
    sizes: list[int] = []
    client.download(RUN_ID, NAME, tmp_path / "new" / "x.bin", sha256=SHA, progress=sizes.append)
    assert (tmp_path / "new" / "x.bin").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.bin"]
    assert sizes[-1] == len(DATA)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_the_file_has_the_permissions_of_any_new_file(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA))
    (tmp_path / "plain").touch()
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    client.download(RUN_ID, NAME, tmp_path / "y")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("known", [True, False], ids=["digest known", "digest from the server"])
def test_a_broken_connection_is_taken_up_where_it_broke(
    known: bool, server: StandIn, client: Client, tmp_path: Path
) -> None:
    server.on(
        "GET",
        PATH,
        file(DATA, cut_after=100_000, headers=DIGEST),
        broken(),
        file(DATA, cut_after=50_000, headers=DIGEST),
        file(DATA, headers=DIGEST),
    )
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA if known else None)
    assert (tmp_path / "x").read_bytes() == DATA
    assert ranges(server) == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert server.requests[1].headers["If-Range"] == f'"{SHA}"'


def test_without_digest_and_tag_a_broken_download_starts_again(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), file(DATA))
    client.download(RUN_ID, NAME, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_a_server_that_ignores_ranges_sends_all_again(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), file(DATA, ranges=False))
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_failed_download_goes_on_the_next_time(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), broken())
    with pytest.raises(Unavailable):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert not (tmp_path / "x").exists()
    server.on("GET", PATH, file(DATA))
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert ranges(server)[-1] == "bytes=100000-"
    assert (tmp_path / "x").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_leftover_that_is_whole_is_only_checked(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), broken())
    with pytest.raises(Unavailable):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    [part] = tmp_path.iterdir()
    part.write_bytes(DATA)
    server.on("GET", PATH, file(DATA))
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("leftover", [b"\0" * 100_000, b"\0" * 400_000], ids=["shorter", "longer"])
def test_a_damaged_leftover_is_fetched_anew(leftover: bytes, server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), broken())
    with pytest.raises(Unavailable):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    [part] = tmp_path.iterdir()
    part.write_bytes(leftover)
    server.on("GET", PATH, file(DATA))
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["0" * 64, None], ids=["known", "from the server"])
def test_a_wrong_digest_keeps_what_was_there(
    sha256: str | None, server: StandIn, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("before")
    wrong = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
    server.on("GET", PATH, file(DATA, headers={"Repr-Digest": wrong}))
    with pytest.raises(Unavailable, match="arrived damaged"):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=sha256)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "before"


def test_what_the_server_refuses_leaves_nothing(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, problem("artifact_not_found", 404, "gone"))
    with pytest.raises(ArtifactNotFound):
        client.download(RUN_ID, NAME, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(b""))
    client.download(RUN_ID, NAME, tmp_path / "x", sha256=hashlib.sha256(b"").hexdigest())
    assert (tmp_path / "x").read_bytes() == b""


def test_two_downloads_of_one_file_do_not_mix(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA))
    threads = [
        threading.Thread(target=client.download, args=(RUN_ID, NAME, tmp_path / "x"), kwargs={"sha256": SHA})
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_somebody_else_downloads_is_left_alone(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), broken())
    with pytest.raises(Unavailable):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    [part] = tmp_path.iterdir()
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        server.on("GET", PATH, file(DATA))
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert (tmp_path / "x").read_bytes() == DATA
    assert part.stat().st_size == 100_000


def test_a_link_in_place_of_the_growing_file_is_not_followed(server: StandIn, client: Client, tmp_path: Path) -> None:
    server.on("GET", PATH, file(DATA, cut_after=100_000), broken())
    with pytest.raises(Unavailable):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    [part] = tmp_path.iterdir()
    part.unlink()
    (tmp_path / "victim").write_text("mine")
    part.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        client.download(RUN_ID, NAME, tmp_path / "x", sha256=SHA)
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".."])
def test_paths_that_lead_out_of_the_run_are_not_asked_for(
    path: str, server: StandIn, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(Invalid):
        client.download(RUN_ID, path, tmp_path / "x")
    assert server.requests == []


def test_a_log_is_read_from_a_byte_on(server: StandIn, client: Client) -> None:
    server.on("GET", LOG, file(b"0123456789"))
    assert b"".join(client.run_log(RUN_ID)) == b"0123456789"
    assert b"".join(client.run_log(RUN_ID, start=4)) == b"456789"
    assert b"".join(client.run_log(RUN_ID, start=10)) == b""
    assert b"".join(client.run_log(RUN_ID, attempt=2, tail=5)) == b"0123456789"
    assert dict(server.requests[-1].query) == {"attempt": "2", "tail": "5"}


def test_a_log_of_a_server_that_ignores_ranges(server: StandIn, client: Client) -> None:
    server.on("GET", LOG, file(DATA, ranges=False))
    assert b"".join(client.run_log(RUN_ID, start=200_001)) == DATA[200_001:]
    assert client.log_size(RUN_ID) == len(DATA)


def test_the_size_of_a_log(server: StandIn, client: Client) -> None:
    server.on("GET", f"/runs/{RUN_ID}/jobs/3/log", file(b"0123456789"), file(b""), file(b"", ranges=False))
    assert [client.log_size(RUN_ID, 3, attempt=1) for _ in range(3)] == [10, 0, 0]


def test_no_log(server: StandIn, client: Client) -> None:
    server.on("GET", LOG, problem("log_not_found", 404, "nothing yet"))
    with pytest.raises(LogNotFound):
        list(client.run_log(RUN_ID))
    with pytest.raises(LogNotFound):
        client.log_size(RUN_ID)
