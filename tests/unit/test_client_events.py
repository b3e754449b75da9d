"""The stream of events: how it is read, and that a broken connection loses and repeats nothing."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway.client import Client, Patience
from snakeway.client.events import parse
from snakeway.errors import Invalid, RunNotFound, Unavailable
from tests.unit.test_client_nouns import RUN_ID, run
from tests.unit.test_client_stand_in import StandIn, broken, frame, problem, reply, running, stream

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine

PATH = f"/runs/{RUN_ID}/events"
PATIENCE = Patience(first_s=0.01, longest_s=0.02, total_s=0.1)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url, patience=PATIENCE) as client:
        yield client


def numbered(first: int, last: int) -> list[str]:
    return [frame("job", {"n": n}, f"1:{n}") for n in range(first, last + 1)]


END = frame("end", run(state="succeeded"))


def test_events_come_in_order_up_to_the_end(server: StandIn, client: Client) -> None:
    server.on("GET", PATH, stream(frame("run", run()), ": a comment\n\n", *numbered(1, 3), END))
    events = list(client.events(RUN_ID))
    assert [event.type for event in events] == ["run", "job", "job", "job", "end"]
    assert [event.id for event in events] == [None, "1:1", "1:2", "1:3", None]
    assert events[-1].data["state"] == "succeeded"
    assert "Last-Event-ID" not in server.requests[0].headers


def test_a_broken_connection_is_taken_up_behind_the_last_event(server: StandIn, client: Client) -> None:
    half = frame("job", {"n": 3}, "1:3")[:-12]
    server.on(
        "GET",
        PATH,
        stream(*numbered(1, 2), half, cut=True),
        broken(),
        problem("store_busy", 503, "locked"),
        stream(*numbered(3, 4), frame("run", run())),
        stream(*numbered(5, 5), END),
    )
    told: list[str] = []
    events = list(client.events(RUN_ID, retrying=lambda error, _: told.append(error.detail)))
    assert [event.data["n"] for event in events if event.type == "job"] == [1, 2, 3, 4, 5]
    last = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert last == [None, "1:2", "1:2", "1:2", "1:4"]
    assert len(told) == 4
    assert "closed the stream" in told[-1]


def test_following_can_begin_behind_an_event(server: StandIn, client: Client) -> None:
    server.on("GET", PATH, stream(END))
    list(client.events(RUN_ID, after="2:0"))
    assert server.requests[0].headers["Last-Event-ID"] == "2:0"


def test_patience_ends(server: StandIn, client: Client) -> None:
    server.on("GET", PATH, stream(*numbered(1, 1), cut=True), broken())
    seen = []
    with pytest.raises(Unavailable, match="broke"):
        seen.extend(event.id for event in client.events(RUN_ID))
    assert 3 < len(server.requests) < 15


def test_patience_starts_anew_with_every_event(server: StandIn, client: Client) -> None:
    pieces = [stream(frame("job", {"n": n}, f"1:{n}"), cut=True) for n in range(30)]
    server.on("GET", PATH, *pieces, stream(END))
    assert len(list(client.events(RUN_ID))) == 31


@pytest.mark.parametrize(
    ("answer", "cls"),
    [
        (problem("run_not_found", 404, "no"), RunNotFound),
        (problem("invalid_request", 400, "no"), Invalid),
        (problem("unavailable", 503, "no"), Unavailable),
    ],
)
def test_a_stream_that_never_stood_is_not_tried_again(
    answer: object, cls: type[Exception], server: StandIn, client: Client
) -> None:
    server.on("GET", PATH, answer)  # type: ignore[arg-type]
    with pytest.raises(cls):
        list(client.events(RUN_ID))
    assert len(server.requests) == 1


def test_a_run_that_is_removed_meanwhile_ends_it(server: StandIn, client: Client) -> None:
    server.on("GET", PATH, stream(*numbered(1, 1)), problem("run_not_found", 404, "gone"))
    with pytest.raises(RunNotFound):
        list(client.events(RUN_ID))


def test_a_consumer_that_stops_closes_the_connection(server: StandIn, client: Client) -> None:
    server.on("GET", PATH, stream(*numbered(1, 5)))
    server.on("GET", f"/runs/{RUN_ID}", reply(run()))
    for event in client.events(RUN_ID):
        assert event.id == "1:1"
        break
    assert client.run(RUN_ID)["id"] == RUN_ID


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
objects = st.dictionaries(st.text(), values, max_size=4)


@unhurried
@given(st.lists(objects, max_size=6), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_any_events_survive_any_cut_into_chunks(events: list[dict[str, object]], data: st.DataObject, end: str) -> None:
    text = "".join(
        f"id: 1:{n}{end}event: job{end}data: {json.dumps(event, ensure_ascii=False)}{end}{end}"
        for n, event in enumerate(events)
    ).encode(errors="surrogatepass")
    chunks = []
    while text:
        size = data.draw(st.integers(1, max(1, min(len(text), 40))))
        chunks.append(text[:size])
        text = text[size:]
    found = list(parse(chunks))
    clean = [json.loads(json.dumps(event).replace("\\ud", "\\ud")) for event in events]
    assert [event.id for event in found] == [f"1:{n}" for n in range(len(events))]
    for event, expected in zip(found, clean, strict=True):
        if not any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(expected, ensure_ascii=False)):
            assert event.data == expected


def test_what_the_standard_says_about_lines() -> None:
    text = (
        'data:{"a":\ndata: 1}\n\n'  # data over two lines, with and without a space
        "event: x\n\n"  # no data: no event
        "data: not json\n\n"
        "data: [1]\n\n"  # not an object
        "id: a\0b\ndata: {}\n\n"  # an id with NUL is not one
        'retry: 5\nunknown: y\nwithout colon\ndata: {"b":"\u2028\x85"}\n\n'
        'data: {"cut": true}\n'  # not ended by an empty line
    )
    events = list(parse([text.encode()]))
    assert [event.data for event in events] == [{"a": 1}, {}, {"b": "\u2028\x85"}]
    assert [event.id for event in events] == [None, None, None]
    assert events[0].type == "message"
