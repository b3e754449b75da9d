"""Fixtures of every tier."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from snakeway.store import Store
from tests.support import radosgw
from tests.support.postgres import fresh_database, postgres_server
from tests.support.s3 import S3Server
from tests.support.services import need

# A busy machine is not an error, and a failure must be the same for everybody.
settings.register_profile("snakeway", deadline=None, derandomize=True)
settings.load_profile("snakeway")

# A shell without job control has what it starts with & ignore SIGINT, and every process below inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to go on where the tests of a group would be given to several workers: each would start a cluster."""
    grouped = [item for item in session.items if any(item.iter_markers("xdist_group"))]
    if getattr(session.config.option, "loadgroup", False) and any("@" not in item.nodeid for item in grouped):
        raise pytest.UsageError("pytest-xdist does not keep groups together with this version of pytest")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Postgres server that lives as long as the tests."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph's gateway: it speaks S3 and checks signatures. Tests make their buckets, unless these are there."""
    need(radosgw.PROGRAMS, missing=radosgw.missing(), root=True)
    with radosgw.radosgw_server(tmp_path_factory.mktemp("radosgw")) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """URL of an empty Postgres database."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'store' / 'snakeway.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database, once of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store with its tables, once on each kind of database."""
    store = Store(store_url, wait_s=10)
    store.migrate()
    yield store
    store.close()
