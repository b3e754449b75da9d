"""The commands about runs by hand: what they read from event files, and what they make of the server's answers."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from snakeway import cli, ids
from snakeway.cli import output, outside
from snakeway.cli.byhand import Life, attempts_in, is_alive
from snakeway.errors import NotOutside, OffsetConflict, ServerUnreachable, SnakewayError
from tests.support.byhand import Attempt

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line; returns exit code, stdout, stderr."""
    for name in list(os.environ):
        if name.startswith("SNAKEWAY_"):
            monkeypatch.delenv(name)

    def call(*args: str) -> tuple[int, str, str]:
        code = cli.main(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call


def write(directory: Path, attempt: Attempt, *lines: bytes) -> Path:
    file = directory / ".snakeway" / "attempts" / attempt.id / "events.ndjson"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(lines))
    return file


def of_us(**members: Any) -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid(), "t": time.time(), **members}


def test_a_process_is_told_by_host_pid_and_time() -> None:
    assert is_alive(of_us()) is True
    assert is_alive(of_us(host="elsewhere")) is None
    assert is_alive(of_us(t=time.time() - 365 * 86400)) is False  # somebody else's pid by now
    assert is_alive(of_us(pid=2**22 + 1)) is False
    assert is_alive({}) is None
    assert is_alive(of_us(pid="1")) is None


@pytest.fixture
def failed(tmp_path: Path) -> Attempt:
    """An attempt in the test's folder of which one job succeeded and one failed."""
    attempt = Attempt()
    lines = [attempt.started(), attempt.stats(3), attempt.job(1), attempt.job(2), attempt.finished(1)]
    lines += [attempt.failed(2, log_tail="first\nlast words"), attempt.line("progress", done=1, total=3)]
    write(tmp_path, attempt, *lines, attempt.ended())
    return attempt


def test_status_of_a_directory(call: Call, tmp_path: Path, failed: Attempt) -> None:
    code, out, err = call("status", str(tmp_path))
    assert (code, err) == (0, "")
    first, second = (line.split("\t") for line in out.splitlines())
    assert first == [
        *(failed.id, "ended", "1", "1/3", "1 failed, 1 succeeded"),
        *("2026-09-21T14:13:20.000Z", "7.0", "login1"),
    ]
    assert second == ["failed", failed.id, "2", "fit", "i=2", "7", "last words"]
    [document] = json.loads(call("status", str(tmp_path), "--json")[1])
    assert document["failed"][0]["last_words"] == "last words"
    assert (document["exit_code"], document["ended_at"]) == (1, "2026-09-21T14:13:27.000Z")
    code, out, _ = call("status", str(tmp_path), "--follow")
    assert (code, out.splitlines()[-1].split("\t")) == (1, first)
    assert json.loads(call("status", str(tmp_path), "--follow", "--json")[1]) == document


def test_status_for_people(call: Call, tmp_path: Path, failed: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda **_: True)
    monkeypatch.setenv("COLUMNS", "150")
    lines = call("status", str(tmp_path))[1].splitlines()
    assert lines[0].split() == ["ATTEMPT", "STATE", "EXIT", "DONE", "JOBS", "STARTED", "TOOK", "HOST"]
    assert lines[1].split()[:4] == [failed.id[-8:], "ended", "1", "1/3"]
    assert lines[2] == "job 2 fit i=2: last words"


def test_states_of_attempts_without_an_end(tmp_path: Path) -> None:
    elsewhere, here, gone = (Attempt() for _ in range(3))
    for attempt, members in (
        (elsewhere, {}),
        (here, of_us()),
        (gone, of_us(pid=2**22 + 1)),
    ):
        members = {name: value for name, value in members.items() if name != "t"}
        began = {"t": time.time()} if attempt is here else {}
        write(tmp_path, attempt, json.dumps(json.loads(attempt.started(**members)) | began).encode() + b"\n")
    lives = {attempt.id: attempt.life() for attempt in attempts_in(tmp_path)}
    assert lives == {elsewhere.id: Life.UNKNOWN, here.id: Life.ALIVE, gone.id: Life.LOST}


def test_a_directory_without_attempts_is_an_error(call: Call, tmp_path: Path) -> None:
    for command in ("status", "import"):
        code, out, err = call(command, str(tmp_path))
        assert (code, out) == (4, "")
        assert err.startswith(f"snakeway: error: no attempt has been recorded in {tmp_path}")
        assert err.count("\n") == 1


@dataclass
class Recorded:
    """A record that keeps what it is sent, or refuses all of it."""

    data: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    error: SnakewayError | None = None
    ahead: int = 0  # bytes that another sender adds when it is not looked
    max_bytes: int = 64

    def recorded(self, run_id: str, attempt_id: str) -> Any:
        if self.error:
            raise self.error
        return {"offset": len(self.data.get(attempt_id, b"")), "max_bytes": self.max_bytes}

    def append(self, run_id: str, attempt_id: str, offset: int, data: bytes, *, gone: bool = False) -> Any:
        known = self.data.setdefault(attempt_id, b"")
        if self.ahead:
            known, self.ahead = data[: self.ahead], 0
            self.data[attempt_id] = known
        if offset != len(known):
            raise OffsetConflict("elsewhere", offset=len(known))
        self.data[attempt_id] += data
        self.gone += [attempt_id] if gone else []
        return {"offset": len(self.data[attempt_id])}

    def put_log(self, run_id: str, attempt_id: str, data: bytes) -> None:
        self.logs[attempt_id] = data


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    it = Recorded()

    @contextmanager
    def opened(*, direct: bool) -> Iterator[Recorded]:
        yield it

    monkeypatch.setattr(outside, "_record", opened)
    return it


def test_an_import_sends_what_is_missing(call: Call, record: Recorded, tmp_path: Path, failed: Attempt) -> None:
    [file] = tmp_path.glob("**/events.ndjson")
    size = len(file.read_bytes())
    code, out, _ = call("import", str(tmp_path))
    assert (code, out.split("\t")) == (0, [failed.run_id, failed.id, "ended", str(size), "\n"])
    assert len(record.data[failed.id]) == size
    assert record.gone == []
    assert json.loads(call("import", str(tmp_path), "--json")[1])[0]["sent_bytes"] == 0
    assert call("import", str(tmp_path), "--quiet") == (0, "", "")


def test_an_import_goes_on_where_another_sender_is(
    call: Call, record: Recorded, tmp_path: Path, failed: Attempt
) -> None:
    [file] = tmp_path.glob("**/events.ndjson")
    record.max_bytes, record.ahead = 1 << 20, len(file.read_bytes().splitlines(keepends=True)[0])
    assert call("import", str(tmp_path))[0] == 0
    assert record.data[failed.id] == file.read_bytes()


def test_an_attempt_whose_process_is_gone_is_told_so(call: Call, record: Recorded, tmp_path: Path) -> None:
    attempt = Attempt()
    write(tmp_path, attempt, attempt.started(host=platform.node(), pid=2**22 + 1))
    assert call("import", str(tmp_path))[1].split("\t")[2] == "lost"
    assert record.gone == [attempt.id]


def test_what_is_refused_does_not_keep_the_others_back(call: Call, record: Recorded, tmp_path: Path) -> None:
    attempts = [Attempt(), Attempt()]
    for attempt in attempts:
        write(tmp_path, attempt, attempt.started(), attempt.ended())
    record.error = NotOutside("not this one")
    code, out, err = call("import", str(tmp_path))
    assert (code, len(out.splitlines()), err) == (7, 2, "snakeway: error: not this one\n")
    code, out, err = call("import", str(tmp_path), "--json")
    assert (code, [each["code"] for each in json.loads(out)], err) == (7, ["not_outside"] * 2, "")
    record.error = ServerUnreachable("no server answers")
    assert call("import", str(tmp_path)) == (5, "", "snakeway: error: no server answers\n")


def test_only_a_log_of_snakemake_is_sent(call: Call, record: Recorded, tmp_path: Path) -> None:
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (logs / "planted").symlink_to(tmp_path / "secret")
    (logs / "true.log").write_bytes(b"x" * 70_000)
    names = {"true.log": 64 * 1024, "planted": None, "../../secret": None, "": None}
    for name, length in names.items():
        attempt = Attempt(ids.new_id(), ids.new_id())
        write(tmp_path, attempt, attempt.started(log=str(logs / name)), attempt.ended())
        call("import", str(tmp_path))
        sent = record.logs.get(attempt.id)
        assert (None if sent is None else len(sent)) == length, name


def test_an_import_from_a_server_that_is_away(call: Call, tmp_path: Path, failed: Attempt) -> None:
    os.environ["SNAKEWAY_URL"] = "http://127.0.0.1:9"
    try:
        code, out, err = call("import", str(tmp_path))
    finally:
        del os.environ["SNAKEWAY_URL"]
    assert (code, out) == (5, "")
    assert err.startswith("snakeway: error: no server answers at http://127.0.0.1:9")
