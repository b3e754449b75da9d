"""Reads the YAML and JSON files of workflows and profiles, whoever wrote them, into values that JSON can carry.

Nothing in a file can run code, and what it can cost is bounded: its size, its depth, and the number of values it
stands for once aliases and merge keys are written out (a few lines of aliases of aliases stand for billions).
"""

import contextlib
import datetime as dt
import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

try:
    from yaml import CSafeLoader as _SafeLoader  # ten times as fast
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

from snakeway.errors import Invalid

MAX_BYTES = 1024 * 1024
_MAX_VALUES = 100_000
_MAX_DEPTH = 50
_MAX_DIGITS = 100
_TOO_DEEP = f"it is nested more than {_MAX_DEPTH} levels deep"


class _Unusable(Exception):
    """Carries a reason to where the file's name is known."""

    def __init__(self, path: Sequence[str | int], reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


class _Loader(_SafeLoader):
    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Refuse what no number needs: YAML 1.1 multiplies 1:1:1:1… up by sixties, which can take minutes."""
        if len(node.value) > _MAX_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        integer = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if integer else self.construct_yaml_float(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Bound what ``<<: [*a, *a]`` adds up to: each level of such keys would multiply the one below."""
        super().flatten_mapping(node)
        if len(node.value) > _MAX_VALUES:
            raise yaml.constructor.ConstructorError(None, None, "too many merged keys", node.start_mark)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)


def read(folder: Path, name: str, broken: type[Invalid]) -> Any:
    """Return what the YAML or JSON file ``name`` below ``folder`` says; None for an empty file.

    Keys that are numbers, dates or the like become text, as in JSON; dates become ISO 8601 text. Raises ``broken``,
    naming file and line, if the file is not readable as such or goes beyond the bounds.
    """
    text = read_text(folder, name, broken)
    try:
        value = json.loads(text) if name.endswith(".json") else _load(text)
        return _plain(value, (), [_MAX_VALUES])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The mark of a file that ends too early is behind its last line.
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else None
        _fail(broken, name, line, error.problem or error.context or "it is not YAML")
    except json.JSONDecodeError as error:
        _fail(broken, name, error.lineno, error.msg)
    except _Unusable as error:
        _fail(broken, name, _line_of(text, error.path), error.reason)
    except yaml.reader.ReaderError as error:
        _fail(broken, name, text.count("\n", 0, error.position) + 1, "it contains a character that YAML does not allow")
    except RecursionError:
        _fail(broken, name, None, _TOO_DEEP)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that does not exist
        _fail(broken, name, None, str(error))


def read_text(folder: Path, name: str, broken: type[Invalid], limit: int = MAX_BYTES) -> str:
    """Return a UTF-8 file's text. Raises ``broken`` if it is larger than ``limit`` bytes, no file, or no UTF-8."""
    try:
        # Opened without blocking: a link may lead to a pipe that nobody writes to.
        with open(folder / name, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                _fail(broken, name, None, "it is not a file")
            data = file.read(limit + 1)
    except OSError as error:
        _fail(broken, name, None, error.strerror or str(error))
    if len(data) > limit:
        _fail(broken, name, None, f"it is larger than {limit // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(broken, name, data.count(b"\n", 0, error.start) + 1, "it is not UTF-8 text")


def line_of(folder: Path, name: str, path: Sequence[str | int]) -> int | None:
    """Return the line (from 1) in which the value at ``path`` begins in a YAML or JSON file; None if unknown."""
    try:
        text = read_text(folder, name, Invalid)
    except Invalid:
        return None
    return _line_of(text, path)


def where(name: str, line: int | None) -> str:
    """Return the place of an error as it is written in messages."""
    return name if line is None else f"{name}, line {line}"


def _load(text: str) -> Any:
    _check_depth(text)
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader


def _check_depth(text: str) -> None:
    """Refuse deep nesting while it is a flat stream of events: libyaml's loader would crash the whole process."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, _TOO_DEEP, event.start_mark)  # type: ignore[arg-type]


def _fail(broken: type[Invalid], name: str, line: int | None, reason: str) -> NoReturn:
    raise broken(f"{where(name, line)}: {reason}; correct the file") from None


def _line_of(text: str, path: Sequence[str | int]) -> int | None:
    with contextlib.suppress(yaml.YAMLError, RecursionError, ValueError):
        _check_depth(text)
        node = yaml.compose(text, _Loader)
        if node is None:
            return None
        line: int = node.start_mark.line + 1
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            mark, node = found
            line = mark.line + 1
        return line
    return None


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark, item
    return None


def _plain(value: Any, path: tuple[str | int, ...], left: list[int]) -> Any:
    """Copy a value without shared parts. ``left`` holds how many more values are allowed."""
    left[0] -= 1
    if left[0] < 0:
        raise _Unusable((), f"it stands for more than {_MAX_VALUES} values")
    if len(path) > _MAX_DEPTH:
        raise _Unusable(path, _TOO_DEEP)
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, (*path, _key(key, path)), left) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, (*path, at), left) for at, item in enumerate(value)]
    return _scalar(value, path)


def _scalar(value: Any, path: tuple[str | int, ...]) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dt.date):  # dt.datetime as well
        return value.isoformat()
    if isinstance(value, float) and math.isfinite(value):
        return value
    kind = "a number that is not finite" if isinstance(value, float) else f"a {type(value).__name__}"
    raise _Unusable(path, f"{kind} has no form in JSON")


def _key(key: Any, path: tuple[str | int, ...]) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    if isinstance(key, dt.date):
        return key.isoformat()
    raise _Unusable(path, f"a key is a {type(key).__name__}; keys must be text")
