"""Commands of the server side: what they make of options and environment, and what they say when it does not fit."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from snakeway import bootstrap, cli
from snakeway.errors import SnakewayError, StoreBusy, StoreOutdated
from snakeway.listening import listening
from snakeway.settings import Settings

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("SNAKEWAY_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(*args: str) -> tuple[int, str, str]:
        code = cli.main(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings, dict[str, Any]]]:
    """Puts functions that only note their arguments in the place of bootstrap's."""
    calls: list[tuple[str, Settings, dict[str, Any]]] = []
    for name in ("serve", "supervise", "migrate"):
        monkeypatch.setattr(
            bootstrap, name, lambda settings, name=name, **options: calls.append((name, settings, options))
        )
    return calls


def test_serve_takes_options_before_the_environment(
    call: Call, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SNAKEWAY_PORT", "1111")
    monkeypatch.setenv("SNAKEWAY_HOST", "::1")
    monkeypatch.setenv("SNAKEWAY_TICK_S", "1.5")
    words = "--port 2222 --data-dir d --workflows-dir w --profiles-dir p --max-active-runs 9 --no-supervisor"
    assert call("serve", *words.split())[0] == 0
    [(name, settings, options)] = served
    assert name == "serve"
    assert (settings.port, settings.host, settings.tick_s, settings.max_active_runs) == (2222, "::1", 1.5, 9)
    assert (settings.data_dir, settings.workflows_dir) == (tmp_path / "d", tmp_path / "w")
    assert settings.profiles_dir == tmp_path / "p"
    assert options["embedded"] is False


def test_serve_says_where_it_serves(call: Call, served: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    call("serve")
    options = served[0][2]
    assert options["embedded"] is True
    options["ready"]("http://127.0.0.1:1234")
    assert "http://127.0.0.1:1234" in capfd.readouterr().err


def test_supervise_and_migrate(call: Call, served: list[Any], tmp_path: Path) -> None:
    assert call("supervise", "--data-dir", "d", "--max-active-runs", "3")[0] == 0
    assert call("migrate", "--data-dir", "d")[0] == 0
    assert [(name, settings.data_dir) for name, settings, _ in served] == [
        ("supervise", tmp_path / "d"),
        ("migrate", tmp_path / "d"),
    ]


@pytest.mark.parametrize(
    ("env", "args", "said"),
    [
        ({"SNAKEWAY_PORT": "x"}, [], "SNAKEWAY_PORT: "),
        ({}, ["--port", "70000"], "SNAKEWAY_PORT: "),
        ({"SNAKEWAY_GIT_URL_PREFIXES": "https://"}, [], "JSON"),
        ({"SNAKEWAY_TOKEN": "tooshort1"}, [], "SNAKEWAY_TOKEN: "),
        ({"SNAKEWAY_PORT": "x", "SNAKEWAY_TICK_S": "-1"}, [], "SNAKEWAY_TICK_S: "),
    ],
)
def test_settings_that_do_not_fit(
    env: dict[str, str], args: list[str], said: str, call: Call, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    code, out, err = call("serve", *args)
    assert (code, out, served) == (2, "", [])
    assert said in err
    assert err.count("\n") == 1
    assert "tooshort1" not in err


def test_a_server_that_others_can_reach_needs_a_token(call: Call) -> None:
    code, _, err = call("serve", "--host", "0.0.0.0")
    assert code == 2
    assert "SNAKEWAY_TOKEN" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("supervise",), ("migrate",)])
def test_a_data_folder_that_cannot_be_written(command: tuple[str, ...], call: Call) -> None:
    code, _, err = call(*command, "--data-dir", "/proc")  # where even root cannot make files
    assert code == 2
    assert err.startswith("snakeway: error: cannot use the data folder /proc: ")
    assert "set SNAKEWAY_DATA_DIR to a folder that can be written to" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("supervise",), ("migrate",)])
def test_a_database_that_is_none(command: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "snakeway.db").write_text("a letter to a friend, and no database at all\n" * 100)
    code, _, err = call(*command, "--data-dir", "d")
    assert code == 5
    assert err.startswith(f"snakeway: error: the database {tmp_path / 'd' / 'snakeway.db'} cannot be used ")
    assert err.count("\n") == 1
    assert "bug" not in err
    assert "try again" not in err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_taken_port_leaves_nothing_behind(host: str, call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = call("serve", "--host", host, "--port", str(port))
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert err.startswith(f"snakeway: error: cannot listen on {host}:{port}: Address already in use; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "no..where", "x" * 64])
def test_a_host_that_is_none(host: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEWAY_TOKEN", "a-token-of-the-tests")
    code, _, err = call("serve", "--host", host, "--port", "0")
    assert code == 2
    assert err.startswith(f"snakeway: error: cannot listen on {host}:0: ")
    assert err.endswith("; choose another with --host or --port\n")


def test_answers_are_sent_at_once() -> None:
    with (
        listening("127.0.0.1", 0) as [listener],
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_folders_that_are_missing_are_told_at_the_start(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: None)
    words = ("serve", "--port", "0", "--no-supervisor")
    assert call(*words)[0] == 0
    workflows, targets = (record.getMessage() for record in caplog.records if record.name == "snakeway")
    assert workflows.startswith(f"workflows: none in {tmp_path / 'workflows'}")
    assert "SNAKEWAY_WORKFLOWS_DIR" in workflows
    assert targets.startswith(f"targets: none in {tmp_path / 'profiles'}")
    assert "SNAKEWAY_PROFILES_DIR" in targets
    caplog.clear()
    for name in ("workflows", "profiles"):
        (tmp_path / name).mkdir()
    assert call(*words)[0] == 0
    assert [record for record in caplog.records if record.name == "snakeway"] == []


@pytest.mark.parametrize("error", [StoreOutdated("run 'snakeway migrate'"), StoreBusy("locked")])
def test_what_bootstrap_raises(error: SnakewayError, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(bootstrap, "serve", serve)
    assert call("serve") == (5, "", f"snakeway: error: {error.detail}\n")


@pytest.mark.parametrize("command", ["serve", "supervise", "migrate"])
def test_without_the_server_installed(command: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "snakeway.bootstrap")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = call(command)
    assert code == 2
    assert "install Snakeway with its extra 'server'" in err
    assert err.count("\n") == 1
