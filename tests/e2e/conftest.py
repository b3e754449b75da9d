"""Real servers, real snakemake."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server

StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the project's own workflows and targets, shared by the tests that do not harm it."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own; keyword arguments are those of :class:`Server`."""
    started: list[Server] = []

    def start(**options: Any) -> Server:
        server = Server(options.pop("data_dir", tmp_path / "data"), **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def workflows(tmp_path: Path) -> Callable[..., Path]:
    """Writes workflows (name=text of the Snakefile) and returns the folder they are in."""

    def write(**snakefiles: str) -> Path:
        for name, text in snakefiles.items():
            folder = tmp_path / "workflows" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "Snakefile").write_text(text)
        return tmp_path / "workflows"

    return write
