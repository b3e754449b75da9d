"""Inputs are put where jobs find them: once, whole, and nowhere else."""

import hashlib
import stat
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakeway import ids
from snakeway.blobs import Blobs, Chunks, Storages
from snakeway.blobs.local import LocalBlobs
from snakeway.bootstrap import open_location
from snakeway.catalog.materialise import place
from snakeway.directory import run_directory
from snakeway.errors import InvalidWorkflow
from snakeway.model.input import key_of, path_of, reference_to
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.settings import Settings
from snakeway.supervisor.stage import CannotStage, Stager
from tests.support.waiting import wait_until

DATA = b"x" * 3_000_000 + b"end"
SHA = hashlib.sha256(DATA).hexdigest()
PATH = path_of("a.txt", SHA)


class Place:
    """A run with one input, and those who bring it there."""

    def __init__(self, root: Path, storage_url: str | None) -> None:
        self.settings = Settings(data_dir=root / "data")
        self.storages = Storages(open_location)
        self.blobs: Blobs = self.storages.at(self.settings.blobs_address)
        self.blobs.put(key_of("ada", SHA), DATA)
        self.woken: list[bool] = []
        input_id = ids.new_id()
        used = {"id": input_id, "path": PATH, "name": "a.txt", "sha256": SHA, "size_bytes": len(DATA)}
        common: dict[str, Any] = {"owner": "ada", "target": "local", "digest": "x", "created_at": now()}
        self.run = RunRow(id=ids.new_id(), workflow="w", inputs=[used], **common)
        config = {"a": reference_to(input_id)}
        self.attempt = AttemptRow(
            id=ids.new_id(), run_id=self.run.id, number=1, config=config, storage_url=storage_url, **common
        )
        self.directory = run_directory(self.settings.data_dir, self.run.id)
        self.directory.create(self.run.id)

    def stage(self) -> None:
        stager = Stager(self.settings, self.storages, lambda: self.woken.append(True))
        wait_until(lambda: stager.is_staged(self.run, self.attempt) or None, timeout_s=30, what="the inputs")
        assert not stager.is_busy(self.attempt.id)


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A run with its files in its directory."""
    return Place(tmp_path, None)


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Place, Blobs]:
    """A run with its files in a storage."""
    made = Place(tmp_path, (tmp_path / "there").as_uri())
    return made, made.storages.at((tmp_path / "there").as_uri())


def test_into_the_directory(here: Place) -> None:
    here.stage()
    file = here.directory.path / PATH
    assert file.read_bytes() == DATA
    status = file.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (0o444, 1)
    assert here.woken
    here.stage()
    assert file.stat().st_ino == status.st_ino
    assert list((here.directory.path / ".snakeway").glob("new-*")) == []


@pytest.mark.parametrize("spoiled", [b"short", b"y" * len(DATA)])
def test_a_copy_that_a_job_has_changed_is_made_good(here: Place, spoiled: bytes) -> None:
    here.stage()
    file = here.directory.path / PATH
    old = file.stat().st_mtime_ns
    file.chmod(0o644)
    file.write_bytes(spoiled)
    here.stage()
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (DATA, old)


def test_into_a_storage(elsewhere: tuple[Place, Blobs]) -> None:
    here, there = elsewhere
    here.stage()
    assert there.get(PATH, len(DATA)) == DATA
    assert not (here.directory.path / "inputs").exists()
    before = there.stat(PATH)
    here.stage()
    assert there.stat(PATH) == before
    there.put(PATH, b"half")
    here.stage()
    assert there.get(PATH, len(DATA)) == DATA


def test_a_content_that_is_not_what_it_was_is_put_nowhere(here: Place) -> None:
    here.blobs.put(key_of("ada", SHA), b"y" * len(DATA))
    with pytest.raises(CannotStage, match="not that of its SHA-256"):
        here.stage()
    assert list((here.directory.path / "inputs").rglob("a.txt")) == []


def test_a_content_that_is_gone_is_told(here: Place) -> None:
    here.blobs.delete(key_of("ada", SHA))
    with pytest.raises(CannotStage, match="there is no object"):
        here.stage()


class Halting(LocalBlobs):
    """A folder that gives a piece of an object, and the others when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def stream(self, key: str, *, first: int = 0, length: int | None = None) -> Chunks:
        whole = super().stream(key, first=first, length=length)
        return Chunks(whole.blob, whole.size_bytes, self._halted(whole), whole.close)

    def _halted(self, whole: Chunks) -> Generator[bytes]:
        for chunk in whole:
            yield chunk
            self.reached.set()
            self.go_on.wait()


@pytest.fixture
def halting(here: Place) -> Iterator[Halting]:
    """The storage of inputs, which halts in the middle of each until the test lets it go on."""
    assert isinstance(here.blobs, LocalBlobs)
    blobs = Halting(here.blobs.folder)
    here.storages = Storages(lambda _: blobs)
    yield blobs
    blobs.go_on.set()


@pytest.mark.parametrize(
    "give_up",
    [
        pytest.param(lambda stager, attempt_id: stager.forget(attempt_id), id="forget"),
        pytest.param(lambda stager, _: stager.stop(), id="stop"),
    ],
)
def test_what_is_given_up_stops(here: Place, halting: Halting, give_up: Callable[[Stager, str], None]) -> None:
    stager = Stager(here.settings, here.storages, lambda: here.woken.append(True))
    assert not stager.is_staged(here.run, here.attempt)
    assert halting.reached.wait(30)
    give_up(stager, here.attempt.id)
    halting.go_on.set()
    wait_until(lambda: here.woken or None, timeout_s=30, what="the thread's end")
    assert list((here.directory.path / "inputs").rglob("a.txt")) == []
    assert list((here.directory.path / ".snakeway").glob("new-*")) == []
    here.stage()
    assert (here.directory.path / PATH).read_bytes() == DATA


def test_what_is_given_up_is_not_waited_for(here: Place, halting: Halting) -> None:
    stager = Stager(here.settings, here.storages, lambda: here.woken.append(True))
    assert not stager.is_staged(here.run, here.attempt)
    assert stager.is_busy(here.attempt.id)
    stager.forget(here.attempt.id)
    assert not stager.is_busy(here.attempt.id)


@pytest.mark.parametrize("planted", ["inputs", f"inputs/{SHA[:12]}"])
def test_no_link_is_followed(here: Place, tmp_path: Path, planted: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = here.directory.path / planted
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(CannotStage, match="where the workflow has a folder"):
        here.stage()
    assert list(outside.iterdir()) == []


def test_a_link_in_the_file_s_place_is_replaced(here: Place, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    file = here.directory.path / PATH
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "victim")
    here.stage()
    assert (tmp_path / "victim").read_text() == "mine"
    assert (file.is_symlink(), file.read_bytes()) == (False, DATA)


def test_a_folder_in_the_file_s_place_is_told(here: Place) -> None:
    (here.directory.path / PATH).mkdir(parents=True)
    with pytest.raises(InvalidWorkflow):
        place(here.directory.path, PATH, 1, 0, lambda _: None)
