"""Runs by hand over HTTP: recorded at offsets, projected by a supervisor, shown like any other, and read-only."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway import ids
from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.catalog import Catalog
from snakeway.errors import Invalid, OffsetConflict
from snakeway.model.user import User
from snakeway.rows import now
from snakeway.service.outside import Outside
from snakeway.store import Store
from snakeway.supervisor.loop import Supervisor
from snakeway.supervisor.report import Report
from snakeway.supervisor.warm import Launcher
from snakeway.telemetry import Spans
from snakeway.telemetry.metrics import Metrics
from tests.integration.test_api_fixtures import Api
from tests.support.byhand import Attempt

pytest_plugins = ["tests.integration.test_api_fixtures"]

NDJSON = {"Content-Type": "application/x-ndjson"}
Tick = Callable[..., None]


@pytest.fixture
def tick(api: Api) -> Tick:
    """Lets a supervisor look around once; at another time, if one is given."""
    spans = Spans(lambda _text: None)
    metrics = Metrics()
    catalog, report = Catalog(api.settings), Report(api.store, spans, metrics)
    supervisor = Supervisor(api.store, catalog, api.settings, Storages(open_location), report, Launcher())

    def tick(at: datetime | None = None) -> None:
        for _ in range(3):  # take on, take in, end
            supervisor.tick(at or now())

    return tick


def send(api: Api, attempt: Attempt, offset: int, data: bytes, **query: Any) -> Any:
    answer = api.request(
        "POST", f"{attempt.path}/events", params={"offset": offset, **query}, content=data, headers=NDJSON
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(api: Api, attempt: Attempt, offset: int, data: bytes, code: str) -> Any:
    query = {"offset": offset}
    return api.refused("POST", f"{attempt.path}/events", code, params=query, content=data, headers=NDJSON)


def state(api: Api, attempt: Attempt) -> str:
    return str(api.get(f"/runs/{attempt.run_id}")["state"])


def test_a_run_by_hand_from_its_first_event_to_its_end(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    assert api.get(attempt.path) == {
        "run_id": attempt.run_id,
        "attempt_id": attempt.id,
        "attempt": None,
        "state": None,
        "offset": 0,
        "max_bytes": api.settings.max_body_bytes,
    }
    first = attempt.started() + attempt.stats(3) + attempt.job(1) + attempt.job(2)
    answer = send(api, attempt, 0, first + b'{"seq": 4, "t": 1, "ty')
    assert (answer["offset"], answer["attempt"], answer["state"]) == (len(first), 1, "running")
    tick()
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["state"], run["outside"], run["workflow"], run["target"]) == ("running", True, "penguins", "slurm")
    assert (run["digest"], run["jobs"]) == ("", {"total": 3, "done": 0, "failed": 0})
    assert run["source"]["directory"] == "/home/ada/penguins"
    rest = attempt.finished(1) + attempt.failed(2) + attempt.ended()
    send(api, attempt, len(first), rest)
    tick()
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["state"], run["error"]) == ("failed", "1 of 3 jobs failed: fit (1: exit code).")
    assert (run["started_at"], run["ended_at"]) == ("2026-09-21T14:13:20Z", "2026-09-21T14:13:26Z")
    [shown] = api.get(f"/runs/{attempt.run_id}/attempts")["items"]
    assert (shown["state"], shown["reason"], shown["exit_code"]) == ("failed", "outside", 1)
    jobs = {job["job"]: job for job in api.get(f"/runs/{attempt.run_id}/jobs")["items"]}
    assert [jobs[n]["state"] for n in (1, 2)] == ["succeeded", "failed"]
    log = api.request("GET", f"/runs/{attempt.run_id}/jobs/2/log")
    assert (log.status_code, log.text) == (200, "boom\n")
    stream = api.request("GET", f"/runs/{attempt.run_id}/events").text
    assert [line for line in stream.splitlines() if line.startswith("event: ")] == [
        f"event: {name}"
        for name in (
            *("attempt_started", "stats", "job", "job", "job_finished", "job_failed", "attempt_ended"),
            *("run", "end"),
        )
    ]


def test_a_run_by_hand_is_in_the_trace_that_it_was_started_in(api: Api) -> None:
    attempt, alone = Attempt(), Attempt()
    trace = "0af7651916cd43dd8448eb211c80319c"
    send(api, attempt, 0, attempt.started(traceparent=f"00-{trace}-b7ad6b7169203331-01"))
    assert api.get(f"/runs/{attempt.run_id}")["trace_id"] == trace
    send(api, alone, 0, alone.started(traceparent="nonsense"))
    assert api.get(f"/runs/{alone.run_id}")["trace_id"] == alone.run_id.replace("-", "")


def test_bytes_at_another_offset_change_nothing(api: Api) -> None:
    attempt = Attempt()
    first = attempt.started()
    assert refused(api, attempt, 5, first, "offset_conflict")["offset"] == 0
    send(api, attempt, 0, first)
    assert refused(api, attempt, 0, first, "offset_conflict")["offset"] == len(first)
    assert refused(api, attempt, len(first) + 1, first, "offset_conflict")["offset"] == len(first)
    assert api.get(attempt.path)["offset"] == len(first)


def test_only_what_begins_an_attempt_by_hand_makes_one(api: Api) -> None:
    attempt, other = Attempt(), Attempt()
    for data in (
        b"",
        b"{}\n",
        attempt.stats(1),
        other.started(),
        Attempt(attempt.run_id).started(),
        Attempt(attempt.run_id, attempt.id).started(outside=False),
        Attempt(attempt.run_id, attempt.id).started(dry_run=True),
        Attempt(attempt.run_id, attempt.id).started(v=99),
        Attempt(attempt.run_id, attempt.id).started().strip(),
    ):
        refused(api, attempt, 0, data, "invalid_request")
    api.refused("GET", f"/runs/{attempt.run_id}", "run_not_found")


@pytest.mark.parametrize("bad", ["x", "0198c5b2-7d30-4c4e-9a55-0f6a3f1c2d10", "082f79cd-9000-707f-b80c-4f02e6b547f3"])
def test_ids_are_of_version_7_and_of_now(api: Api, bad: str) -> None:
    for attempt in (Attempt(run_id=bad), Attempt(id=bad)):
        refused(api, attempt, 0, attempt.started(), "invalid_request")
        api.refused("GET", attempt.path, "invalid_request")


def test_a_run_of_the_service_or_of_somebody_else_is_refused(api: Api) -> None:
    ours = Attempt(api.add_run().id)
    refused(api, ours, 0, ours.started(), "not_outside")
    api.refused("GET", ours.path, "not_outside")
    theirs = Attempt(api.add_run(owner="bob", outside=True).id)
    refused(api, theirs, 0, theirs.started(), "forbidden")
    api.refused("GET", theirs.path, "forbidden")
    mine, stolen = Attempt(), Attempt()
    send(api, mine, 0, mine.started())
    refused(api, Attempt(stolen.run_id, mine.id), 0, mine.started(), "conflict")


def test_other_bodies_are_refused(api: Api) -> None:
    attempt = Attempt()
    path = f"{attempt.path}/events"
    for headers in ({"Content-Type": "application/json"}, {**NDJSON, "Content-Encoding": "gzip"}):
        problem = {"params": {"offset": 0}, "content": attempt.started(), "headers": headers}
        api.refused("POST", path, "unsupported_media_type", **problem)
    large = {"params": {"offset": 0}, "content": b"\n" * (api.settings.max_body_bytes + 1), "headers": NDJSON}
    api.refused("POST", path, "body_too_large", **large)


def test_a_run_by_hand_is_read_only_and_its_record_can_be_removed(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    data = attempt.started() + attempt.ended()
    send(api, attempt, 0, data)
    for action in ("cancel", "rerun"):
        problem = api.refused("POST", f"/runs/{attempt.run_id}/{action}", "outside_run")
        assert "/home/ada/penguins" in problem["detail"]
    api.refused("DELETE", f"/runs/{attempt.run_id}", "run_active")
    tick()
    assert state(api, attempt) == "succeeded"
    for action in ("cancel", "rerun"):
        api.refused("POST", f"/runs/{attempt.run_id}/{action}", "outside_run")
    assert api.request("DELETE", f"/runs/{attempt.run_id}").status_code == 204
    assert not api.reads.directory(attempt.run_id).path.exists()
    assert api.get(attempt.path)["offset"] == 0
    send(api, attempt, 0, data)
    assert state(api, attempt) == "running"


def test_the_log_is_that_of_the_attempt(api: Api) -> None:
    attempt = Attempt()
    headers = {"Content-Type": "text/plain"}
    api.refused("PUT", f"{attempt.path}/log", "attempt_not_found", content=b"x", headers=headers)
    send(api, attempt, 0, attempt.started())
    api.refused("GET", f"/runs/{attempt.run_id}/log", "log_not_found")
    for text in (b"one\n", b"one\ntwo\n"):
        assert api.request("PUT", f"{attempt.path}/log", content=text, headers=headers).status_code == 204
        assert api.request("GET", f"/runs/{attempt.run_id}/log").content == text
    assert api.request("GET", f"/runs/{attempt.run_id}/log", params={"tail": 1}).content == b"two\n"


def test_silence_is_a_loss_until_it_is_broken(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    first = attempt.started() + attempt.stats(2) + attempt.job(1)
    send(api, attempt, 0, first)
    silence = timedelta(seconds=api.settings.outside_silence_s)
    tick(now() + silence - timedelta(seconds=60))
    assert state(api, attempt) == "running"
    send(api, attempt, len(first), b"")  # a sign of life
    tick(now() + silence + timedelta(seconds=60))
    assert state(api, attempt) == "failed"
    [job] = api.get(f"/runs/{attempt.run_id}/jobs")["items"]
    assert job["state"] == "lost"
    assert [each["state"] for each in api.get(f"/runs/{attempt.run_id}/attempts")["items"]] == ["lost"]
    send(api, attempt, len(first), b"")  # still there, but with nothing new
    assert state(api, attempt) == "failed"
    rest = attempt.finished(1) + attempt.job(2) + attempt.finished(2) + attempt.ended()
    this_month = {"since": "2026-01", "until": "2027-12"}
    assert api.get("/cost", **this_month)["total"]["jobs"] == 1
    assert send(api, attempt, len(first), rest)["state"] == "running"
    assert api.get("/cost", **this_month)["items"] == []  # it goes on: what it uses is counted at its end
    tick()
    assert state(api, attempt) == "succeeded"
    assert api.get("/cost", **this_month)["total"]["jobs"] == 2
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["jobs"], run["error"]) == ({"total": 2, "done": 2, "failed": 0}, None)


def test_what_was_said_before_a_silence_still_counts(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    first = attempt.started() + attempt.job(1) + attempt.finished(1) + attempt.line("error", exception="E", message="m")
    send(api, attempt, 0, first)
    send(api, attempt, len(first), b"", gone=True)
    tick()
    send(api, attempt, len(first), attempt.ended())
    tick()
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["state"], run["jobs"]["done"]) == ("failed", 1)
    assert "disappeared" not in run["error"]


def test_a_process_that_is_gone_is_a_loss_at_once(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    first = attempt.started() + attempt.job(1)
    send(api, attempt, 0, first)
    send(api, attempt, len(first), b"", gone=True)
    tick()
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["state"], run["error"]) == ("failed", "The snakemake process disappeared without a word.")
    assert run["ended_at"] == "2026-09-21T14:13:21Z"  # its last word


def test_a_stop_in_the_middle_is_a_failure_that_says_so(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    send(api, attempt, 0, attempt.started() + attempt.job(1) + attempt.ended())
    tick()
    run = api.get(f"/runs/{attempt.run_id}")
    assert (run["state"], run["error"]) == ("failed", "Snakemake was stopped before its jobs had ended.")


def test_attempts_may_be_recorded_in_any_order(api: Api, tick: Tick) -> None:
    run_id = ids.new_id(1_790_000_000_000)
    old, new = (Attempt(run_id, ids.new_id(1_790_000_000_000 + n)) for n in (1, 2))
    send(api, new, 0, new.started() + new.stats(1) + new.job(1) + new.finished(1) + new.ended())
    tick()
    assert state(api, new) == "succeeded"
    send(api, old, 0, old.started() + old.stats(2) + old.job(1) + old.failed(1) + old.ended())
    tick()
    run = api.get(f"/runs/{run_id}")
    assert (run["state"], run["error"], run["jobs"]) == ("succeeded", None, {"total": 1, "done": 1, "failed": 0})
    assert api.get(f"/runs/{run_id}/jobs/1", attempt=2)["state"] == "failed"
    assert [each["state"] for each in api.get(f"/runs/{run_id}/attempts")["items"]] == ["succeeded", "failed"]


def test_the_counts_are_those_of_the_newest_attempt_that_had_jobs(api: Api, tick: Tick) -> None:
    run_id = ids.new_id(1_790_000_000_000)
    failed, good, idle = (Attempt(run_id, ids.new_id(1_790_000_000_000 + n)) for n in (1, 2, 3))
    for attempt, events in (
        (good, good.stats(1) + good.job(1) + good.finished(1)),
        (idle, b""),
        (failed, failed.stats(2) + failed.job(1) + failed.failed(1)),
    ):
        send(api, attempt, 0, attempt.started() + events + attempt.ended())
        tick()
        run = api.get(f"/runs/{run_id}")
        assert (run["state"], run["jobs"]) == ("succeeded", {"total": 1, "done": 1, "failed": 0})


def test_a_crash_in_the_middle_of_a_write_is_repaired_by_the_next(api: Api) -> None:
    attempt = Attempt()
    first, second = attempt.started(), attempt.stats(1)
    send(api, attempt, 0, first)
    events = api.reads.directory(attempt.run_id).attempt(1).events
    with events.open("ab") as file:
        file.write(second[:7])
    assert api.get(attempt.path)["offset"] == len(first)
    send(api, attempt, len(first), second)
    assert events.read_bytes() == first + second


def test_events_that_came_before_a_crash_noted_them_are_taken_in(api: Api, tick: Tick) -> None:
    attempt = Attempt()
    first, rest = attempt.started(), attempt.ended()
    send(api, attempt, 0, first)
    send(api, attempt, len(first), b"", gone=True)
    tick()
    assert state(api, attempt) == "failed"
    with api.reads.directory(attempt.run_id).attempt(1).events.open("ab") as file:
        file.write(rest)  # the server was killed between the write and the commit
    offset = api.get(attempt.path)["offset"]
    assert offset == len(first + rest)
    send(api, attempt, offset, b"")
    tick()
    assert state(api, attempt) == "succeeded"


def test_runs_by_hand_take_no_place_of_those_that_are_started(sqlite_api: Api) -> None:
    api = sqlite_api
    report = Report(api.store, Spans(lambda _text: None), Metrics())
    supervisor = Supervisor(api.store, Catalog(api.settings), api.settings, Storages(open_location), report, Launcher())
    for _ in range(api.settings.max_active_runs + 1):
        attempt = Attempt()
        send(api, attempt, 0, attempt.started())
    supervisor.tick(now())
    assert supervisor._started() == 0
    assert len(supervisor._watches) == api.settings.max_active_runs + 1


ADA = User("ada")
chunks = st.lists(st.tuples(st.none() | st.integers(0, 900), st.integers(0, 900)), max_size=30)  # None: where it ends


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=chunks, torn=st.lists(st.binary(min_size=1, max_size=5).filter(lambda b: b"\n" not in b), max_size=3))
def test_whatever_is_sent_in_whatever_order_the_record_is_a_beginning_of_the_file(
    sqlite_store: Store, sqlite_api: Api, sent: list[tuple[int | None, int]], torn: list[bytes]
) -> None:
    """Any parts of the client's file at any offset, and crashes in between: lines are whole, and none comes twice."""
    outside = Outside(sqlite_store, sqlite_api.settings)
    attempt = Attempt()
    whole = attempt.started() + b"".join(attempt.job(n) + attempt.finished(n) for n in range(3)) + attempt.ended()
    events = sqlite_api.reads.directory(attempt.run_id).attempt(1).events
    crashes = list(torn)
    for wanted, length in sent:
        before = outside.recorded(ADA, attempt.run_id, attempt.id).offset
        begin = before if wanted is None else wanted
        try:
            after = outside.append(ADA, attempt.run_id, attempt.id, begin, whole[begin : begin + length]).offset
        except OffsetConflict as error:
            named = error.offset
            assert named == before != begin
            continue
        except Invalid:  # not a whole first line
            assert begin == before == 0
            continue
        assert begin == before <= after
        recorded = events.read_bytes()
        assert recorded[: recorded.rfind(b"\n") + 1] == whole[:after]  # behind it, what a crash left
        if crashes:
            with events.open("ab") as file:
                file.write(crashes.pop())
    offset = outside.recorded(ADA, attempt.run_id, attempt.id).offset
    assert outside.append(ADA, attempt.run_id, attempt.id, offset, whole[offset:]).offset == len(whole)
    assert events.read_bytes() == whole
    assert [json.loads(line)["seq"] for line in events.read_bytes().splitlines()] == list(range(attempt.seq))
