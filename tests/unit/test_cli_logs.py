"""Printing and following logs, against a stand-in server."""

import json

import pytest

from tests.support.server import free_port
from tests.unit.test_cli_stand_in import Call
from tests.unit.test_client_nouns import RUN_ID, attempt, job, run
from tests.unit.test_client_stand_in import StandIn, file, page, problem, reply

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


class TestLogs:
    def test_as_it_is(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/log", file(b"one\n\x1b[31mtwo"))
        assert call("logs", RUN_ID, "--attempt", "2", "--tail", "5")[1] == "one\n\x1b[31mtwo"
        assert dict(server.requests[-1].query) == {"attempt": "2", "tail": "5"}

    def test_of_a_job(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs/3/log", file(b"log\n"))
        assert call("logs", RUN_ID, "-j", "3")[1] == "log\n"
        said = json.loads(call("logs", RUN_ID, "-j", "3", "--json")[1])
        assert said == {"run": RUN_ID, "attempt": None, "job": 3, "text": "log\n"}

    def growing(self, server: StandIn) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt()))
        server.on("GET", BASE, reply(run()), reply(run()), reply(run(state="succeeded")))
        server.on(
            "GET",
            f"{BASE}/log",
            problem("log_not_found", 404, "not yet"),
            file(b"one\ntwo\n"),
            problem("store_busy", 503, "locked"),
            file(b"one\ntwo\nthree\n"),
        )

    def test_following(self, server: StandIn, call: Call) -> None:
        self.growing(server)
        assert call("logs", RUN_ID, "-f")[:2] == (0, "one\ntwo\nthree\n")
        assert server.sent(f"{BASE}/log")[-1].headers["Range"] == "bytes=8-"

    def test_following_as_json(self, server: StandIn, call: Call) -> None:
        self.growing(server)
        lines = [json.loads(line)["text"] for line in call("logs", RUN_ID, "-f", "--json")[1].splitlines()]
        assert lines == ["one", "two", "three"]

    @pytest.mark.parametrize(
        ("log", "lines", "shown"),
        [
            (b"1\n2\n3\n", 2, "2\n3\n"),
            (b"1\n2\n3", 2, "2\n3"),
            (b"1\n2\n3\n", 3, "1\n2\n3\n"),
            (b"1\n2\n3\n", 9, "1\n2\n3\n"),
            (b"1\n2\n3\n", 0, ""),
            (b"", 2, ""),
            (b"\n\n\n", 2, "\n\n"),
            (b"x" * 70_000 + b"\n" + b"y" * 70_000 + b"\nz\n", 2, "y" * 70_000 + "\nz\n"),
        ],
    )
    def test_following_from_the_tail(self, log: bytes, lines: int, shown: str, server: StandIn, call: Call) -> None:
        server.on("GET", BASE, reply(run(state="succeeded")))
        server.on("GET", f"{BASE}/attempts", page(attempt()))
        server.on("GET", f"{BASE}/log", file(log))
        assert call("logs", RUN_ID, "-f", "--tail", str(lines))[1] == shown

    def test_the_next_attempt_is_followed_too(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/attempts", page(attempt()), page(attempt(), attempt(number=2)))
        server.on("GET", BASE, reply(run(state="succeeded")))
        server.on("GET", f"{BASE}/log", file(b"first\n"), file(b"second\n"))
        code, out, err = call("logs", RUN_ID, "-f")
        assert (code, out, err) == (0, "first\nsecond\n", "--- attempt 2 ---\n")

    def test_a_job_is_followed_to_its_own_end(self, server: StandIn, call: Call) -> None:
        server.on("GET", f"{BASE}/jobs/5", reply(job(state="running")), reply(job()))
        server.on("GET", f"{BASE}/jobs/5/log", file(b"a\n"), file(b"a\nb\n"))
        assert call("logs", RUN_ID, "-f", "-j", "5", "--attempt", "1")[1] == "a\nb\n"

    def test_a_server_that_is_away_is_not_waited_for(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SNAKEWAY_URL", f"http://127.0.0.1:{free_port()}")
        assert call("logs", RUN_ID, "-f", "--attempt", "1")[0] == 5

    def test_no_log_ever(self, server: StandIn, call: Call) -> None:
        server.on("GET", BASE, reply(run(state="cancelled")))
        server.on("GET", f"{BASE}/log", problem("log_not_found", 404, "nothing was written"))
        assert call("logs", RUN_ID, "-f", "--attempt", "1")[0] == 4
