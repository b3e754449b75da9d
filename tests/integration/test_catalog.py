"""The catalog against the real git and with several processes."""

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snakeway.catalog import Catalog
from snakeway.catalog.gitsource import git_source
from snakeway.errors import Invalid
from snakeway.settings import Settings
from snakeway.tree import Tree
from tests.support.gitserver import bare_repository

ATOMS = ["a", "b", "*", "?", "/", "**", "!", "ab", ".b", "[ab]", "[!a]", "\\a", " ", "[", "]", "-", "[[:alpha:]]"]
ATOMS += ["[^a-b]", "[]-]", "\\", "[a-", "^", "#", "-]"]
LINES = st.lists(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=4).map("".join), min_size=1, max_size=3)
NAMES = ["a", "b", "ab", "a.b", "-]"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder under git with files of the same few names three levels deep."""
    root = tmp_path_factory.mktemp("checkout")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    folders = [root, *(root / name for name in NAMES[:3])]
    folders += [root / one / two for one in NAMES[:3] for two in NAMES[:3]]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    for folder in folders:
        for name in NAMES:
            if not (folder / name).is_dir():
                (folder / name).write_text("")
    return root


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(outer=LINES, inner=LINES)
@example(["*a", "!ab/"], ["#"])
@example(["a[!a]", "/\\a"], ["#"])
@example(["a**/a"], ["**\\/b"])
@example(["/*", "!/a"], ["!*"])
def test_the_files_that_count_are_those_of_git(checkout: Path, outer: list[str], inner: list[str]) -> None:
    (checkout / ".gitignore").write_text("\n".join(outer) + "\n")
    (checkout / "a/.gitignore").write_text("\n".join(inner) + "\n")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    listed = subprocess.run(
        ["git", "-C", checkout, "ls-files", "-z", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        env=env,
    ).stdout
    assert set(Tree(checkout).read()[1]) == {os.fsdecode(path) for path in listed.split(b"\0")[:-1]}


@settings(deadline=None, max_examples=150)
@given(ref=st.lists(st.sampled_from([*"ab/.@{~^:?*[\\-é\x7f \t", "..", "@{", ".lock", "//"]), max_size=5).map("".join))
def test_refs_are_those_of_git(ref: str) -> None:
    taken = subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], check=False).returncode == 0
    try:
        git_source("https://host/x", ref, "", ["https://"])
        ours = True
    except Invalid:
        ours = False
    assert ours == (taken and not ref.startswith("-"))


def settings_of(root: Path) -> Settings:
    return Settings(data_dir=root / "data", workflows_dir=root / "workflows", profiles_dir=root / "profiles")


def pin_all(
    root: Path, start: "multiprocessing.synchronize.Barrier", answer: "multiprocessing.SimpleQueue[str]"
) -> None:
    catalog = Catalog(settings_of(root))
    url = f"file://{root}/lab.git"
    start.wait()
    digests = [catalog.pin("w").digest for _ in range(20)] + [catalog.pin_git(url).digest for _ in range(3)]
    answer.put(" ".join(digests))


def test_four_processes_pin_at_once(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / "workflows/w" / str(number % 5)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{number}\n" * 1000)
    (tmp_path / "workflows/w/Snakefile").write_text("rule all: pass\n")
    bare_repository(tmp_path, "lab.git", tmp_path / "workflows/w")
    context = multiprocessing.get_context("spawn")
    start, answer = context.Barrier(4), context.SimpleQueue()
    processes = [context.Process(target=pin_all, args=(tmp_path, start, answer)) for _ in range(4)]
    for process in processes:
        process.start()
    digests = {digest for _ in processes for digest in answer.get().split()}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    # The files of the folder and of the commit are the same.
    assert digests == {Tree(tmp_path / "workflows/w").read()[0]}
    assert [path.name for path in (tmp_path / "data/workflows").iterdir()] == [digests.pop().removeprefix("sha256:")]
