"""The client: what it sends, what it makes of answers and of their absence."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from snakeway import errors
from snakeway.client import Client, Patience
from snakeway.errors import Invalid, ServerUnreachable, SnakewayError, Unauthorized, Unavailable
from tests.support.server import free_port
from tests.unit.test_client_nouns import RUN_ID, artifact, attempt, job, run, target, workflow
from tests.unit.test_client_stand_in import StandIn, broken, page, problem, reply, running, text

PATIENCE = Patience(first_s=0.01, longest_s=0.02, total_s=0.2)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def client(server: StandIn) -> Iterator[Client]:
    with Client(server.url, patience=PATIENCE) as client:
        yield client


def test_submit_sends_body_key_and_trace(server: StandIn, client: Client) -> None:
    server.on("POST", "/runs", reply(run(), 201))
    body: Any = {"workflow": "quickstart", "config": {"a": 1}}
    assert client.submit(body, idempotency_key="k", traceparent="00-ab-cd-01")["id"] == RUN_ID
    [sent] = server.requests
    assert sent.body == body
    assert (sent.headers["Idempotency-Key"], sent.headers["traceparent"]) == ("k", "00-ab-cd-01")


def test_submit_is_repeated_with_the_same_key_when_the_connection_breaks(server: StandIn, client: Client) -> None:
    server.on("POST", "/runs", broken(), broken(), reply(run(), 201))
    assert client.submit({"workflow": "quickstart"})["id"] == RUN_ID
    keys = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(server.requests) == 3
    assert len(keys) == 1


def test_commands_without_a_key_are_not_repeated(server: StandIn, client: Client) -> None:
    server.on("POST", f"/runs/{RUN_ID}/rerun", broken())
    with pytest.raises(Unavailable, match=r"connection to http://127\.0\.0\.1:.* broke"):
        client.rerun(RUN_ID, {})
    assert len(server.requests) == 1


def test_filters_become_repeated_parameters(server: StandIn, client: Client) -> None:
    server.on("GET", "/runs", page(run()))
    client.runs_page(states=["failed", "queued"], workflow="w", labels={"a": "1", "b": "x=y"}, target=None, limit=7)
    assert sorted(server.requests[0].query) == [
        ("label", "a=1"),
        ("label", "b=x=y"),
        ("limit", "7"),
        ("state", "failed"),
        ("state", "queued"),
        ("workflow", "w"),
    ]


def test_runs_reads_page_after_page(server: StandIn, client: Client) -> None:
    server.on("GET", "/runs", page(run(note="1"), next_="c1"), page(run(note="2")))
    assert [found["note"] for found in client.runs(states=["failed"])] == ["1", "2"]
    assert [dict(request.query).get("cursor") for request in server.requests] == [None, "c1"]


def test_every_read_has_its_address(server: StandIn, client: Client) -> None:
    base = f"/runs/{RUN_ID}"
    server.on("GET", base, reply(run()))
    server.on("GET", f"{base}/attempts", page(attempt()))
    server.on("GET", f"{base}/attempts/1", reply(attempt()))
    server.on("GET", f"{base}/jobs", page(job()))
    server.on("GET", f"{base}/jobs/5", reply(job()))
    server.on("GET", f"{base}/rules", page({"rule": "fit", "states": {"running": 1}}))
    server.on("GET", f"{base}/artifacts", page(artifact()))
    server.on("GET", "/workflows", page(workflow()))
    server.on("GET", "/workflows/quickstart", reply(workflow()))
    server.on("GET", "/targets", page(target()))
    server.on("GET", "/health/ready", reply({"status": "ok", "checks": {}}))
    server.on("POST", f"{base}/cancel", reply(run(), 202))
    server.on("POST", f"{base}/rerun", reply({"run": run(), "attempt": attempt()}, 202))
    server.on("DELETE", base, lambda handler: handler.send(204, b"", {}))
    assert client.run(RUN_ID) == run()
    assert client.attempts(RUN_ID) == [attempt()]
    assert client.attempt(RUN_ID, 1) == attempt()
    assert list(client.jobs(RUN_ID, attempt=1, states=["failed"], rule="fit")) == [job()]
    assert client.job(RUN_ID, 5, attempt=1) == job()
    assert client.rules(RUN_ID)[0]["rule"] == "fit"
    assert list(client.artifacts(RUN_ID)) == [artifact()]
    assert client.workflows() == [workflow()]
    assert client.workflow("quickstart") == workflow()
    assert client.targets() == [target()]
    assert client.ready()["status"] == "ok"
    assert client.cancel(RUN_ID) == run()
    assert client.rerun(RUN_ID, {"config": {"a": 1}})["attempt"] == attempt()
    client.delete(RUN_ID)
    assert server.requests[-2].body == {"config": {"a": 1}}


def test_a_server_that_is_not_ready_is_an_answer(server: StandIn, client: Client) -> None:
    server.on("GET", "/health/ready", reply({"status": "unavailable", "checks": {"database": "gone"}}, 503))
    assert client.ready()["checks"] == {"database": "gone"}


@pytest.mark.parametrize("cls", errors.every_error(), ids=lambda cls: cls.__name__)
def test_problems_become_the_class_of_their_code(cls: type[SnakewayError], server: StandIn, client: Client) -> None:
    server.on("GET", f"/runs/{RUN_ID}", problem(cls.code, 418, "what is wrong", field="a.b"))
    with pytest.raises(SnakewayError) as caught:
        client.run(RUN_ID)
    assert type(caught.value) is cls
    assert caught.value.detail.startswith("what is wrong")
    assert caught.value.field == "a.b"


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.Invalid),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.BodyTooLarge),
        (418, errors.SnakewayError),
        (500, errors.SnakewayError),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
    ],
)
@pytest.mark.parametrize(
    "answer", ["<html>nginx</html>", '{"code": 7, "detail": null}', "[]", '{"code": "of_tomorrow"}']
)
def test_answers_without_a_known_code_are_judged_by_status(
    status: int, cls: type[SnakewayError], answer: str, server: StandIn, client: Client
) -> None:
    server.on("GET", f"/runs/{RUN_ID}", text(answer, status))
    with pytest.raises(SnakewayError) as caught:
        client.run(RUN_ID)
    assert type(caught.value) is cls
    assert f"answered {status}" in caught.value.detail
    assert "SNAKEWAY_URL" in caught.value.detail


def test_a_page_instead_of_an_answer(server: StandIn, client: Client) -> None:
    server.on("GET", f"/runs/{RUN_ID}", text("<html>please log in</html>"))
    with pytest.raises(SnakewayError, match="SNAKEWAY_URL"):
        client.run(RUN_ID)
    server.on("GET", f"/runs/{RUN_ID}/events", text("<html>please log in</html>"))
    with pytest.raises(SnakewayError, match="SNAKEWAY_URL"):
        list(client.events(RUN_ID))
    assert len(server.requests) == 2


def test_a_refused_token_says_where_it_belongs(server: StandIn, client: Client) -> None:
    server.on("GET", f"/runs/{RUN_ID}", problem("unauthorized", 401, "no token was sent"))
    with pytest.raises(Unauthorized, match="SNAKEWAY_TOKEN"):
        client.run(RUN_ID)


def test_no_server_says_what_was_tried_and_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ServerUnreachable) as caught:
        client.run(RUN_ID)
    for part in (url, "SNAKEWAY_URL", "snakeway serve", "refused"):
        assert part in caught.value.detail
    assert "Errno" not in caught.value.detail


def test_a_server_that_does_not_answer_in_time(server: StandIn) -> None:
    done = threading.Event()
    server.on("GET", f"/runs/{RUN_ID}", lambda handler: done.wait(5) and None)
    with Client(server.url, timeout_s=0.1) as client, pytest.raises(Unavailable, match="did not answer in time"):
        client.run(RUN_ID)
    done.set()


def test_the_token_is_sent_and_never_told(server: StandIn) -> None:
    server.on("GET", f"/runs/{RUN_ID}", reply(run()))
    with Client(server.url, token=" secret-of-mine \n") as client:
        client.run(RUN_ID)
    assert server.requests[0].headers["Authorization"] == "Bearer secret-of-mine"
    for token in ("secret\nof mine", "sécret-of-mine", "secret of mine"):
        with pytest.raises(Invalid) as caught:
            Client(server.url, token=token)
        assert "of" not in caught.value.detail.split()
        assert token not in caught.value.detail


@pytest.mark.parametrize("url", ["", "foo", "127.0.0.1:8642", "ftp://host", "http://", "http://h:99999999"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Invalid, match="address") as caught:
        Client(url)
    assert caught.value.field == "SNAKEWAY_URL"


def test_a_password_in_the_address_is_not_told() -> None:
    with Client(f"http://me:hush@127.0.0.1:{free_port()}/") as client:
        assert "hush" not in client.url
        with pytest.raises(ServerUnreachable) as caught:
            client.run(RUN_ID)
    assert "hush" not in caught.value.detail


def test_this_machine_is_reached_without_the_proxy(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    server.on("GET", f"/runs/{RUN_ID}", reply(run()))
    with Client(server.url) as client:
        assert client.run(RUN_ID)["id"] == RUN_ID


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_would_lead_elsewhere_are_refused(name: str, client: Client) -> None:
    with pytest.raises(Invalid):
        client.run(name)


def test_names_are_one_segment_of_the_address(server: StandIn, client: Client) -> None:
    with pytest.raises(errors.NotFound):
        client.workflow("a/../b?c#d")
    assert server.requests[0].path == "/api/v1/workflows/a%2F..%2Fb%3Fc%23d"


def test_a_path_below_which_the_server_is(server: StandIn) -> None:
    server.replies["GET", "/snakeway/api/v1/targets"] = [page(target())]
    with Client(f"{server.url}/snakeway/") as client:
        assert client.targets() == [target()]


def test_the_client_needs_no_package_of_the_server() -> None:
    heavy = ("pydantic", "sqlmodel", "sqlalchemy", "litestar", "snakemake", "yaml")
    code = f"import sys, snakeway.client; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
