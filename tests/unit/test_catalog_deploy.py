"""Which files of a workflow Snakemake sends to jobs elsewhere: those that git lists."""

import subprocess
from pathlib import Path

import pytest

from snakeway.catalog.deploy import deploys_sources, list_for_git
from snakeway.errors import Invalid


def listed(directory: Path) -> list[str]:
    """Ask as Snakemake does."""
    argv = ["git", "ls-files", "--recurse-submodules", "-z", "."]
    return subprocess.run(argv, cwd=directory, capture_output=True, check=True).stdout.decode().split("\0")[:-1]


def test_git_lists_the_files_of_the_newest_version_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.txt").touch()
    list_for_git(tmp_path, ["workflow/Snakefile", "workflow/scripts/old.py", "odd\n\N{SNAKE} name"])
    assert listed(tmp_path) == ["odd\n\N{SNAKE} name", "workflow/Snakefile", "workflow/scripts/old.py"]
    list_for_git(tmp_path, ["workflow/Snakefile", "workflow/scripts/new.py"])
    assert listed(tmp_path) == ["workflow/Snakefile", "workflow/scripts/new.py"]


def test_what_a_killed_git_has_left_is_no_hindrance(tmp_path: Path) -> None:
    list_for_git(tmp_path, ["a"])
    (tmp_path / ".git" / "index.lock").touch()
    list_for_git(tmp_path, ["b"])
    assert listed(tmp_path) == ["b"]


def test_a_directory_within_a_checkout_has_an_index_of_its_own(tmp_path: Path) -> None:
    list_for_git(tmp_path, ["outer"])
    (tmp_path / "run").mkdir()
    list_for_git(tmp_path / "run", ["inner"])
    assert listed(tmp_path / "run") == ["inner"]
    assert listed(tmp_path) == ["outer"]


def test_what_stands_in_the_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").write_text("not a repository")
    with pytest.raises(OSError, match=f"git cannot list the workflow's files in {tmp_path}: fatal: "):
        list_for_git(tmp_path, ["a"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Invalid, match="git is needed"):
        list_for_git(tmp_path, ["a"])


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({}, False),
        ({"shared-fs-usage": "none"}, True),
        ({"shared-fs-usage": ["persistence", "sources"]}, False),
        ({"shared-fs-usage": ["persistence", "input-output"]}, True),
    ],
)
def test_a_profile_says_whether_jobs_see_the_workflow(profile: dict[str, object], *, expected: bool) -> None:
    assert deploys_sources(profile) is expected
