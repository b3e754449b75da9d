import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakeway.catalog.materialise import _Beneath, materialise
from snakeway.errors import InvalidWorkflow
from snakeway.tree import Tree

OLD_NS = 10**18

FIRST = {
    "workflow/Snakefile": "one",
    "config/config.yaml": "a: 1",
    "resources/data.csv": "1,2",
    "scripts/gone.py": "print()",
    "both": "file",
}
SECOND = {
    "workflow/Snakefile": "two",
    "config/config.yaml": "a: 1",
    "resources/data.csv": "1,2",
    "scripts": "now a file",
    "both/is/a/folder": "now",
    "new.txt": "new",
}


class Version:
    """A stored version of a workflow."""

    def __init__(self, root: Path, files: dict[str, str], links: dict[str, str] | None = None) -> None:
        self.path, self.files = root, files
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            os.utime(root / name, ns=(OLD_NS, OLD_NS))
        for name, target in (links or {}).items():
            (root / name).symlink_to(target)
        self.digest, self.index = Tree(root, ignoring=False).read()

    def put_into(self, directory: Path) -> None:
        materialise(self.path, self.index, self.digest, directory)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


@pytest.fixture
def first(tmp_path: Path) -> Version:
    return Version(tmp_path / "first", FIRST)


@pytest.fixture
def second(tmp_path: Path) -> Version:
    return Version(tmp_path / "second", SECOND)


def content(directory: Path) -> dict[str, str]:
    return {path: (directory / path).read_text() for path in Tree(directory, ignoring=False).read()[1]}


def untouched(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def mtime(path: Path) -> int:
    return path.lstat().st_mtime_ns


def test_the_first_version_keeps_its_times(run: Path, first: Version) -> None:
    first.put_into(run)
    assert content(run) == FIRST
    assert {mtime(run / name) for name in FIRST} == {OLD_NS}
    assert json.loads((run / ".snakeway/workflow.json").read_text())["digest"] == first.digest


def test_links_and_folders_of_the_first_version_keep_their_times(run: Path, tmp_path: Path) -> None:
    version = Version(tmp_path / "version", {"data/reads/a.txt": "1", "x": "1"}, {"data/link": "reads"})
    times = {"data/reads": OLD_NS + 1, "data/link": OLD_NS + 2, "data": OLD_NS + 3}
    for name, time_ns in times.items():
        os.utime(version.path / name, ns=(time_ns, time_ns), follow_symlinks=False)
    version.put_into(run)
    assert {name: mtime(run / name) for name in times} == times


def test_a_folder_that_was_there_or_comes_later_is_as_new_as_what_is_in_it(
    run: Path, first: Version, second: Version
) -> None:
    (run / "workflow").mkdir()
    first.put_into(run)
    assert mtime(run / "workflow") > OLD_NS
    os.utime(second.path / "both", ns=(OLD_NS, OLD_NS))
    second.put_into(run)
    assert mtime(run / "both") > OLD_NS


def test_repeating_it_touches_nothing(run: Path, first: Version) -> None:
    first.put_into(run)
    before = {name: untouched(run / name) for name in [*FIRST, ".snakeway/workflow.json"]}
    first.put_into(run)
    assert {name: untouched(run / name) for name in before} == before


def test_another_version_replaces_what_differs_and_removes_what_is_gone(
    run: Path, first: Version, second: Version
) -> None:
    first.put_into(run)
    inode = (run / "resources/data.csv").stat().st_ino
    started = time.time_ns()
    second.put_into(run)
    assert content(run) == SECOND
    # Inputs that are the same run nothing again; those that changed are newer than every output so far.
    assert mtime(run / "resources/data.csv") == OLD_NS
    assert (run / "resources/data.csv").stat().st_ino == inode
    assert mtime(run / "workflow/Snakefile") >= started - 10**9


def test_going_back_makes_the_old_content_new_again(run: Path, first: Version, second: Version) -> None:
    first.put_into(run)
    second.put_into(run)
    first.put_into(run)
    assert content(run) == FIRST
    assert mtime(run / "workflow/Snakefile") > OLD_NS


def test_outputs_are_never_touched(run: Path, first: Version, second: Version) -> None:
    first.put_into(run)
    outputs = {"results/a/out.txt": "1", "scripts.log": "2", "both.log": "3", "config/made-by-a-job": "4"}
    for name, text in outputs.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    before = {name: untouched(run / name) for name in outputs}
    second.put_into(run)
    assert content(run) == SECOND | outputs
    assert {name: untouched(run / name) for name in outputs} == before


def test_a_file_of_the_old_version_that_was_changed_is_kept(run: Path, first: Version, second: Version) -> None:
    first.put_into(run)
    (run / "both").unlink()
    extra = Version(run.parent / "third", {"workflow/Snakefile": "three"})
    (run / "scripts/gone.py").write_text("by hand")
    extra.put_into(run)
    assert content(run) == {"workflow/Snakefile": "three", "scripts/gone.py": "by hand"}


def test_what_a_job_did_to_a_file_of_the_version_that_is_there_stays(run: Path, first: Version) -> None:
    first.put_into(run)
    (run / "workflow/Snakefile").write_text("changed")
    (run / "resources/data.csv").unlink()
    first.put_into(run)
    changed = {name: text for name, text in FIRST.items() if name != "resources/data.csv"}
    assert content(run) == changed | {"workflow/Snakefile": "changed"}


def test_the_mode_follows_the_workflow_without_a_new_time(run: Path, first: Version, tmp_path: Path) -> None:
    first.put_into(run)
    (tmp_path / "first/both").chmod(0o755)
    programs = Version(tmp_path / "first", {})
    programs.put_into(run)
    assert os.access(run / "both", os.X_OK)
    assert mtime(run / "both") == OLD_NS
    assert (run / "both").stat().st_mode & 0o777 == 0o755


class Killed(BaseException):
    pass


STEPS = ("put", "remove", "write_manifest")


@pytest.mark.parametrize("again", ["first", "second", "third"])
@pytest.mark.parametrize("start", ["empty", "first"])
def test_a_kill_at_any_step_can_be_repaired_with_any_version(
    tmp_path: Path, first: Version, second: Version, monkeypatch: pytest.MonkeyPatch, start: str, again: str
) -> None:
    versions = {"first": first, "second": second, "third": Version(tmp_path / "third", {"workflow/Snakefile": "three"})}
    for steps in range(20):
        run = tmp_path / f"run{steps}"
        (run / "results").mkdir(parents=True)
        (run / "results/out").write_text("out")
        if start == "first":
            first.put_into(run)
        left = [steps]

        def dying(name: str, left: list[int] = left) -> Any:
            original = getattr(_Beneath, name)

            def step(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return original(*args, **kwargs)

            return step

        with monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(_Beneath, name, dying(name))
            try:
                second.put_into(run)
                killed = False
            except Killed:
                killed = True
        versions[again].put_into(run)
        assert content(run) == versions[again].files | {"results/out": "out"}
        if not killed:
            assert steps > 5
            return
    pytest.fail("it never came to its end")


def test_a_kill_between_a_file_and_its_folder_can_be_repaired(
    run: Path, first: Version, second: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object, **__: object) -> None:
        raise Killed

    first.put_into(run)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", dying)
        with pytest.raises(Killed):
            second.put_into(run)
    assert (run / "scripts").is_dir()
    second.put_into(run)
    assert content(run) == SECOND


def test_a_half_written_file_of_a_kill_is_removed_after_an_hour(run: Path, first: Version) -> None:
    first.put_into(run)
    for name, at in (("new-old", 1), ("new-young", time.time())):
        (run / ".snakeway" / name).write_text("half")
        os.utime(run / ".snakeway" / name, (at, at))
    first.put_into(run)
    assert not (run / ".snakeway/new-old").exists()
    assert (run / ".snakeway/new-young").exists()


@pytest.mark.parametrize("folder", ["workflow", "config", ".snakeway"])
def test_nothing_is_written_through_a_link_to_a_folder(run: Path, first: Version, tmp_path: Path, folder: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / folder).symlink_to(outside)
    with pytest.raises(InvalidWorkflow, match="is a file or link where the workflow has a folder; move it away"):
        first.put_into(run)
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(run: Path, first: Version, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (run / "workflow").mkdir()
    (run / "workflow/Snakefile").symlink_to(outside)
    (run / "both").symlink_to(outside)
    first.put_into(run)
    assert content(run) == FIRST
    assert not (run / "both").is_symlink()
    assert outside.read_text() == "precious"


def test_a_folder_in_the_place_of_a_file_is_left_alone(run: Path, first: Version) -> None:
    (run / "both/results").mkdir(parents=True)
    with pytest.raises(InvalidWorkflow, match="both is a folder where the workflow has a file"):
        first.put_into(run)
    assert (run / "both/results").is_dir()
    assert [name for name in os.listdir(run / ".snakeway") if name.startswith("new-")] == []  # noqa: PTH208


def test_a_link_of_the_workflow_is_a_link_in_the_run(run: Path, tmp_path: Path) -> None:
    Version(tmp_path / "a", {"x": "1"}, {"data": "/data", "y": "x"}).put_into(run)
    assert (run / "data").readlink() == Path("/data")
    assert (run / "y").read_text() == "1"
    Version(tmp_path / "b", {"x": "1", "data/now": "here"}).put_into(run)
    assert not (run / "data").is_symlink()
    assert not (run / "y").is_symlink()
    assert (run / "data/now").read_text() == "here"


@pytest.mark.parametrize(
    "path", ["../precious", "/precious", "a/../../precious", "./../precious", "", "a//b", ".snakeway/run.json", "x\0"]
)
def test_a_manifest_that_a_job_wrote_removes_nothing_else(run: Path, first: Version, tmp_path: Path, path: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("1,2")
    (run / ".snakeway").mkdir()
    (run / ".snakeway/run.json").write_text("1,2")
    known = [first.index["resources/data.csv"].kind, first.index["resources/data.csv"].content]
    manifest = {"digest": "x", "files": {path: [known], path.replace("/precious", str(precious)): [known]}}
    (run / ".snakeway/workflow.json").write_text(json.dumps(manifest))
    first.put_into(run)
    assert precious.exists()
    assert (run / ".snakeway/run.json").exists()


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", '{"digest": 1, "files": []}', '{"digest": 1, "files": {"a": [1]}}', "[" * 99999]
)
def test_a_spoiled_manifest_counts_as_none(run: Path, first: Version, text: str) -> None:
    first.put_into(run)
    (run / ".snakeway/workflow.json").write_text(text)
    first.put_into(run)
    assert content(run) == FIRST


def test_a_manifest_that_is_a_pipe_or_a_link_is_not_read(run: Path, first: Version, tmp_path: Path) -> None:
    (run / ".snakeway").mkdir()
    os.mkfifo(run / ".snakeway/workflow.json")
    first.put_into(run)
    (run / ".snakeway/workflow.json").unlink()
    (run / ".snakeway/workflow.json").symlink_to(tmp_path / "elsewhere")
    first.put_into(run)
    assert not (run / ".snakeway/workflow.json").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


TREES = st.dictionaries(
    st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f"]), st.sampled_from(["1", "2", "3"]), min_size=1, max_size=5
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(versions=st.lists(TREES, min_size=1, max_size=4))
def test_after_any_history_the_directory_holds_the_last_version(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("history")
    (root / "run").mkdir()
    for number, files in enumerate(versions):
        Version(root / str(number), files).put_into(root / "run")
        assert content(root / "run") == files
