from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import snakemake
from snakemake.cli import get_profile_dir

from snakeway.catalog import Catalog
from snakeway.catalog.target import Targets, snakemake_major
from snakeway.errors import InvalidTarget, TargetNotFound
from snakeway.settings import Settings

Add = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


@pytest.fixture
def add(folder: Path) -> Add:
    def add(name: str, **files: str) -> Path:
        (folder / name).mkdir(exist_ok=True)
        for file, text in files.items():
            (folder / name / file.replace("_", ".")).write_text(text)
        return folder / name

    return add


@pytest.fixture
def catalog(tmp_path: Path, folder: Path) -> Catalog:
    return Catalog(Settings(data_dir=tmp_path / "data", workflows_dir=tmp_path / "workflows", profiles_dir=folder))


def test_a_target_is_what_its_profile_says(catalog: Catalog, add: Add) -> None:
    path = add("slurm", config_yaml="# The lab's\n# cluster.\n#\n# More.\nexecutor: slurm\njobs: 10\n")
    target = catalog.target("slurm")
    assert (target.name, target.executor, target.path, target.error) == ("slurm", "slurm", path, None)
    assert target.description == "The lab's cluster."
    assert target.profile == {"executor": "slurm", "jobs": 10}
    assert catalog.targets() == [target]


def test_a_profile_without_an_executor_runs_locally(catalog: Catalog, add: Add) -> None:
    add("local", config_yaml="# nothing\n", README_md="# Local\n\nThis machine.\n")
    assert (catalog.target("local").executor, catalog.target("local").profile) == ("local", {})
    assert catalog.target("local").description == "nothing"
    add("other", config_yaml="cores: 1\n", README_md="# Local\n\nThis machine.\n")
    assert catalog.target("other").description == "This machine."


@pytest.mark.parametrize(
    "files",
    [
        ["config.yaml"],
        ["profile.yaml"],
        ["config.v8+.yaml"],
        ["config.yaml", "config.v8+.yaml"],
        ["config.v8+.yaml", "config.v9+.yaml"],
        ["profile.v9+.yaml", "config.v8+.yaml"],
        ["config.yaml", "config.v99+.yaml"],
        ["config.v8+.yaml", "config.yml"],
    ],
)
def test_the_file_is_the_one_that_snakemake_takes(catalog: Catalog, folder: Path, files: list[str]) -> None:
    (folder / "t").mkdir()
    for file in files:
        (folder / "t" / file).write_text(f"executor: {file}\n")
    found = get_profile_dir(str(folder / "t"))
    assert found is not None
    assert catalog.target("t").executor == found[1].name


def test_the_installed_snakemake_counts() -> None:
    assert snakemake_major() == int(snakemake.__version__.split(".")[0])


def test_a_profile_for_a_later_snakemake_is_listed_with_the_reason(catalog: Catalog, folder: Path) -> None:
    (folder / "t").mkdir()
    (folder / "t/config.v99+.yaml").write_text("")
    assert catalog.targets()[0].error == f"config.v99+.yaml needs Snakemake 99; {snakemake_major()} is installed"
    with pytest.raises(InvalidTarget, match="target 't': config"):
        catalog.target("t")


def test_other_folders_are_no_targets(catalog: Catalog, folder: Path, add: Add) -> None:
    add("empty")
    add("other", config_yml="")
    add(".hidden", config_yaml="")
    (folder / "file").write_text("")
    assert catalog.targets() == []
    with pytest.raises(TargetNotFound, match="there is none at all yet"):
        catalog.target("empty")


@pytest.mark.parametrize("name", ["..", "../profiles/local", "/etc", "", "local/", ".", "local\0"])
def test_only_plain_names_are_looked_for(catalog: Catalog, add: Add, name: str) -> None:
    add("local", config_yaml="")
    with pytest.raises(TargetNotFound):
        catalog.target(name)


def test_an_unknown_name_is_answered_with_what_there_is(catalog: Catalog, add: Add, folder: Path) -> None:
    add("local", config_yaml="")
    add("slurm", config_yaml="")
    with pytest.raises(TargetNotFound) as caught:
        catalog.target("kubernetes")
    assert caught.value.detail == f"there is no target 'kubernetes' in {folder}; there are local, slurm"
    with pytest.raises(TargetNotFound, match="did you mean 'slurm'"):
        catalog.target("slrum")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("executor: slurm\njobs: [\n", "config.yaml, line 2"),
        ("- a\n", "config.yaml: a profile is a mapping"),
        ("a: !!python/object/apply:os.system [id]", "config.yaml, line 1: could not determine a constructor"),
    ],
)
def test_a_broken_profile_is_listed_and_cannot_be_used(catalog: Catalog, add: Add, text: str, error: str) -> None:
    add("t", config_yaml=text)
    assert error in str(catalog.targets()[0].error)
    with pytest.raises(InvalidTarget) as caught:
        catalog.target("t")
    assert error in caught.value.detail


def test_edits_count_at_once(catalog: Catalog, add: Add) -> None:
    add("t", config_yaml="executor: local")
    assert catalog.target("t").executor == "local"
    add("t", config_yaml="executor: slurm")
    assert catalog.target("t").executor == "slurm"


def test_a_profile_that_did_not_change_is_not_parsed_again(
    catalog: Catalog, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("t", config_yaml="executor: local")
    target = catalog.target("t")

    def parsed(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("snakeway.catalog.documents.read", parsed)
    assert catalog.target("t") is target


def test_a_target_may_name_a_snakemake_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.yaml").write_text("cores: 1\n")
    targets = Targets(tmp_path)
    assert targets.get("own").snakemake is None
    (folder / "snakeway.yaml").write_text("snakemake: /opt/snakemake/bin/snakemake\n")
    assert targets.get("own").snakemake == "/opt/snakemake/bin/snakemake"


@pytest.mark.parametrize("text", ["snakemake: snakemake\n", "snakemake: 7\n", "- a\n", "other: 1\n", "snakemake: [\n"])
def test_options_that_cannot_be_followed_are_an_error(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.yaml").write_text("cores: 1\n")
    (folder / "snakeway.yaml").write_text(text)
    with pytest.raises(InvalidTarget, match=r"snakeway\.yaml"):
        Targets(tmp_path).get("own")
