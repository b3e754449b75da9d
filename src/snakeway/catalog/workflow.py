"""What a workflow's folder says about itself: its Snakefile, description, configuration schema and defaults."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakeway.catalog import documents
from snakeway.catalog.schema import check_schema
from snakeway.errors import InvalidWorkflow
from snakeway.tree import Index

# Where Snakemake looks when it is started without --snakefile: snakemake.common.SNAKEFILE_CHOICES of version 9.
SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
# Beside the Snakefile in the standard layout; Snakemake's documentation uses this name.
SCHEMAS = tuple(
    f"{folder}/config.schema.{kind}" for folder in ("workflow/schemas", "schemas") for kind in ("yaml", "yml", "json")
)
DEFAULTS = ("config/config.yaml", "config/config.yml")
CATALOG_FILE = ".snakemake-workflow-catalog.yml"

_README_BYTES = 256 * 1024
_DESCRIPTION_CHARACTERS = 1000
_UNDERLINE = re.compile(r"(=+|-+)\s*")


@dataclass(frozen=True)
class Workflow:
    """A version of a workflow. The dictionaries are shared with the catalog and are not to be changed."""

    name: str
    description: str
    digest: str  # of its files, see tree.digest_of; "" if they could not be read
    schema: dict[str, Any] | None  # JSON Schema of the configuration
    defaults: dict[str, Any]  # the configuration without anybody's changes
    snakefile: str  # path relative to the workflow's folder
    source: dict[str, Any]  # of kind catalog (name), git (url, ref, commit, path) or bundle (name, digest)
    error: str | None = None  # why it cannot be run


def find_snakefile(paths: Collection[str]) -> str | None:
    """Return the one of a folder's files that Snakemake would run."""
    return next((choice for choice in SNAKEFILES if choice in paths), None)


def load(folder: Path, digest: str, index: Index, name: str, source: dict[str, Any]) -> Workflow:
    """Return the workflow in a folder whose files are ``index``; what is wrong with it is in its ``error``."""
    schema, defaults, error = None, {}, None
    try:
        schema = _schema(folder, index)
        defaults = _defaults(folder, index)
    except InvalidWorkflow as problem:
        error = problem.detail
    snakefile = find_snakefile(index) or ""
    return Workflow(name, _description(folder, index), digest, schema, defaults, snakefile, source, error)


def schema_file(index: Index) -> str | None:
    """Return the path of the file with the configuration's schema."""
    return next((name for name in SCHEMAS if name in index), None)


def _schema(folder: Path, index: Index) -> dict[str, Any] | None:
    name = schema_file(index)
    if name is None:
        return None
    return check_schema(_without_code(documents.read(folder, name, InvalidWorkflow), name), folder, name)


def _defaults(folder: Path, index: Index) -> dict[str, Any]:
    name = next((name for name in DEFAULTS if name in index), None)
    if name is None:
        return {}
    value = _without_code(documents.read(folder, name, InvalidWorkflow), name)
    if value is None:  # nothing but comments
        return {}
    if not isinstance(value, dict):
        raise InvalidWorkflow(f"{name}: a configuration is a mapping of keys to values; correct the file")
    return value


def _without_code(value: Any, name: str) -> Any:
    """Refuse a file with expressions in it, which Snakemake would evaluate with the yte library; here nobody does."""
    if isinstance(value, dict) and value.get("__use_yte__"):
        raise InvalidWorkflow(
            f"{name}: it is a YTE template (__use_yte__), which Snakeway does not run; write plain YAML"
        )
    return value


def _description(folder: Path, index: Index) -> str:
    try:
        if "README.md" in index:
            text = documents.read_text(folder, "README.md", InvalidWorkflow, _README_BYTES)
            if paragraph := first_paragraph(text):
                return paragraph
        if CATALOG_FILE in index:
            value = documents.read(folder, CATALOG_FILE, InvalidWorkflow)
            if isinstance(value, dict) and isinstance(value.get("description"), str):
                return _shorten(value["description"])
    except InvalidWorkflow:
        pass  # a workflow runs without a description
    return ""


def first_paragraph(markdown: str) -> str:
    """Return the first paragraph of plain text, in one line: not a heading, badge, comment, table or block of code."""
    for block in re.split(r"\n\s*\n", re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL).replace("\r\n", "\n")):
        lines = [line.strip() for line in block.strip().splitlines()]
        while lines and lines[0].startswith("#"):
            del lines[0]
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1]):
            del lines[:2]
        if lines and not lines[0].startswith(("![", "[![", "<", "|", "```", "~~~", "---", "===")):
            return _shorten(" ".join(lines))
    return ""


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _DESCRIPTION_CHARACTERS else text[: _DESCRIPTION_CHARACTERS - 1] + "…"
