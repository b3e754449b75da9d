import hashlib
import os
import random
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway import tree
from snakeway.errors import InvalidWorkflow, Unavailable
from snakeway.tree import Entry, TakesLonger, Tree, digest_of

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0."), min_size=1, max_size=8)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def names(root: Path) -> set[str]:
    return set(Tree(root).read()[1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(files=st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=6), seed=st.integers())
def test_the_digest_does_not_depend_on_the_order_of_creation(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int
) -> None:
    shuffled = list(files.items())
    random.Random(seed).shuffle(shuffled)
    digests = set()
    for order in (list(files.items()), shuffled):
        root = tmp_path_factory.mktemp("tree")
        for name, content in order:
            (root / name).write_bytes(content)
        digests.add(Tree(root).read()[0])
    assert len(digests) == 1


def test_the_digest_has_a_form_that_others_can_compute() -> None:
    index = {"b": Entry("link", "a"), "a": Entry("file", "00")}
    assert digest_of(index) == "sha256:" + hashlib.sha256(b"file\0a\x0000\0link\0b\0a\0").hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a").write_text("other"),
        lambda root: (root / "a").chmod(0o755),
        lambda root: (root / "a").rename(root / "b"),
        lambda root: (root / "new").write_text(""),
        lambda root: (root / "d/c").unlink(),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("d/c")),
        lambda root: ((root / "a").unlink(), (root / "a").symlink_to("d/c")),
    ],
)
def test_every_change_gives_another_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    write(tmp_path, {"a": "a", "d/c": "c"})
    (tmp_path / "link").symlink_to("a")
    watched = Tree(tmp_path)
    before = watched.read()[0]
    change(tmp_path)
    assert watched.read()[0] != before


def test_times_and_empty_folders_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, {"a": "a"})
    before = Tree(tmp_path).read()
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "a", (1, 1))
    assert Tree(tmp_path).read() == before


def test_what_tools_leave_behind_is_left_out(tmp_path: Path) -> None:
    left_out = {f"{name}/x": "" for name in (".git", ".snakemake", ".snakeway", "__pycache__", "d/__pycache__")}
    assert names(write(tmp_path, {"a": "", "d/b": "", **left_out})) == {"a", "d/b"}


def test_gitignore_files_leave_out_results_at_every_depth(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "results/\n*.tmp\n/notes\n",
            "results/big.bam": "",
            "d/results/big.bam": "",
            "a.tmp": "",
            "notes": "",
            "d/notes": "",
            "d/.gitignore": "!b.tmp\n",
            "d/b.tmp": "",
            "d/c.tmp": "",
        },
    )
    assert names(tmp_path) == {".gitignore", "d/notes", "d/.gitignore", "d/b.tmp"}


def test_an_edited_gitignore_counts_at_once(tmp_path: Path) -> None:
    watched = Tree(write(tmp_path, {"a": "", "b": ""}))
    assert set(watched.read()[1]) == {"a", "b"}
    write(tmp_path, {".gitignore": "a\n"})
    assert set(watched.read()[1]) == {".gitignore", "b"}
    write(tmp_path, {".gitignore": "b\n"})
    assert set(watched.read()[1]) == {".gitignore", "a"}
    (tmp_path / ".gitignore").unlink()
    assert set(watched.read()[1]) == {"a", "b"}


def test_an_ignored_folder_is_not_even_looked_into(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "results/\n", "a": "", "results/x": ""})
    (tmp_path / "results").chmod(0)
    try:
        assert names(tmp_path) == {".gitignore", "a"}
    finally:
        (tmp_path / "results").chmod(0o755)


def test_pipes_and_sockets_are_left_out_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(write(tmp_path, {"a": ""}) / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path must be short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        assert names(tmp_path) == {"a"}


def test_a_link_that_leads_out_is_kept_as_an_absolute_one(tmp_path: Path) -> None:
    root = write(tmp_path / "w", {"d/a": ""})
    (root / "d/out").symlink_to("../../data/genome.fa")
    (root / "d/absolute").symlink_to("/data/genome.fa")
    (root / "d/inside").symlink_to("../d/a")
    index = Tree(root).read()[1]
    assert index["d/out"] == Entry("link", str(tmp_path / "data/genome.fa"))
    assert index["d/absolute"] == Entry("link", "/data/genome.fa")
    assert index["d/inside"] == Entry("link", "../d/a")


def test_folders_behind_links_are_not_walked(tmp_path: Path) -> None:
    write(tmp_path, {"big/x": ""})
    root = write(tmp_path / "w", {"a": ""})
    (root / "big").symlink_to("../big")
    assert names(root) == {"a", "big"}


def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file system's clock one that ticks every hour and has no ctime."""
    exact = tree._signature_of

    def rounded(status: os.stat_result) -> tree.Signature:
        size, mtime, _, inode, mode = exact(status)
        return size, mtime - mtime % 3_600_000_000_000 + 3_600_000_000_000, 0, inode, mode

    monkeypatch.setattr(tree, "_signature_of", rounded)


def test_an_edit_within_the_same_tick_of_the_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse(monkeypatch)
    watched = Tree(write(tmp_path, {"a": "one", ".gitignore": "x"}))
    before, _ = watched.read()
    with (tmp_path / "a").open("r+") as file:
        file.write("two")
    after, _ = watched.read()
    assert after != before
    with (tmp_path / ".gitignore").open("r+") as file:
        file.write("a")
    assert set(watched.read()[1]) == {".gitignore"}


def test_a_file_that_has_settled_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = tree.hash_file
    monkeypatch.setattr(tree, "hash_file", lambda descriptor: (read.append(1), original(descriptor))[1])
    watched = Tree(write(tmp_path, {"a": "", "b": ""}))
    watched.read()
    assert len(read) == 2
    watched.read()
    assert len(read) == 4  # both are young
    now = tree.time.time_ns()
    monkeypatch.setattr(tree.time, "time_ns", lambda: now + 10_000_000_000)
    watched.read()
    assert len(read) == 6
    watched.read()
    assert len(read) == 6


def test_a_file_that_vanishes_while_it_is_read_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, {"a": "", "b": ""})
    original = tree.open_file

    def vanishing(path: str, folder: int | None = None) -> int:
        (root / "b").unlink(missing_ok=True)
        return original(path, folder)

    monkeypatch.setattr(tree, "open_file", vanishing)
    assert set(Tree(root).read()[1]) == {"a"}


def test_a_folder_that_never_rests_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: str, folder: int | None = None) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr(tree, "open_file", gone)
    with pytest.raises(Unavailable, match="keep changing"):
        Tree(write(tmp_path, {"a": ""})).read()


def test_too_many_files_and_too_much_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a": "12345", "b": "12345"})
    monkeypatch.setattr(tree, "MAX_BYTES", 9)
    with pytest.raises(InvalidWorkflow, match=r"\.gitignore"):
        Tree(tmp_path).read()
    monkeypatch.setattr(tree, "MAX_FILES", 1)
    with pytest.raises(InvalidWorkflow, match="more than 1 files"):
        Tree(tmp_path).read()


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, folder: int | None = None) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(tree, "open_file", denied)
    with pytest.raises(InvalidWorkflow, match=r"secret\.txt cannot be read: Permission denied"):
        Tree(write(tmp_path, {"secret.txt": ""})).read()


def test_names_that_are_not_text_count(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n")).write_text("")
    digest, index = Tree(tmp_path).read()
    assert list(index) == [os.fsdecode(b"\xff\n")]
    assert digest == digest_of(index)


def record_of(path: str) -> str:
    return f".snakemake/metadata/{urlsafe_b64encode(path.encode()).decode()}"


def test_records_of_outputs_that_are_there_are_taken_along(tmp_path: Path) -> None:
    files = {"Snakefile": "", "made.txt": "", "folder/made.txt": ""}
    records = {record_of(path): "{}" for path in ("made.txt", "folder", "gone.txt")}
    write(tmp_path, {**files, **records, ".snakemake/locks/0.output.lock": "", ".snakemake/log/x": ""})
    assert names(tmp_path) == {*files, record_of("made.txt"), record_of("folder")}
    write(tmp_path, {".gitignore": ".snakemake/\n"})
    assert names(tmp_path) == {*files, ".gitignore"}


def test_at_once_is_for_what_needs_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_RACY_NS", 0)
    root = write(tmp_path, {"Snakefile": ""})
    looked_at = Tree(root)
    with pytest.raises(TakesLonger):
        looked_at.read(at_once=True)
    assert looked_at.read() == looked_at.read(at_once=True)
    write(root, {"Snakefile": "rule all: input: []"})
    with pytest.raises(TakesLonger):
        looked_at.read(at_once=True)


def test_nobody_waits_for_another_s_reading_who_wants_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_RACY_NS", 0)
    looked_at = Tree(write(tmp_path, {"Snakefile": ""}))
    begun, may_go_on = threading.Event(), threading.Event()
    refresh = looked_at._refresh

    def slowly(*, reading: bool) -> None:
        begun.set()
        assert may_go_on.wait(10)
        refresh(reading=reading)

    monkeypatch.setattr(looked_at, "_refresh", slowly)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(looked_at.read)
        assert begun.wait(10)
        with pytest.raises(TakesLonger):
            looked_at.read(at_once=True)
        may_go_on.set()
        assert other.result() == looked_at.read(at_once=True)
