"""Engine, transactions and schema of the database: SQLite (one machine) or Postgres (shared), one code path."""

import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, Insert, NullPool, create_engine, event, insert, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session

from snakeway.errors import StoreBroken, StoreBusy, StoreOutdated
from snakeway.model.failure import NO_SPACE_WORDS
from snakeway.model.webhook import Subscription
from snakeway.rows import Table

Transaction = Session

SUBSCRIPTIONS = "snakeway_subscriptions"  # in a transaction's info: who is told of what it changes

_WRITES = "snakeway_writes"
_POOL_SIZE = 20
_PROBE_S = 1.0
_FULL = re.compile(rf"disk is full|{NO_SPACE_WORDS}")  # SQLite's words, and the system's as Postgres passes them on
# Beginnings of the names of SQLite's errors that waiting does not mend.
_BROKEN = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_READONLY")


class Store:
    """A database. Safe to share between threads; not between processes that fork."""

    def __init__(self, url: str, wait_s: float = 10, subscriptions: Sequence[Subscription] = ()) -> None:
        self.url = make_url(url)
        self._info = {SUBSCRIPTIONS: subscriptions}
        self.sqlite = self.url.get_backend_name() == "sqlite"
        pool = {"pool_size": _POOL_SIZE, "max_overflow": _POOL_SIZE, "pool_timeout": wait_s}
        self._engine = self._sqlite_engine(wait_s, **pool) if self.sqlite else self._postgres_engine(wait_s, **pool)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        # SQLite's own waiting sleeps up to 0.1 s between two tries; writers of one process queue here instead.
        self._turn = threading.Lock()
        self._wait_s = wait_s
        self._changes = 0  # of this process, on SQLite
        self._prober = self._sqlite_engine(_PROBE_S, poolclass=NullPool) if self.sqlite else self._engine

    def _sqlite_engine(self, wait_s: float, **pool: Any) -> Engine:
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_engine(self.url, connect_args={"timeout": wait_s}, **pool)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _postgres_engine(self, wait_s: float, **pool: Any) -> Engine:
        options = f"-c lock_timeout={int(wait_s * 1000)} -c timezone=UTC"
        connect = {"connect_timeout": max(2, int(wait_s)), "options": options}
        return create_engine(self.url, connect_args=connect, pool_pre_ping=True, **pool)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads: one consistent view, and on SQLite never in the way of a writer.

        Raises:
            StoreBusy: the database does not answer in time.

        """
        with _explained(self.url), Session(self._engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is committed at the end of the block, or rolled back when the block raises.

        On SQLite it takes the write lock at its beginning, so it cannot fail half-way for a lock.

        Raises:
            StoreBusy: the database does not answer, or is locked for longer than its wait.

        """
        with (
            _explained(self.url),
            self._taken_turn(),
            Session(self._writer, autoflush=False, expire_on_commit=False, info=self._info) as session,
            session.begin(),
        ):
            session.connection()  # takes SQLite's lock now, not at the first statement
            yield session

    @contextmanager
    def _taken_turn(self) -> Iterator[None]:
        if not self.sqlite:
            yield
            return
        if not self._turn.acquire(timeout=self._wait_s):
            raise StoreBusy("the database is busy with other changes; try again in a moment")
        try:
            yield
            self._changes += 1
        finally:
            self._turn.release()

    def probe(self) -> None:
        """Look whether changes can be stored; stores none. On SQLite it waits for other writers for a second only.

        Raises:
            StoreBusy: they cannot be stored now.
            StoreBroken: they cannot be stored.

        """
        if not self.sqlite:
            with self.read() as tx:
                if tx.connection().scalar(text("SHOW transaction_read_only")) == "on":
                    raise StoreBusy("the database takes no changes now: it is read-only, as a standby is")
            return
        if _is_gone(self.url):  # the look would make it
            raise StoreBroken(f"the database {self.url.database} is gone; put it back and restart the server")
        before = self._changes
        try:
            with _explained(self.url), self._prober.execution_options(**{_WRITES: True}).connect() as connection:
                connection.begin()  # takes the lock; left without a commit
        except StoreBusy:
            if self._changes == before:  # else it was only never our turn
                raise

    def migrate(self) -> None:
        """Bring the schema to this version; does nothing when it is there. Concurrent callers wait for each other."""
        with _explained(self.url), self._writer.begin() as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(7310843)"))
            config = _alembic_config()
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StoreOutdated(
                    f"the database was made by a newer version of Snakeway ({error}); install it"
                ) from error

    def check(self) -> None:
        """Raise StoreOutdated unless the schema is the one this version was written for."""
        head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
        with _explained(self.url), self._engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        if found != head:
            raise StoreOutdated(
                f"the database at {self.url.render_as_string(hide_password=True)} has schema {found or 'none'}, "
                f"this version needs {head}: run 'snakeway migrate'"
            )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def insert_all(tx: Transaction, records: Sequence[Table]) -> None:
    """Insert records of one table, see :meth:`Table.record`, in one statement.

    A column that is null in all of them is left out, because each value costs more than this look at it: a new attempt
    has 20 such columns. So no column that may be null can have a default in the table or in the database.
    """
    if records:
        rows = [vars(record) for record in records]
        names = {name for row in rows for name, value in row.items() if value is not None}
        tx.connection().execute(_insert_into(type(records[0])), [{name: row[name] for name in names} for row in rows])


@cache
def _insert_into(table: type[Table]) -> Insert:
    # The same object each time: it remembers what SQLAlchemy finds its compiled form by.
    return insert(Table.metadata.tables[str(table.__tablename__)])


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy must decide itself when a transaction begins (see _begin_sqlite), not the driver.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _is_gone(url: URL) -> bool:
    """Whether there is nothing where the database was, as far as the folders above it let this be seen."""
    try:
        Path(url.database or "").stat()  # through a link, as SQLite would make it
    except FileNotFoundError:
        return True
    except OSError:
        return False  # SQLite says why
    return False


def _is_broken(error: DBAPIError, url: URL) -> bool:
    name = getattr(error.orig, "sqlite_errorname", "")
    if name.startswith("SQLITE_CANTOPEN"):  # a process that has too many files open cannot open a good one either
        file = url.database or ""
        return not os.access(file, os.R_OK | os.W_OK) or Path(file).is_dir()
    return name.startswith(_BROKEN)


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreBusy("all connections to the database are in use; try again in a moment") from error
    except DBAPIError as error:
        if "no such table" in str(error.orig) or "UndefinedTable" in type(error.orig).__name__:
            raise StoreOutdated("the database has no tables yet: run 'snakeway migrate'") from error
        if _is_broken(error, url):
            raise StoreBroken(
                f"the database {url.database} cannot be used ({_first_line(error)}); correct that, put a backup there, "
                "or name another in SNAKEWAY_DATABASE_URL"
            ) from error
        if not isinstance(error, (OperationalError, InterfaceError)):
            raise
        name, said = url.get_backend_name(), _first_line(error)
        if _FULL.search(said):
            file = f" {url.database}" if name == "sqlite" else ""
            raise StoreBusy(f"the {name} database{file} has no room ({said}); make room for it") from error
        raise StoreBusy(f"the {name} database does not answer ({said}); try again in a moment") from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]
