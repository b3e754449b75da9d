"""The look whether a database takes changes: what it finds, and that it leaves no trace."""

import contextlib
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from snakeway.errors import StoreBroken, StoreBusy
from snakeway.store import Store, database
from tests.support.disk import small_disk


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


@pytest.fixture
def store(sqlite_url: str, file: Path) -> Iterator[Store]:
    store = Store(sqlite_url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def other(file: Path, store: Store) -> Iterator[sqlite3.Connection]:
    """Another program that uses the database."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


def test_it_changes_nothing(store: Store, file: Path) -> None:
    def sizes() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in file.parent.iterdir()}

    before = sizes()
    store.probe()
    store.probe()
    assert sizes() == before


def test_a_lock_that_stays_is_found_soon(store: Store, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="locked"):
        store.probe()


def test_a_lock_that_goes_is_waited_for(
    sqlite_url: str, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PROBE_S", 30)
    store = Store(sqlite_url)
    asked, found = threading.Event(), []
    event.listen(store._prober, "connect", lambda *_: asked.set())

    def probe() -> None:
        store.probe()
        found.append("writable")

    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=probe)
    thread.start()
    asked.wait(30)
    other.execute("ROLLBACK")
    thread.join(30)
    store.close()
    assert found == ["writable"]


def test_a_change_of_this_process_meanwhile_is_proof(store: Store, other: sqlite3.Connection) -> None:
    def others_come_first(*_: object) -> None:
        with store.write():
            pass
        other.execute("BEGIN IMMEDIATE")

    event.listen(store._prober, "connect", others_come_first)
    store.probe()


def test_a_file_that_is_no_database_is_named(sqlite_url: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("a letter to a friend, and no database at all\n" * 100)
    store = Store(sqlite_url)
    for look in (store.migrate, store.check, store.probe):
        with pytest.raises(StoreBroken, match=f"the database {file} cannot be used .file is not a database.; "):
            look()
    store.close()


def test_one_that_is_gone_is_not_made(store: Store, file: Path) -> None:
    store.close()
    file.unlink()
    with pytest.raises(StoreBroken, match=f"the database {file} is gone; "):
        store.probe()
    assert not file.exists()


def test_one_that_is_gone_behind_a_link_is_not_made(store: Store, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(file)
    store.close()
    file.unlink()
    linked = Store(f"sqlite:///{link}")
    with pytest.raises(StoreBroken, match="is gone; "):
        linked.probe()
    linked.close()
    assert not file.exists()


def test_a_folder_in_its_place_is_no_database(sqlite_url: str, file: Path) -> None:
    file.mkdir(parents=True)
    store = Store(sqlite_url)
    with pytest.raises(StoreBroken, match="unable to open database file"):
        store.migrate()
    store.close()


@pytest.mark.parametrize("closed", ["folder", "file"])
def test_one_that_this_account_may_not_open_is_named(closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's own, which others may not pass through
        file = Path(folder) / "snakeway.db"
        store = Store(f"sqlite:///{file}")
        store.migrate()
        store.close()
        file.chmod(0)
        Path(folder).chmod(0 if closed == "folder" else 0o755)
        assert said_to_nobody(file) == f"the database {file} cannot be used (unable to open database file)"


def said_to_nobody(file: Path) -> str:
    """Return why the database is broken for an account that has no rights."""
    child = """
import os, sys
from snakeway.errors import StoreBroken
from snakeway.store import Store
store = Store(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    store.probe()
except StoreBroken as error:
    print(error.detail)
"""
    argv = [sys.executable, "-c", child, f"sqlite:///{file}"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return said.partition(";")[0]


def test_too_many_open_files_break_no_database(store: Store) -> None:
    store.close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(StoreBusy, match="unable to open database file"):
            store.probe()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        store = Store(f"sqlite:///{disk / 'snakeway.db'}")
        store.migrate()
        with contextlib.suppress(OSError), (disk / "fill").open("wb") as fill:
            while True:
                fill.write(bytes(4096))
        with (
            pytest.raises(StoreBusy, match=r"disk/snakeway\.db has no room \(.*full\); make room"),
            store.write() as tx,
        ):
            tx.connection().execute(text("CREATE TABLE big AS SELECT zeroblob(1000000) AS content"))
        (disk / "fill").unlink()
        with store.write() as tx:
            tx.connection().execute(text("CREATE TABLE big AS SELECT zeroblob(1000000) AS content"))
        store.close()


def test_a_postgres_that_only_reads_is_not_enough(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.probe()
    with store.write() as tx:
        name = store.url.database
        tx.connection().execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    store.close()  # it holds for new connections
    with pytest.raises(StoreBusy, match="read-only"):
        store.probe()
    store.close()
