import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snakeway.catalog import snapshot
from snakeway.catalog.snapshot import Snapshots, copy_tree
from snakeway.errors import InvalidWorkflow, Unavailable, WorkflowNotFound
from snakeway.tree import Tree

HOUR_NS = 3600 * 10**9


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "workflow").mkdir(parents=True)
    (root / "workflow/Snakefile").write_text("rule all: pass\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o775)
    (root / "data").symlink_to("/data")
    os.utime(root / "run.sh", ns=(HOUR_NS, HOUR_NS))
    os.utime(root / "data", ns=(2 * HOUR_NS, 2 * HOUR_NS), follow_symlinks=False)
    os.utime(root / "workflow", ns=(3 * HOUR_NS, 3 * HOUR_NS))
    return root


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "data/workflows")


def copy(source: Path) -> Callable[[Path], None]:
    return lambda folder: copy_tree(source, Tree(source).read()[1], folder)


def test_a_snapshot_has_the_digest_the_links_and_the_times_of_its_source(source: Path, store: Snapshots) -> None:
    digest = store.add(copy(source))
    assert digest == Tree(source).read()[0]
    assert digest in store
    path = store.path(digest)
    assert path.name == digest.removeprefix("sha256:")
    assert (path / "run.sh").stat().st_mtime_ns == HOUR_NS
    assert (path / "data").lstat().st_mtime_ns == 2 * HOUR_NS
    assert (path / "workflow").stat().st_mtime_ns == 3 * HOUR_NS
    assert (path / "data").readlink() == Path("/data")
    assert stat.S_IMODE((path / "run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((path / "workflow/Snakefile").stat().st_mode) == 0o444
    assert store.index(digest) == Tree(source).read()[1]


def test_storing_the_same_files_again_keeps_the_first_copy(source: Path, store: Snapshots) -> None:
    path = store.path(store.add(copy(source)))
    inode = path.stat().st_ino
    store.add(copy(source))
    assert path.stat().st_ino == inode
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_copy_that_is_not_the_expected_one_is_thrown_away(source: Path, store: Snapshots) -> None:
    digest = store.add(copy(source), expected="sha256:" + "0" * 64)
    assert digest not in store
    assert list(store._folder.iterdir()) == []


def test_a_copy_that_fails_leaves_nothing(source: Path, store: Snapshots) -> None:
    def fail(folder: Path) -> None:
        copy(source)(folder)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.add(fail)
    assert list(store._folder.iterdir()) == []


def test_what_a_crash_left_is_removed_after_an_hour(source: Path, store: Snapshots) -> None:
    store.add(copy(source))
    old, young = store._folder / ".new-old", store._folder / ".new-young"
    for folder in (old, young):
        (folder / "workflow").mkdir(parents=True)
    os.utime(old, (1, 1))
    store.add(copy(source))
    assert not old.exists()
    assert young.exists()


def test_eight_threads_store_the_same_version_at_once(source: Path, store: Snapshots) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: store.add(copy(source)), range(32)))
    assert digests == {Tree(source).read()[0]}
    assert len(list(store._folder.iterdir())) == 1


def test_a_snapshot_that_is_gone_or_changed_is_said_to_be_so(source: Path, store: Snapshots) -> None:
    digest = store.add(copy(source))
    changed = store.path(digest) / "run.sh"
    changed.unlink()
    changed.write_text("something else")
    with pytest.raises(InvalidWorkflow, match="was changed; remove that folder and submit again"):
        store.index(digest)
    shutil.rmtree(store.path(digest))
    with pytest.raises(WorkflowNotFound, match="submit the workflow again"):
        store.path(digest)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "0" * 63, "sha256:../../etc", "sha256:" + "0" * 64 + "/"]
)
def test_only_digests_name_snapshots(store: Snapshots, digest: str) -> None:
    with pytest.raises(WorkflowNotFound, match="not the digest"):
        store.path(digest)


def test_a_full_disk_is_said_to_be_so(source: Path, store: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "finish_file", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        store.add(copy(source))
    assert list(store._folder.iterdir()) == []


def test_a_file_that_became_a_pipe_or_a_link_is_not_copied(source: Path, store: Snapshots) -> None:
    _, index = Tree(source).read()
    (source / "run.sh").unlink()
    os.mkfifo(source / "run.sh")
    with pytest.raises(FileNotFoundError):
        store.add(lambda folder: copy_tree(source, index, folder))
    (source / "run.sh").unlink()
    (source / "run.sh").symlink_to("/etc/passwd")
    with pytest.raises(Unavailable):
        store.add(lambda folder: copy_tree(source, index, folder))
