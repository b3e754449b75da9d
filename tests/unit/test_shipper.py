"""The shipper against servers that answer, fail, hang and refuse: the events arrive once, and the run never waits."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakemake_logger_plugin_snakeway import shipper as module
from snakemake_logger_plugin_snakeway.identity import Identity, profile_name
from snakemake_logger_plugin_snakeway.shipper import Shipper
from snakeway import ids
from tests.support.waiting import wait_until

RUN, ATTEMPT = ids.new_id(), ids.new_id()
TOKEN = "a-token-of-the-tests"
BASE = f"/api/v1/outside/{RUN}/{ATTEMPT}"

# What may become of a request.
FINE, BUSY, LOST_ANSWER, CUT = "fine", "busy", "lost answer", "cut"


@dataclass
class Recorder:
    """A server that keeps to the protocol, but for what ``fates`` say of its first requests."""

    fates: list[str] = field(default_factory=list)
    data: bytes = b""
    log: bytes | None = None
    max_bytes: int = 1 << 20
    idle: bool = False  # closes each connection behind the answer, without saying so before
    refuse: int = 0  # a status for every request
    tokens: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts, it = urlsplit(self.path), self.recorder
        it.requests.append((self.command, parts.path.removeprefix(BASE)))
        it.tokens.add(self.headers.get("Authorization", ""))
        it.hold.wait(30)
        fate = it.fates.pop(0) if it.fates else FINE
        if it.refuse:
            self.say(it.refuse, {"code": "x", "detail": "not wanted"})
        elif fate == BUSY:
            self.say(503, {"code": "store_busy", "detail": "busy"})
        elif fate == CUT:
            self.close_connection = True
        elif self.command == "PUT":
            it.log = body
            self.say(204, None)
        else:
            offset = int(parse_qs(parts.query).get("offset", [len(it.data)])[0])
            status = 200 if offset == len(it.data) else 409
            if status == 200:
                it.data += body[: body.rfind(b"\n") + 1]
            code = "offset_conflict" if status == 409 else None
            if fate == LOST_ANSWER:
                self.close_connection = True
            else:
                self.say(status, {"offset": len(it.data), "max_bytes": it.max_bytes, "code": code})

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def say(self, status: int, value: Any) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection |= self.recorder.idle

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    it = Recorder()
    it.hold.set()
    handler = type("OneHandler", (Handler,), {"recorder": it})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield it
    it.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOOK_S": 0.005, "FIRST_PAUSE_S": 0.002, "LONGEST_PAUSE_S": 0.01}.items():
        monkeypatch.setattr(module, name, value)


Ship = Callable[..., Shipper]


@pytest.fixture
def ship(recorder: Recorder, tmp_path: Path) -> Ship:
    """Starts a shipper of ``events.ndjson`` in the test's folder."""

    def ship(url: str | None = None, log: Path | None = None) -> Shipper:
        environ = {"SNAKEWAY_URL": recorder.url if url is None else url, "SNAKEWAY_TOKEN": TOKEN}
        shipper = Shipper(RUN, ATTEMPT, tmp_path / "events.ndjson", log, environ)
        shipper.start()
        return shipper

    return ship


def test_what_is_written_arrives_while_it_is_written(recorder: Recorder, ship: Ship, tmp_path: Path) -> None:
    events, log = tmp_path / "events.ndjson", tmp_path / "snakemake.log"
    log.write_bytes(b"x" * 70_000 + b"end")
    events.write_bytes(b"1\n")
    shipper = ship(log=log)
    wait_until(lambda: recorder.data == b"1\n", timeout_s=10, what="the first event")
    with events.open("ab") as file:
        file.write(b"2\n3")
    wait_until(lambda: recorder.data == b"1\n2\n", timeout_s=10, what="the second event")
    with events.open("ab") as file:
        file.write(b"3\n4\n")
    shipper.finish()
    assert recorder.data == b"1\n2\n33\n4\n"
    assert recorder.log is not None
    assert (len(recorder.log), recorder.log[-3:]) == (64 * 1024, b"end")
    assert recorder.tokens == {f"Bearer {TOKEN}"}
    assert [path for method, path in recorder.requests if method == "GET"] == [""]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(st.sampled_from([FINE, BUSY, LOST_ANSWER, CUT]), max_size=12),
    begun=st.integers(0, 40),
    max_bytes=st.integers(40, 200),
)
def test_whatever_becomes_of_requests_each_event_arrives_once(
    recorder: Recorder, ship: Ship, tmp_path: Path, fates: list[str], begun: int, max_bytes: int
) -> None:
    lines = [json.dumps({"n": n, "text": "x" * (n % 17)}).encode() + b"\n" for n in range(40)]
    events = tmp_path / "events.ndjson"
    events.write_bytes(b"".join(lines))
    recorder.data, recorder.fates = b"".join(lines[:begun]), list(fates)  # an earlier sender came that far
    recorder.max_bytes = max_bytes
    shipper = ship()
    wait_until(lambda: recorder.data == events.read_bytes() or None, timeout_s=20, what="everything")
    shipper.finish()
    assert recorder.data == events.read_bytes()


def test_a_connection_that_was_idle_for_too_long_is_no_trouble(
    capfd: pytest.CaptureFixture[str], recorder: Recorder, ship: Ship, tmp_path: Path
) -> None:
    recorder.idle, recorder.max_bytes = True, 10
    whole = b"".join(b"%d\n" % n for n in range(100))
    (tmp_path / "events.ndjson").write_bytes(whole)
    ship().finish()
    assert recorder.data == whole
    assert capfd.readouterr().err == ""


def test_a_server_that_is_away_is_told_once(capfd: pytest.CaptureFixture[str], ship: Ship, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    shipper = ship("http://somebody:secret@127.0.0.1:9")
    said = ""

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return bool(said)

    wait_until(told, timeout_s=10, what="the complaint")
    begun = time.monotonic()
    shipper.finish()
    assert time.monotonic() - begun < module.FINISH_S
    said += capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("snakeway: cannot send events to http://127.0.0.1:9: ")
    assert "'snakeway import'" in said
    assert "secret" not in said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_refusal_is_told_and_not_repeated(
    capfd: pytest.CaptureFixture[str], recorder: Recorder, ship: Ship, tmp_path: Path, status: int
) -> None:
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    recorder.refuse = status
    ship().finish()
    assert capfd.readouterr().err == f"snakeway: {recorder.url} does not record this run: not wanted\n"
    assert recorder.requests == [("GET", "")]


@pytest.mark.parametrize(("url", "token"), [("x", ""), ("ftp://x", ""), ("http://x:y", ""), ("http://x", "a\nb")])
def test_a_setting_that_is_wrong_is_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, url: str, token: str
) -> None:
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    environ = {"SNAKEWAY_URL": url, "SNAKEWAY_TOKEN": token}
    shipper = Shipper(RUN, ATTEMPT, tmp_path / "events.ndjson", None, environ)
    shipper.start()
    shipper.finish()
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert ("SNAKEWAY_TOKEN has" if token else "SNAKEWAY_URL must") in said


def test_a_server_that_hangs_holds_the_end_up_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    recorder: Recorder,
    ship: Ship,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module, "FINISH_S", 0.05)
    recorder.hold.clear()
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    ship().finish()
    assert "not all events have reached" in capfd.readouterr().err


def test_a_line_that_is_too_long_keeps_the_offsets(recorder: Recorder, ship: Ship, tmp_path: Path) -> None:
    recorder.max_bytes = 50
    whole = b"1\n" + b"x" * 120 + b"\n2\n"
    (tmp_path / "events.ndjson").write_bytes(whole)
    ship().finish()
    assert len(recorder.data) == len(whole)
    assert [line for line in recorder.data.split(b"\n") if line.strip(b" x")] == [b"1", b"2"]


def test_while_nothing_happens_there_are_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder, ship: Ship, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SIGN_OF_LIFE_S", 0.01)
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    shipper = ship()
    wait_until(lambda: recorder.requests.count(("POST", "/events")) > 3, timeout_s=10, what="some signs of life")
    shipper.finish()
    assert recorder.data == b"1\n"


def test_a_record_of_something_else_is_left_alone(
    capfd: pytest.CaptureFixture[str], recorder: Recorder, ship: Ship, tmp_path: Path
) -> None:
    recorder.data = b"what another attempt wrote\n"
    (tmp_path / "events.ndjson").write_bytes(b"1\n")
    ship().finish()
    assert "more events of this attempt than were written here" in capfd.readouterr().err
    assert recorder.data == b"what another attempt wrote\n"


def test_without_a_server_nothing_of_it_is_imported() -> None:
    program = (
        "import sys, snakemake_logger_plugin_snakeway.recorder\n"
        "assert not {'http.client', 'ssl', 'snakemake_logger_plugin_snakeway.shipper'} & sys.modules.keys()"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEWAY_")}
    subprocess.run([sys.executable, "-c", program], check=True, env=clean)


def test_only_what_a_person_started_is_shipped() -> None:
    server = {"SNAKEWAY_URL": "http://x"}
    by_service = {"SNAKEWAY_RUN_ID": RUN, "SNAKEWAY_ATTEMPT_ID": ATTEMPT}
    assert Identity.from_environment(dict(server)).ships
    assert not Identity.from_environment({}).ships
    assert not Identity.from_environment(server | by_service | {"SNAKEWAY_EVENTS_FILE": "/x/events.ndjson"}).ships
    assert not Identity.from_environment(server | by_service).ships  # a job of such a run calls snakemake


@pytest.mark.parametrize(
    ("argv", "environ", "name"),
    [
        (["snakemake"], {}, None),
        (["snakemake", "--profile", "profiles/slurm/"], {}, "slurm"),
        (["snakemake", "--profile=/x/local"], {"SNAKEMAKE_PROFILE": "other"}, "local"),
        (["snakemake", "--cores", "2"], {"SNAKEMAKE_PROFILE": "other"}, "other"),
        (["snakemake", "--profile"], {}, None),
    ],
)
def test_the_name_of_the_profile(argv: list[str], environ: dict[str, str], name: str | None) -> None:
    assert profile_name(argv, environ) == name
