import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from snakeway.api import events
from snakeway.api.events import Feed, frames
from snakeway.app import create_app
from snakeway.errors import StoreBusy
from snakeway.model.attempt import AttemptState
from snakeway.model.user import LOCAL
from snakeway.rows import RunRow
from snakeway.store import runs
from tests.integration.test_api_fixtures import Api, make_parts

pytest_plugins = ["tests.integration.test_api_fixtures"]

Frame = dict[str, Any]


def parse(data: bytes) -> list[Frame]:
    """Return the frames of a stream, ``data`` as JSON, as a browser would read them; comments have no members."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        frame: Frame = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name and not line.startswith(":"):
                frame[name] = value
        if "data" in frame:
            frame["data"] = json.loads(frame["data"])
        found.append(frame)
    return found


def ended_run(api: Api, *events_: Frame) -> RunRow:
    run = api.add_run()
    api.write_events(run, *events_)
    api.end(run)
    return run


def stream(api: Api, run: RunRow, **options: Any) -> list[Frame]:
    response = api.request("GET", f"/runs/{run.id}/events", **options)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    return parse(response.content)


EVENTS = [{"type": "attempt_started"}, {"type": "job", "job": 1}, {"type": "job_finished", "job": 1, "text": "a\nb ü"}]


def test_an_ended_run_is_told_from_the_beginning_and_the_stream_ends(api: Api) -> None:
    run = ended_run(api, *EVENTS)
    told = stream(api, run)
    assert [frame["event"] for frame in told] == ["attempt_started", "job", "job_finished", "run", "end"]
    assert [frame["data"]["seq"] for frame in told[:3]] == [0, 1, 2]
    assert {frame["data"]["attempt"] for frame in told[:3]} == {1}
    assert told[2]["data"]["text"] == "a\nb ü"
    assert told[-1]["data"] == told[-2]["data"] == api.get(f"/runs/{run.id}")
    assert told[-1]["data"]["state"] == "succeeded"
    assert "id" not in told[-1]


def test_a_stream_goes_on_behind_any_event(sqlite_api: Api) -> None:
    run = ended_run(sqlite_api, *EVENTS)
    sqlite_api.add_attempt(run)
    sqlite_api.write_events(run, *EVENTS, number=2)
    sqlite_api.end(run)
    told = [frame for frame in stream(sqlite_api, run) if "id" in frame]
    assert [(f["data"]["attempt"], f["data"]["seq"]) for f in told] == [(a, s) for a in (1, 2) for s in (0, 1, 2)]
    for i, frame in enumerate(told):
        for options in ({"headers": {"Last-Event-ID": frame["id"]}}, {"params": {"after": frame["id"]}}):
            rest = [each for each in stream(sqlite_api, run, **options) if "id" in each]
            assert rest == told[i + 1 :]


def test_attempts_without_events_are_passed_over(sqlite_api: Api) -> None:
    run = sqlite_api.add_run()
    sqlite_api.end(run, AttemptState.LOST)
    for _ in range(3):
        sqlite_api.end(run) if sqlite_api.newest(run).state is AttemptState.QUEUED else None
        sqlite_api.add_attempt(run)
        sqlite_api.end(run)
    sqlite_api.write_events(run, *EVENTS, number=4)
    assert [frame["event"] for frame in stream(sqlite_api, run) if "id" in frame] == [e["type"] for e in EVENTS]


@pytest.mark.parametrize("after", ["x", "1", "1:", ":1", "1:-1", "9:0", "0:0", "1:99999999999999999999999", "1:1:1"])
def test_a_place_that_is_not_of_this_run_is_refused(sqlite_api: Api, after: str) -> None:
    run = ended_run(sqlite_api, *EVENTS)
    path = f"/runs/{run.id}/events"
    for field, sent in (("Last-Event-ID", "headers"), ("after", "params")):
        problem = sqlite_api.refused("GET", path, "invalid_request", **{sent: {field: after}})
        assert problem["field"] == field
        assert problem["detail"].startswith(f"{field}: ")


def test_what_a_job_writes_into_the_file_cannot_pass_for_the_stream_s_own(sqlite_api: Api) -> None:
    lies: list[Frame] = [{"type": "end"}, {"type": "run"}, {"type": "x\nevent: end"}, {"type": "X"}, {"type": ""}]
    run = ended_run(sqlite_api, *lies, {"type": "job", "attempt": 7, "job": 1})
    directory = sqlite_api.directory(run)
    with directory.events.open("ab") as file:
        file.write(b"\xff\xfe\n[]\n{}\nnull\n" + b'{"type": "job", "seq": -1, "t": 1}\n' + b'{"half')
    told = stream(sqlite_api, run)
    assert [frame["event"] for frame in told] == ["job", "run", "end"]
    assert told[0]["data"]["attempt"] == 1


def test_many_events_are_sent_a_piece_at_a_time(sqlite_api: Api) -> None:
    run = ended_run(sqlite_api, *({"type": "job", "job": i, "x": "y" * 400} for i in range(10_000)))
    feed = Feed(sqlite_api.reads, LOCAL, run.id, None)
    pieces = []
    while not feed.ended:
        pieces.append(feed.look())
    assert max(map(len, pieces)) < 3_000_000
    assert sum(map(len, pieces)) > 4_000_000
    assert [frame["data"]["job"] for frame in parse(b"".join(pieces)) if "id" in frame] == list(range(10_000))


class Clock:
    """Stands in for ``monotonic``."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events, "monotonic", clock)
    return clock


def looked(feed: Feed) -> list[str]:
    return [frame["event"] for frame in parse(feed.look())]


def test_a_running_run_is_told_as_it_goes(sqlite_api: Api, clock: Clock) -> None:
    run = sqlite_api.add_run()
    first = sqlite_api.newest(run)
    feed = Feed(sqlite_api.reads, LOCAL, run.id, None)
    assert looked(feed) == ["run"]
    assert looked(feed) == []
    sqlite_api.move(first.id, AttemptState.STARTING, AttemptState.RUNNING)
    sqlite_api.write_events(run, *EVENTS)
    assert looked(feed) == [*(event["type"] for event in EVENTS), "run"]
    with sqlite_api.store.write() as tx:
        runs.note_progress(tx, run.id, {"jobs_done": 1})
    assert looked(feed) == ["run"]
    sqlite_api.move(first.id, AttemptState.LOST)
    sqlite_api.write_events(run, {"type": "error"})
    sqlite_api.add_attempt(run)
    sqlite_api.write_events(run, *EVENTS[:1], number=2)
    assert looked(feed) == ["error", "run"]
    assert looked(feed) == []
    clock.now += events.ATTEMPTS_S + 0.1
    assert looked(feed) == []
    assert looked(feed) == ["attempt_started"]
    assert not feed.ended
    sqlite_api.end(run)
    assert looked(feed) == ["run", "end"]
    assert feed.ended


def test_events_that_come_with_the_end_are_not_lost(sqlite_api: Api) -> None:
    run = ended_run(sqlite_api, *EVENTS)
    feed = Feed(sqlite_api.reads, LOCAL, run.id, None)
    assert looked(feed)[-1] == "job_finished"
    sqlite_api.write_events(run, {"type": "attempt_ended"})
    assert looked(feed) == ["attempt_ended"]
    assert looked(feed) == ["run", "end"]


@pytest.mark.anyio
async def test_silence_is_broken_by_a_comment(sqlite_api: Api, clock: Clock) -> None:
    run = sqlite_api.add_run()
    told = frames(Feed(sqlite_api.reads, LOCAL, run.id, None), threading.Event(), poll_s=0)
    assert parse(await anext(told))[0]["event"] == "run"
    clock.now += events.HEARTBEAT_S
    assert await anext(told) == b":\n\n"
    await told.aclose()


@pytest.mark.anyio
async def test_the_stream_ends_when_the_run_is_deleted(sqlite_api: Api) -> None:
    run = sqlite_api.add_run()
    told = frames(Feed(sqlite_api.reads, LOCAL, run.id, None), threading.Event(), poll_s=0)
    await anext(told)
    with sqlite_api.store.write() as tx:
        runs.remove(tx, run.id)
    assert [frame async for frame in told] == []


@pytest.mark.anyio
async def test_the_stream_ends_when_the_server_stops(sqlite_api: Api) -> None:
    run = sqlite_api.add_run()
    stopping = threading.Event()
    told = frames(Feed(sqlite_api.reads, LOCAL, run.id, None), stopping, poll_s=0)
    await anext(told)
    stopping.set()
    assert [frame async for frame in told] == []


@pytest.mark.anyio
async def test_a_busy_database_is_waited_for(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended_run(sqlite_api, *EVENTS)
    feed = Feed(sqlite_api.reads, LOCAL, run.id, None)
    look = feed.look
    answers = iter([StoreBusy("busy"), StoreBusy("busy")])

    def busy_at_first() -> bytes:
        for error in answers:
            raise error
        return look()

    monkeypatch.setattr(feed, "look", busy_at_first)
    told = b"".join([frame async for frame in frames(feed, threading.Event(), poll_s=0)])
    assert [frame["event"] for frame in parse(told)][-1] == "end"


@pytest.fixture
def url(sqlite_api: Api) -> Iterator[str]:
    """URL of a real server over the same parts, in a thread."""
    app = create_app(make_parts(sqlite_api.store, sqlite_api.settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
        server.should_exit = True
        thread.join()


def test_a_real_client_follows_a_run_to_its_end(sqlite_api: Api, url: str) -> None:
    run = sqlite_api.add_run()
    with httpx.stream("GET", f"{url}/runs/{run.id}/events", timeout=30) as response:
        lines = response.iter_lines()
        events_seen = (line.removeprefix("event: ") for line in lines if line.startswith("event: "))
        assert next(events_seen) == "run"
        sqlite_api.write_events(run, *EVENTS)
        assert [next(events_seen) for _ in EVENTS] == [event["type"] for event in EVENTS]
        sqlite_api.end(run)
        assert list(events_seen) == ["run", "end"]


def test_a_client_that_goes_away_is_forgotten(sqlite_api: Api, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    async def watched(*arguments: Any) -> Any:
        async with contextlib.aclosing(frames(*arguments)) as told:
            try:
                async for frame in told:
                    yield frame
            finally:
                gone.set()

    monkeypatch.setattr(events, "frames", watched)
    run = sqlite_api.add_run()
    with httpx.stream("GET", f"{url}/runs/{run.id}/events", timeout=30) as response:
        next(response.iter_bytes())
    assert gone.wait(10)


def test_an_endless_body_is_cut_off(url: str) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])), timeout=30) as raw:
        raw.sendall(b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        raw.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                raw.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
                sent += 0x2000
                raw.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if raw.recv(100).startswith(b"HTTP/1.1 413"):
                        break
                raw.setblocking(True)
    assert sent < 10_000_000
