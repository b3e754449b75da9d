"""Targets: folders with a Snakemake profile, found as ``snakemake --profile`` finds them."""

import functools
import itertools
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from snakeway.catalog import documents
from snakeway.catalog.names import is_name, not_found
from snakeway.catalog.workflow import first_paragraph
from snakeway.errors import InvalidTarget, InvalidWorkflow, TargetNotFound
from snakeway.tree import Index, Tree

# snakemake.cli.get_profile_dir of version 9: the newest of those that are not for a later Snakemake than this one.
_PROFILE = re.compile(r"(?:config|profile)(?:\.v(?P<major>\d+)\+)?\.yaml")
_TESTED_MAJOR = 9
# Beside the profile, ours and optional: what Snakemake's own options have no word for.
OPTIONS_FILE = "snakeway.yaml"
_README_BYTES = 256 * 1024


@dataclass(frozen=True)
class Target:
    """Where jobs run. The dictionary is shared with the catalog and is not to be changed."""

    name: str
    description: str
    executor: str  # name of Snakemake's executor plugin
    path: Path  # the folder, for --profile
    profile: dict[str, Any]  # what the profile's file says
    file: str = ""  # the profile's, in the folder
    error: str | None = None  # why it cannot be used
    snakemake: str | None = None  # a snakemake of its own, from OPTIONS_FILE; None: the service's


class Targets:
    """The targets below one folder; edits are seen at the next call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trees: dict[str, Tree] = {}
        self._known: dict[str, tuple[str, Target]] = {}  # with the digest of the folder it was read from

    def all(self) -> list[Target]:
        """Return the targets by name, those that are broken as well."""
        try:
            names = sorted(entry.name for entry in self._folder.iterdir() if is_name(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = (self._look(name) for name in names)
        return [target for target in found if target is not None]

    def get(self, name: str, *, at_once: bool = False) -> Target:
        """Return a target. Raises TargetNotFound, InvalidTarget, and TakesLonger as :meth:`Tree.read`."""
        target = self._look(name, at_once=at_once) if is_name(name) else None
        if target is None:
            raise TargetNotFound(not_found("target", name, self._folder, [target.name for target in self.all()]))
        if target.error is not None:
            raise InvalidTarget(f"target {name!r}: {target.error}")
        return target

    def _look(self, name: str, *, at_once: bool = False) -> Target | None:
        folder = self._folder / name
        if not folder.is_dir():
            return None
        tree = self._trees.setdefault(name, Tree(folder, ignoring=False))
        try:
            digest, index = tree.read(at_once=at_once)
        except InvalidWorkflow as problem:
            return Target(name, "", "", folder, {}, error=problem.detail)
        known = self._known.get(name)
        if known is not None and known[0] == digest:
            return known[1]
        target = _load(folder, name, index)
        if target is not None and tree.read()[0] == digest:  # otherwise it was edited while it was read
            self._known[name] = digest, target
        return target


def _load(folder: Path, name: str, index: Index) -> Target | None:
    versions = {path: int(match["major"] or 0) for path in sorted(index) if (match := _PROFILE.fullmatch(path))}
    if not versions:
        return None
    usable = [path for path, major in versions.items() if major <= snakemake_major()]
    if not usable:
        needed = min(versions.values())
        why = f"{min(versions)} needs Snakemake {needed}; {snakemake_major()} is installed"
        return Target(name, "", "", folder, {}, error=why)
    file = max(usable, key=lambda path: versions[path])  # of equals the first by name: config before profile
    try:
        text = documents.read_text(folder, file, InvalidTarget)
        profile = documents.read(folder, file, InvalidTarget)
        if profile is None:  # nothing but comments: Snakemake's own defaults
            profile = {}
        if not isinstance(profile, dict):
            raise InvalidTarget(f"{file}: a profile is a mapping of options to values; correct the file")
        program = _own_snakemake(folder, index)
    except InvalidTarget as problem:
        return Target(name, "", "", folder, {}, error=problem.detail)
    description = _first_comment(text) or _readme(folder, index)
    executor = str(profile.get("executor") or "local")
    return Target(name, description, executor, folder, profile, file, snakemake=program)


def _own_snakemake(folder: Path, index: Index) -> str | None:
    """Return the program that the target's options name; raises InvalidTarget for options that cannot be followed."""
    if OPTIONS_FILE not in index:
        return None
    options = documents.read(folder, OPTIONS_FILE, InvalidTarget)
    program = options.get("snakemake") if isinstance(options, dict) and set(options) == {"snakemake"} else None
    if not isinstance(program, str) or not Path(program).is_absolute():
        raise InvalidTarget(f"{OPTIONS_FILE}: it has one line, 'snakemake: /path/of/the/program'; correct the file")
    return program


@functools.cache
def snakemake_major() -> int:
    """Return the major version of the installed Snakemake; without one, the version that this was written for."""
    try:
        return int(metadata.version("snakemake").partition(".")[0])
    except (metadata.PackageNotFoundError, ValueError):
        return _TESTED_MAJOR


def _first_comment(text: str) -> str:
    """Return the first paragraph of the comment at the top of a file, in one line."""
    lines = (line.strip() for line in text.lstrip().splitlines())
    comment = [line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    return first_paragraph("\n".join(comment))


def _readme(folder: Path, index: Index) -> str:
    if "README.md" not in index:
        return ""
    try:
        return first_paragraph(documents.read_text(folder, "README.md", InvalidTarget, _README_BYTES))
    except InvalidTarget:
        return ""  # a target works without a description
