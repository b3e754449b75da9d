"""What tests of commands share: a stand-in server, and a way to run the command line in this process."""

import os
from collections.abc import Callable, Iterator

import pytest

from snakeway import cli
from snakeway.cli import output
from tests.unit.test_client_nouns import RUN_ID, run
from tests.unit.test_client_stand_in import StandIn, reply, running

BASE = f"/runs/{RUN_ID}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in list(os.environ):
        if name.startswith(("SNAKEWAY_", "TRACEPARENT")):
            monkeypatch.delenv(name)
    with running() as stand_in:
        monkeypatch.setenv("SNAKEWAY_URL", stand_in.url)
        stand_in.on("GET", BASE, reply(run()))
        yield stand_in


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(server: StandIn, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the command line; returns exit code, stdout, stderr."""

    def call(*args: str) -> tuple[int, str, str]:
        code = cli.main(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda **_: True)
    monkeypatch.setenv("COLUMNS", "100")


def test_the_command_line_runs_in_this_process(call: Call, server: StandIn) -> None:
    assert call("--version")[0] == 0
    assert server.requests == []
