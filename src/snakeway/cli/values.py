"""What stands behind options: configuration, resources, labels, points in time. Pure functions from text to values."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakeway.cli import flow
from snakeway.errors import Invalid
from snakeway.model.duration import parse_duration

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~"), None),
}
_RESOURCE = re.compile(r"(?P<rule>[^:=]+):(?P<name>[^:=]+)=(?P<value>.+)", re.DOTALL)


def scalar(text: str) -> Any:
    """Read one value as YAML 1.2 would: numbers, true, false, null, quoted text, [..], {..}; the rest is text.

    A number with a leading zero stays text, because it is the name of a sample more often than a number.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _JSON_NUMBER.fullmatch(text):
        try:
            return _json(text)
        except ValueError:  # too large for a number
            return text
    if text[:1] in {"[", "{", '"'}:
        return _collection(text)
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


def _collection(text: str) -> Any:
    try:
        return _json(text)
    except (ValueError, RecursionError):
        pass
    try:
        return flow.read(text, scalar)
    except flow.NotFlow as error:
        raise Invalid(f"{text!r} is neither JSON nor YAML in one line: {error}") from error
    except RecursionError as error:
        raise Invalid("the value is nested too deeply") from error


def config(assignments: Iterable[str], field: str = "--config") -> dict[str, Any]:
    """Read ``key=value`` pairs; a dotted key names a member of an object: ``a.b=1`` is {"a": {"b": 1}}.

    Later ones win; an object is extended, not replaced. Raises Invalid, with the option ``field``.
    """
    result: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        names = key.split(".")
        if not equals or not all(names):
            raise Invalid(f"{assignment!r} is not KEY=VALUE, or KEY.KEY=VALUE for a member of an object", field=field)
        try:
            value = scalar(text)
        except Invalid as error:
            raise Invalid(f"{key}: {error.detail}", field=field) from error
        for name in reversed(names):
            value = {name: value}
        result = merge(result, value, field=field, new=key)
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any], *, field: str, new: str = "") -> dict[str, Any]:
    """Return ``base`` with ``over`` on top, objects member by member.

    With ``new`` (the key that is being set) a value that would become an object raises Invalid: it is a mistyped key.
    """
    result = dict(base)
    for key, value in over.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merge(before, value, field=field, new=new)
        elif new and key in result and isinstance(value, Mapping) and not isinstance(before, Mapping):
            raise Invalid(f"{new}: {key} is {before!r} already, so it has no members", field=field)
        else:
            result[key] = value
    return result


def config_file(path: Path) -> dict[str, Any]:
    """Read a configuration file, JSON or YAML by its content; raises Invalid."""
    value = document(path, "--configfile")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(
            f"{path} must hold one object (KEY: VALUE lines), not a {type(value).__name__}", field="--configfile"
        )
    return value


def document(path: Path, field: str) -> Any:
    """Read a file, JSON or YAML by its content; raises Invalid that names the option ``field``."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}", field=field) from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not a text file", field=field) from error
    try:
        return _json(text)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".json":
            raise Invalid(f"{path} is not JSON: {error}", field=field) from error
        return _yaml(path, text, field)


def _yaml(path: Path, text: str, field: str) -> Any:
    try:
        import yaml  # not a part of the base installation
    except ModuleNotFoundError as error:
        raise Invalid(
            f"{path} is not JSON, and YAML needs a package that is not installed: pip install pyyaml",
            field=field,
        ) from error
    try:
        # Through JSON, because that is what is sent: keys become text, and what JSON does not know is refused.
        return json.loads(json.dumps(yaml.safe_load(text), allow_nan=False))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise Invalid(f"{path} is not valid YAML: {reason}", field=field) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{path} has a value that JSON cannot hold ({error}); put it in quotes", field=field) from error


def resources(assignments: Iterable[str]) -> dict[str, dict[str, int | str]]:
    """Read ``RULE:NAME=VALUE`` as snakemake's --set-resources does; whole numbers become numbers. Raises Invalid."""
    result: dict[str, dict[str, int | str]] = {}
    for assignment in assignments:
        found = _RESOURCE.fullmatch(assignment)
        if not found:
            raise Invalid(f"{assignment!r} is not RULE:NAME=VALUE, such as align:mem_mb=8000", field="--set-resources")
        value = found["value"].strip()
        number = int(value) if value.isascii() and value.isdecimal() and len(value) <= 18 else value
        result.setdefault(found["rule"], {})[found["name"]] = number
    return result


def threads(assignments: Iterable[str]) -> dict[str, int]:
    """Read ``RULE=N``; raises Invalid."""
    result = {}
    for assignment in assignments:
        rule, equals, number = assignment.partition("=")
        if not (rule and equals and number.isascii() and number.isdecimal() and len(number) <= 6):
            raise Invalid(f"{assignment!r} is not RULE=N, such as align=8", field="--set-threads")
        result[rule] = int(number)
    return result


def labels(assignments: Iterable[str]) -> dict[str, str]:
    """Read ``KEY=VALUE`` pairs of text; raises Invalid."""
    result = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise Invalid(f"{assignment!r} is not KEY=VALUE, such as project=plankton", field="--label")
        result[key] = value
    return result


def point_in_time(text: str, now: datetime) -> str:
    """Read ``2h`` (so long ago) or a date or time in ISO form (local, if it names no zone); returns RFC 3339 in UTC."""
    try:
        try:
            moment = now - parse_duration(text)
        except Invalid:
            moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"{text!r} is neither a span such as 30m, 2h, 7d nor a date such as 2025-01-31", field="--since"
        ) from error


def _json(text: str) -> Any:
    """Read JSON without what Python adds to it: NaN and infinities, which no server takes."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number that JSON has")
    return number
