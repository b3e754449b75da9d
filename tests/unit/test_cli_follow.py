"""Following runs, against a stand-in server."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.test_cli_stand_in import Call
from tests.unit.test_cli_submit import PLAN
from tests.unit.test_client_nouns import RUN_ID, attempt, run
from tests.unit.test_client_stand_in import StandIn, frame, reply, stream

pytest_plugins = ("tests.unit.test_cli_stand_in",)

BASE = f"/runs/{RUN_ID}"
SHORT = RUN_ID[-8:]


class TestFollow:
    def end(self, server: StandIn, state: str, **changes: Any) -> None:
        ended = run(state=state, ended_at="2026-01-02T03:05:00Z", **changes)
        job_event = {"type": "job", "seq": 1, "t": 1767323050, "attempt": 1, "job": 1, "rule": "fit", "local": True}
        failed = {
            **job_event,
            "type": "job_failed",
            "exit_code": 1,
            "message": "broke",
            "log": "fit.log",
            "log_tail": "a\nlast words",
        }
        frames = [frame("run", run()), frame("job", job_event, "1:9")]
        if state == "failed":
            frames.append(frame("job_failed", failed, "1:10"))
        server.on("GET", f"{BASE}/events", stream(*frames, frame("end", ended)))
        server.on("POST", "/runs", reply(run(state="queued"), 201))

    @pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)])
    def test_the_exit_code_is_the_run_s(self, state: str, code: int, server: StandIn, call: Call) -> None:
        self.end(server, state)
        assert call("submit", "w", "-f")[0] == code
        assert call("show", RUN_ID, "-f")[0] == code

    def test_stdout_has_the_id_only(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        _, out, err = call("submit", "w", "-f")
        assert out == f"{RUN_ID}\n"
        lines = [line.split("\t") for line in err.splitlines()]
        assert [line[1:3] for line in lines] == [
            [f"run {RUN_ID}", "running"],
            ["job 1/1", "running"],
            [f"run {RUN_ID}", "succeeded"],
        ]
        assert {len(line) for line in lines} == {4}

    def test_show_tells_on_stdout(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        _, out, err = call("show", RUN_ID, "-f")
        assert len(out.splitlines()) == 3
        assert err == ""

    def test_json_is_one_event_per_line(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        events = [json.loads(line) for line in call("submit", "w", "-f", "--json")[1].splitlines()]
        assert [event["event"] for event in events] == ["run", "run", "job", "end"]
        assert [event["id"] for event in events] == [None, None, "1:9", None]
        assert events[-1]["data"]["state"] == "succeeded"

    def test_quiet(self, server: StandIn, call: Call) -> None:
        self.end(server, "failed")
        assert call("submit", "w", "-f", "-q") == (1, f"{RUN_ID}\n", "")

    def test_a_terminal_sees_what_failed_and_what_to_do(self, server: StandIn, call: Call, terminal: None) -> None:
        self.end(server, "failed", error="1 of 8 jobs failed: fit (1).")
        code, out, err = call("submit", "w", "-f")
        assert (code, out) == (1, f"{RUN_ID}\n")
        assert "job 1/1 failed  fit: exit code 1: last words" in err
        assert "1 of 8 jobs failed: fit (1)." in err
        assert "    last words" in err
        assert f"snakeway logs {SHORT} --job 1" in err
        assert f"snakeway rerun {SHORT}" in err

    def test_a_rerun_is_followed_from_its_own_attempt_on(self, server: StandIn, call: Call) -> None:
        self.end(server, "succeeded")
        server.on("POST", f"{BASE}/rerun", reply({"run": run(), "attempt": attempt(number=3, plan=PLAN)}, 202))
        assert call("rerun", RUN_ID, "-f")[0] == 0
        assert server.requests[-1].headers["Last-Event-ID"] == "3:0"

    def test_ctrl_c_detaches(self, server: StandIn) -> None:
        def wait(handler: Any) -> None:
            os.kill(process.pid, signal.SIGINT)
            stream(*[frame("run", run())] * 2)(handler)

        server.on("GET", f"{BASE}/events", wait)
        server.on("POST", "/runs", reply(run(), 201))
        # A shell's background job ignores the signal; a terminal's foreground job does not.
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from snakeway.cli import main; sys.exit(main())"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "submit", "w", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, f"{RUN_ID}\n")
        assert "the run goes on" in err
        assert f"snakeway cancel {SHORT}" in err
        assert [request.method for request in server.requests] == ["POST", "GET"]
