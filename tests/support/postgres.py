"""A real PostgreSQL server for tests, and databases in it which last for one test."""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from .postgres_programs import open_to_all, prepare_programs
from .processes import Argv, guarded, log_tail, run
from .waiting import wait_until

_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_UNPRIVILEGED_USER = "nobody"
_START_TIMEOUT_S = 30.0
_LONGEST_FOLDER = 60

_NEW_CLUSTER = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
    *("--no-sync", "--no-instructions", "--no-data-checksums"),
)

# Nothing here has to survive a crash of the machine, and everything has to be quick.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "autovacuum": "off",
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
}


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL server for the `with` block and give the SQLAlchemy URL of its database `postgres`.

    The URL has the form `postgresql+psycopg://postgres@/postgres?host=...` and holds for any number of processes
    of the same user, up to 120 connections in all. The server listens on a Unix socket only.

    Its log is `directory/postgres.log`. Its data is in a temporary folder of its own, because socket paths must be
    short and because PostgreSQL refuses to run as root: started by root it runs as `nobody`, who cannot enter the
    private folders of root.

    The server and its data go away when the block is left. If the test process is killed, the server
    stops all the same and only its data stays.

    Raises RuntimeError with the end of the log if the server does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "postgres.log"
    user = _UNPRIVILEGED_USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-", dir=_temporary_folder(), ignore_cleanup_errors=True) as temporary:
        home = Path(temporary)
        data = home / "data"
        programs = prepare_programs(home, user)
        run([programs / "initdb", "-D", data, *_NEW_CLUSTER], env=_ENVIRONMENT, cwd=home, user=user)
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        argv: Argv = [programs / "postgres", "-D", data, "-k", home, *settings]
        with guarded(argv, log=log, env=_ENVIRONMENT, cwd=home, user=user, stop=signal.SIGQUIT) as server:
            url = f"postgresql+psycopg://postgres@/postgres?host={home}"

            def answers() -> bool:
                if server.poll() is not None:
                    raise RuntimeError(f"PostgreSQL did not start:\n{log_tail(log)}")
                try:
                    with _connection(url):
                        return True
                except psycopg.OperationalError:
                    return False

            wait_until(answers, timeout_s=_START_TIMEOUT_S, what="PostgreSQL to answer")
            yield url


@contextmanager
def fresh_database(server_url: str, *, template: str = "template0") -> Iterator[str]:
    """Create a database with a unique name, give its SQLAlchemy URL and drop it after the `with` block.

    `template` names a database to copy, for instance one with the tables already made; nobody may be
    connected to it meanwhile. Connections which are still open at the end are cut off.

    Raises psycopg.Error if the server is not there or the template is missing or in use.
    """
    name = f"test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with _connection(server_url) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with _connection(server_url) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _temporary_folder() -> Path:
    """Return a temporary folder with a short path which every user can enter."""
    chosen = Path(tempfile.gettempdir()).resolve()
    return chosen if open_to_all(chosen) and len(str(chosen)) <= _LONGEST_FOLDER else Path("/", "tmp")


def _connection(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Open a connection in autocommit mode to a SQLAlchemy URL as given out by this module."""
    return psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True, connect_timeout=5)
