import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from litestar.testing import TestClient

from snakeway.app import create_app
from snakeway.store import Store
from tests.integration.test_api_fixtures import URL, Api, make_parts, write_catalog

pytest_plugins = ["tests.integration.test_api_fixtures"]


def test_parts_are_started_in_order_and_stopped_after_the_streams(sqlite_api: Api) -> None:
    told: list[str] = []
    parts = make_parts(sqlite_api.store, sqlite_api.settings)

    def stop() -> None:
        told.append(f"stop, stopping {parts.stopping.is_set()}")

    hooks = {"on_startup": [lambda: told.append("a"), lambda: told.append("b")], "on_shutdown": [stop, stop]}
    with TestClient(create_app(replace(parts, **hooks)), base_url=URL) as client:
        assert client.get("/api/v1/runs").status_code == 200
        assert told == ["a", "b"]
    assert told[2:] == ["stop, stopping True"] * 2


def test_what_was_started_is_stopped_when_the_rest_cannot_start(sqlite_api: Api) -> None:
    told: list[str] = []

    def fail() -> None:
        raise OSError("no")

    parts = make_parts(sqlite_api.store, sqlite_api.settings)
    parts = replace(parts, on_startup=[fail], on_shutdown=[lambda: told.append("stopped")])
    with pytest.raises(ExceptionGroup), TestClient(create_app(parts), base_url=URL):
        pass
    assert told == ["stopped"]


def test_making_an_application_starts_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    settings = write_catalog(tmp_path)
    store = Store(f"sqlite:///{tmp_path / 'none' / 'snakeway.db'}")
    create_app(make_parts(store, settings))
    assert threading.active_count() == threads
    assert list(settings.data_dir.iterdir()) == []
    store.close()


def test_the_api_is_imported_without_opentelemetry() -> None:
    code = "import snakeway.app, sys; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
