import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import snakemake.common

from snakeway.catalog import Catalog, Workflow
from snakeway.catalog import catalog as catalog_module
from snakeway.catalog.workflow import SNAKEFILES, first_paragraph
from snakeway.errors import Invalid, InvalidConfig, InvalidWorkflow, Unavailable, WorkflowNotFound
from snakeway.settings import Settings

SCHEMA = "type: object\nadditionalProperties: false\nproperties:\n  a: {type: integer}\n  b: {type: string}\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of workflows with one in the standard layout."""
    files = {
        "README.md": "# Quick start\n\nSays hello\nto everybody.\n\nMore.\n",
        "workflow/Snakefile": "rule all: pass\n",
        "workflow/schemas/config.schema.yaml": SCHEMA,
        "config/config.yaml": "a: 1\n",
        ".gitignore": "results/\n",
    }
    write(tmp_path / "workflows/quickstart", files)
    return tmp_path / "workflows"


@pytest.fixture
def catalog(tmp_path: Path, folder: Path) -> Catalog:
    return Catalog(Settings(data_dir=tmp_path / "data", workflows_dir=folder, profiles_dir=tmp_path / "profiles"))


def test_the_list_of_snakefiles_is_snakemakes_own() -> None:
    assert tuple(map(str, snakemake.common.SNAKEFILE_CHOICES)) == SNAKEFILES


def test_a_workflow_is_what_its_folder_says(catalog: Catalog) -> None:
    workflow = catalog.workflow("quickstart")
    assert workflow.name == "quickstart"
    assert workflow.description == "Says hello to everybody."
    assert workflow.snakefile == "workflow/Snakefile"
    assert workflow.schema is not None
    assert workflow.schema["properties"]["a"] == {"type": "integer"}
    assert workflow.defaults == {"a": 1}
    assert workflow.source == {"kind": "catalog", "name": "quickstart"}
    assert workflow.digest.startswith("sha256:")
    assert workflow.error is None
    assert catalog.workflows() == [workflow]


def test_folders_with_a_snakefile_are_listed_by_name(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    for number, snakefile in enumerate(SNAKEFILES):
        write(folder / f"w{number}", {snakefile: ""})
    write(folder / "no-workflow", {"README.md": ""})
    write(folder / ".hidden", {"Snakefile": ""})
    write(folder / "-option", {"Snakefile": ""})
    write(folder / "tab\tbed", {"Snakefile": ""})
    write(folder / "two words (draft) ü", {"Snakefile": ""})
    (folder / "file").write_text("")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "linked").symlink_to(write(tmp_path / "elsewhere", {"Snakefile": ""}))
    listed = {workflow.name: workflow.snakefile for workflow in catalog.workflows()}
    assert list(listed) == ["linked", "quickstart", "two words (draft) ü", "w0", "w1", "w2", "w3"]
    assert [listed[f"w{number}"] for number in range(4)] == list(SNAKEFILES)


def test_a_folder_without_a_snakefile_is_told_so(catalog: Catalog, folder: Path) -> None:
    write(folder / "notes", {"README.md": ""})
    with pytest.raises(WorkflowNotFound, match=r"notes has no Snakefile.*workflow/Snakefile"):
        catalog.workflow("notes")


def test_an_empty_or_missing_folder_has_no_workflows(tmp_path: Path) -> None:
    catalog = Catalog(Settings(data_dir=tmp_path, workflows_dir=tmp_path / "none", profiles_dir=tmp_path / "none"))
    assert catalog.workflows() == []
    with pytest.raises(WorkflowNotFound, match="there is none at all yet"):
        catalog.workflow("x")


@pytest.mark.parametrize(
    "name",
    ["..", "../quickstart", "quickstart/../quickstart", "/etc", "", ".", "quickstart\0", "quickstart/", "x" * 9999],
)
def test_only_plain_names_are_looked_for(catalog: Catalog, name: str) -> None:
    with pytest.raises(WorkflowNotFound) as caught:
        catalog.workflow(name)
    assert len(caught.value.detail) < 500


def test_a_mistyped_name_is_answered_with_a_close_one(catalog: Catalog, folder: Path) -> None:
    with pytest.raises(WorkflowNotFound) as caught:
        catalog.pin("quikstart")
    assert caught.value.detail == f"there is no workflow 'quikstart' in {folder}; did you mean 'quickstart'?"
    with pytest.raises(WorkflowNotFound, match="there is quickstart"):
        catalog.pin("zzz")


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"config/config.yaml": "a: 1\nb: [\n"}, "config/config.yaml, line 2"),
        ({"config/config.yaml": "[1]"}, "config/config.yaml: a configuration is a mapping"),
        ({"config/config.yaml": "__use_yte__: true\na: ?1+1"}, "YTE template"),
        ({"workflow/schemas/config.schema.yaml": "a: 1\n\tb"}, "workflow/schemas/config.schema.yaml, line 2"),
        (
            {"workflow/schemas/config.schema.yaml": "properties:\n  a: {type: sting}"},
            "line 2: this is not a JSON Schema",
        ),
        ({"workflow/schemas/config.schema.yaml": ""}, "a schema is a mapping"),
        ({".gitignore": "Snakefile"}, "its .gitignore leaves out the Snakefile"),
    ],
)
def test_a_broken_workflow_is_listed_and_cannot_be_pinned(
    catalog: Catalog, folder: Path, files: dict[str, str], error: str
) -> None:
    write(folder / "quickstart", files)
    assert error in str(catalog.workflows()[0].error)
    with pytest.raises(InvalidWorkflow) as caught:
        catalog.pin("quickstart")
    assert caught.value.detail.startswith("workflow 'quickstart': ")
    assert error in caught.value.detail
    with pytest.raises(InvalidWorkflow):
        catalog.validate(catalog.workflow("quickstart"), {})


def test_edits_count_at_once(catalog: Catalog, folder: Path) -> None:
    first = catalog.pin("quickstart")
    write(folder / "quickstart", {"config/config.yaml": "a: 2\n", "README.md": "Now different."})
    second = catalog.pin("quickstart")
    assert (second.defaults, second.description) == ({"a": 2}, "Now different.")
    assert second.digest != first.digest
    write(folder / "quickstart", {"config/config.yaml": "a: ["})
    assert catalog.workflow("quickstart").error
    shutil.rmtree(folder / "quickstart")
    with pytest.raises(WorkflowNotFound):
        catalog.pin("quickstart")


def test_a_pinned_version_outlives_its_source(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    pinned = catalog.pin("quickstart")
    write(folder / "quickstart", {"results/x": "", "workflow/Snakefile": "other"})
    assert (catalog.snapshot(pinned.digest) / "workflow/Snakefile").read_text() == "rule all: pass\n"
    assert not (catalog.snapshot(pinned.digest) / "results").exists()
    run = tmp_path / "run"
    run.mkdir()
    catalog.materialise(pinned.digest, run)
    assert (run / "workflow/Snakefile").read_text() == "rule all: pass\n"
    assert catalog.pinned(pinned.digest, "quickstart", pinned.source) == pinned


def test_the_workflow_of_a_snapshot_is_known_to_a_new_process(catalog: Catalog, tmp_path: Path, folder: Path) -> None:
    pinned = catalog.pin("quickstart")
    other = Catalog(
        Settings(data_dir=tmp_path / "data", workflows_dir=tmp_path / "none", profiles_dir=tmp_path / "none")
    )
    again = other.pinned(pinned.digest, "quickstart", pinned.source)
    assert again == pinned
    with pytest.raises(InvalidConfig):
        other.validate(again, {"a": "x"})
    with pytest.raises(WorkflowNotFound):
        other.pinned("sha256:" + "0" * 64, "x", {})


def test_a_snapshot_that_was_removed_is_made_again(catalog: Catalog) -> None:
    pinned = catalog.pin("quickstart")
    shutil.rmtree(catalog.snapshot(pinned.digest))
    with pytest.raises(WorkflowNotFound):
        catalog.pinned(pinned.digest, "quickstart", {})
    assert catalog.pin("quickstart") == pinned
    assert catalog.snapshot(pinned.digest).is_dir()


def test_eight_threads_pin_at_once(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        pinned = list(pool.map(lambda _: catalog.pin("quickstart"), range(64)))
    assert pinned == [pinned[0]] * 64
    assert len(os.listdir(tmp_path / "data/workflows")) == 1  # noqa: PTH208


def test_an_edit_between_the_look_and_the_copy_is_seen(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = catalog_module.copy_tree
    edits = iter(["# one", "# two"])

    def editing(*args: object) -> None:
        if edit := next(edits, None):
            write(folder / "quickstart", {"workflow/Snakefile": edit})
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(catalog_module, "copy_tree", editing)
    pinned = catalog.pin("quickstart")
    assert (catalog.snapshot(pinned.digest) / "workflow/Snakefile").read_text() == "# two"
    assert len(os.listdir(tmp_path / "data/workflows")) == 1  # noqa: PTH208


def test_a_workflow_that_never_rests_is_unavailable(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = catalog_module.copy_tree
    written = []

    def editing(*args: object) -> None:
        written.append(1)
        write(folder / "quickstart", {"workflow/Snakefile": f"# {len(written)}"})
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(catalog_module, "copy_tree", editing)
    with pytest.raises(Unavailable, match="keep changing; submit again"):
        catalog.pin("quickstart")


def test_a_configuration_is_merged_over_the_defaults_and_checked(catalog: Catalog) -> None:
    pinned = catalog.pin("quickstart")
    assert catalog.validate(pinned, {"b": "x"}) == {"a": 1, "b": "x"}
    assert pinned.defaults == {"a": 1}
    with pytest.raises(InvalidConfig, match="did you mean 'a'") as caught:
        catalog.validate(pinned, {"aa": 1})
    assert caught.value.field == "aa"


def test_without_a_schema_everything_in_bounds_is_taken(catalog: Catalog, folder: Path) -> None:
    write(folder / "plain", {"Snakefile": ""})
    plain = catalog.pin("plain")
    assert (plain.schema, plain.defaults, plain.description) == (None, {}, "")
    assert catalog.validate(plain, {"x": [1]}) == {"x": [1]}
    with pytest.raises(InvalidConfig):
        catalog.validate(plain, {"x": float("nan")})


def test_validators_are_made_once_for_a_version(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = catalog_module.Checker

    class Counted(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object) -> None:
            made.append(1)
            super().__init__(*args)

    monkeypatch.setattr(catalog_module, "Checker", Counted)
    pinned = catalog.pin("quickstart")
    for value in range(5):
        catalog.validate(pinned, {"a": value})
    assert made == [1]


@pytest.mark.parametrize("place", ["workflow/schemas", "schemas"])
@pytest.mark.parametrize("suffix", ["yaml", "yml", "json"])
def test_the_schema_may_be_in_the_standard_places(catalog: Catalog, folder: Path, place: str, suffix: str) -> None:
    write(
        folder / "w",
        {"Snakefile": "", f"{place}/config.schema.{suffix}": '{"required": ["x"]}', "config/config.yml": "x: 1"},
    )
    workflow = catalog.workflow("w")
    assert workflow.schema == {"required": ["x"]}
    assert catalog.validate(workflow, {}) == {"x": 1}


def test_a_description_may_come_from_the_catalog_file(catalog: Catalog, folder: Path) -> None:
    write(folder / "w", {"Snakefile": "", ".snakemake-workflow-catalog.yml": "description: Does\n  this.\n"})
    assert catalog.workflow("w").description == "Does this."
    write(folder / "w", {".snakemake-workflow-catalog.yml": "description: ["})
    assert catalog.workflow("w").description == ""
    assert catalog.workflow("w").error is None


@pytest.mark.parametrize(
    ("markdown", "paragraph"),
    [
        ("# A\n\ntext\nmore\n\nrest", "text more"),
        ("# A\ntext", "text"),
        ("A\n===\n\ntext", "text"),
        ("A\n---\ntext", "text"),
        ("[![badge](x)](y)\n![z](z)\n\ntext", "text"),
        ("<!-- note\n\nlong -->\n\n<p>x</p>\n\ntext", "text"),
        ("# A\r\n\r\ntext\r\nmore", "text more"),
        ("```\ncode\n```\n\ntext", "text"),
        ("# only\n## headings", ""),
        ("", ""),
        ("x " * 9999, ("x " * 9999)[:999] + "…"),
    ],
)
def test_the_first_paragraph_is_the_first_plain_text(markdown: str, paragraph: str) -> None:
    assert first_paragraph(markdown) == paragraph


def test_an_address_that_is_refused_never_reaches_git(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("subprocess.Popen", started)
    for url in ("--upload-pack=touch x", "ext::sh -c x", "https://host/../x"):
        with pytest.raises(Invalid) as caught:
            catalog.pin_git(url)
        assert caught.value.field == "workflow.url"


def test_a_workflow_cannot_be_changed() -> None:
    workflow = Workflow("n", "", "", None, {}, "", {})
    with pytest.raises(AttributeError):
        workflow.name = "other"  # type: ignore[misc]
