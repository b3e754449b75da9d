"""The documentation says what there is: nothing is missing from it, and nothing in it is gone."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from snakeway import cli, directory, wire
from snakeway.api.problems import EVERY_KIND
from snakeway.cli import failures, gate, output, watch
from snakeway.errors import every_error
from snakeway.model import attempt
from snakeway.model.failure import Failure, FailureKind
from snakeway.settings import Settings
from snakeway.telemetry import names

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}

_FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_ROW = re.compile(r"^\| `([^`]*)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The program that fills the generated parts."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", PAGES[page], re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/{page} has no section '{heading}'"
    return found[2]


def code_of(text: str) -> Iterator[str]:
    """Yield what is set as code: whole lines of blocks, and the spans of the text around them."""
    for block in _FENCE.findall(text):
        yield from block.splitlines()[1:-1]
    yield from _SPAN.findall(_FENCE.sub("", text))


def test_generated_parts_are_up_to_date(generate: ModuleType) -> None:
    stale = [page.name for page, text in generate.generated() if page.read_text(encoding="utf-8") != text]
    assert not stale, "run 'python docs/generate.py'"


def test_every_generated_part_is_in_one_place(generate: ModuleType) -> None:
    used = [found["name"] for text in PAGES.values() for found in generate.REGION.finditer(text)]
    assert sorted(used) == sorted([*generate.PARTS, *(f"problem {code}" for code in EVERY_KIND)])


@pytest.mark.parametrize("code", EVERY_KIND)
def test_every_problem_says_what_to_do(code: str) -> None:
    text = section("reference/problems.md", code)
    assert f"<!-- begin generated: problem {code} -->" in text
    assert re.search(r"^\*\*What to do\.\*\* \S", text, re.MULTILINE)


def test_every_event_and_member_is_described() -> None:
    table = (wire.__doc__ or "").partition("members\n")[2]
    told: dict[str, set[str]] = {}
    for line in inspect.cleandoc(table).splitlines():
        begins = re.match(r"([a-z_]+)  +", line)
        type_ = begins[1] if begins else list(told)[-1]
        members = line[begins.end() if begins else 0 :]
        for nested in (r"\([^()]*\)", r"\[[^\[\]]*\]", r"\{[^{}]*\}", r"\([^()]*$", r"^[^()]*\)", r":.*"):
            members = re.sub(nested, "", members)
        told.setdefault(type_, set()).update(re.findall(r"[a-z_]+", members))
    assert told.keys() == {type_.value for type_ in wire.EventType}
    assert {type_: set(_ROW.findall(section("reference/events.md", type_))) for type_ in told} == told


def test_every_exit_code_is_described() -> None:
    named = {failures.OK, failures.FAILED, failures.INVALID, failures.CANCELLED, failures.INTERRUPTED}
    of_errors = {failures.exit_code(cls("")) for cls in every_error()}
    of_runs = set(watch.BY_STATE.values())
    elsewhere = {output.CLOSED_PIPE, gate.WAITING, gate.REJECTED}
    told = re.findall(r"^\| ([\d, ]+) \| \S", section("reference/cli.md", "Exit codes"), re.MULTILINE)
    assert {int(code) for codes in told for code in codes.split(",")} == named | of_errors | of_runs | elsewhere


def test_every_kind_of_failure_is_described() -> None:
    assert _ROW.findall(section("reference/failures.md", "Kinds")) == [kind.value for kind in FailureKind]
    members = " ".join(re.findall(r"^\| (`.*?) \|", section("reference/failures.md", "Failures"), re.MULTILINE))
    assert set(_SPAN.findall(members)) == Failure.__dataclass_fields__.keys()


def test_every_span_attribute_is_described() -> None:
    rows = set(_ROW.findall(section("reference/telemetry.md", "Attributes")))
    no_attributes = {
        "SCOPE",
        "SERVICE_NAME",
        "SPAN_RUN",
        "SPAN_ATTEMPT",
        "SPAN_GATE",
        "SPAN_QUEUE",
        "SPAN_JOB",
        "EVENT_LOG",
        "LOG_TEXT",
    }
    texts = {name: text for name, text in vars(names).items() if name.isupper() and isinstance(text, str)}
    assert no_attributes <= texts.keys()
    metrics = set(_ROW.findall(section("reference/telemetry.md", "Metrics")))
    labels = {text for name, text in texts.items() if name.startswith("METRIC_")}
    assert rows | metrics == {text for name, text in texts.items() if name not in no_attributes} - labels
    assert not rows & metrics
    for name in no_attributes:
        assert f"`{texts[name]}" in PAGES["reference/telemetry.md"], name


def test_every_move_of_an_attempt_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section("explanation/how-a-run-moves.md", "Attempts"), re.MULTILINE)
    moves = {(str(old), str(new)) for old, allowed in attempt.MOVES.items() for new in allowed}
    explained = [row for row in rows if row not in {(str(state), str(state)) for state in attempt.AttemptState}]
    assert sorted(set(explained)) == sorted(moves)


def test_every_file_of_an_attempt_is_described() -> None:
    folder = directory.AttemptDirectory(Path("x"))
    values = [getattr(folder, name) for name, value in vars(type(folder)).items() if isinstance(value, property)]
    files = {value.name for value in values if isinstance(value, Path)}
    assert set(_ROW.findall(section("reference/files.md", "The directory of a run"))) == files


def variables() -> set[str]:
    """Return the name of every environment variable of ours."""
    of_settings = {f"SNAKEWAY_{name.upper()}" for name in Settings.model_fields}
    of_attempts = {value for name, value in vars(wire).items() if name.startswith("ENV_")}
    client = "".join(file.read_text() for file in sorted((ROOT / "src/snakeway/cli").glob("*.py")))
    return of_settings | of_attempts | set(re.findall(r"environ[^\n]*?\"(SNAKEWAY_\w+)\"", client))


def test_every_variable_is_described_and_exists() -> None:
    assert variables() <= set(re.findall(r"SNAKEWAY_[A-Z_]+", PAGES["reference/settings.md"]))
    for page, text in PAGES.items():
        assert set(re.findall(r"(?<![A-Z_])SNAKEWAY_[A-Z]+(?:_[A-Z]+)*", text)) <= variables(), page


def test_every_command_and_option_that_is_mentioned_exists() -> None:
    group: Any = typer.main.get_command(cli.app)
    options = {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in group.commands.items()
    }
    root = {option for parameter in group.params for option in parameter.opts}
    for page, text in PAGES.items():
        for line in code_of(text):
            for name, rest in re.findall(r"(?<![\w/.@-])snakeway ([a-z]+)((?: [^|;&#]*)?)", line):
                if name in {"run", "serves"}:  # the title of a process, a line of output
                    continue
                assert name in options, f"docs/{page}: {line}"
                used = set(re.findall(r"(?<= )--?[a-zA-Z][\w-]*", rest.partition(" -- ")[0]))
                assert used - {"--help"} <= options[name] | root, f"docs/{page}: {line}"


def test_every_address_that_is_mentioned_exists(generate: ModuleType) -> None:
    paths = [re.sub(r"\{\w+\}", "[^/ ]+", path) for path in generate.openapi()["paths"]]
    known = re.compile("|".join([*paths, "/schema(/openapi.json)?"]))
    for page, text in PAGES.items():
        for line in code_of(text):
            for path in re.findall(r"(?:(?<=[ `1])|^)(/(?:api/v1|metrics|problems|schema)[^\s?`\"']*)", line):
                assert known.fullmatch(path) or path == "/api/v1", f"docs/{page}: {path}"


def test_every_source_file_and_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in PAGES.items():
        for line in code_of(text):
            for path in re.findall(r"(?<![\w/.])((?:src|tests|docs|\.ci)/[\w./-]+)", line):
                assert (ROOT / path).exists(), f"docs/{page}: {path}"
            for target in re.findall(r"^make ([a-z]+)", line):
                assert target in targets, f"docs/{page}: {line}"


def test_every_layer_is_described() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    modules = [module.removeprefix("snakeway.") for layer in layers for module in layer.split(" | ")]
    table = re.findall(r"^\| \d \| ([^|]+) \|", section("explanation/architecture.md", "The layers"), re.MULTILINE)
    assert [name for row in table for name in _SPAN.findall(row)] == [name for name in modules if name != "__main__"]
    found = [
        path for path in (ROOT / "src/snakeway").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    assert sorted(modules) == sorted(path.stem for path in found if path.stem != "__init__")


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load(re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text()))["nav"]
    assert sorted(_pages_of(nav)) == sorted(PAGES)


def _pages_of(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages_of(below)


@pytest.mark.parametrize("page", [page for page in PAGES if re.match(r"decisions/\d", page)])
def test_a_decision_is_short_and_complete(page: str) -> None:
    text = PAGES[page]
    assert len(text.splitlines()) <= 25
    assert text.startswith(f"# {page[len('decisions/') :][:4]} ")
    assert re.search(r"^\*\d{4}-\d\d-\d\d, \w+\*$", text, re.MULTILINE)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


class _Resources(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "link" and named.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(named.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "object"):
            self.found.append(named.get("src") or named.get("data") or "")


def test_the_site_is_built_without_a_warning_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) >= len(PAGES)
    assert not list((tmp_path / "site").rglob("*.py*"))
    for page in built:
        resources = _Resources()
        resources.feed(page.read_text(encoding="utf-8"))
        elsewhere = [url for url in resources.found if re.match(r"(https?:)?//", url)]
        assert not elsewhere, page.name
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(\"?https?:|@import", style.read_text(encoding="utf-8")), style.name
