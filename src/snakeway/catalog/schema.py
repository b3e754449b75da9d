"""Checks a configuration: what the user sent, merged over the workflow's defaults, against the workflow's schema."""

import difflib
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import DRAFT202012

from snakeway.catalog import documents
from snakeway.errors import InvalidConfig, InvalidWorkflow

Config = dict[str, Any]

MAX_DEPTH = 20
MAX_BYTES = 64 * 1024
_TOO_LARGE = 2**63
_SURROGATE = re.compile("[\ud800-\udfff]")
_REMEMBERED = 1000  # configurations that fit
_SHOWN = 100  # characters of a value in a message
_BASE = "file:///"  # stands for the workflow's folder in references between its files

_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "greater than",
    "exclusiveMaximum": "less than",
}


def merge(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> Config:
    """Return ``defaults`` with ``config`` over them; neither is changed, and nothing is shared with them.

    The rule is that of snakemake.utils.update_config (Snakemake 9): objects are merged key by key, anything else
    replaces, and an empty object over a plain value leaves that value.
    """
    merged: Config = {key: _copy(value) for key, value in defaults.items()}
    for key, value in config.items():
        if not isinstance(value, Mapping):
            merged[key] = _copy(value)
            continue
        below = merged.get(key, {})
        if isinstance(below, Mapping):
            merged[key] = merge(below, value)
        elif value:
            merged[key] = merge({}, value)
    return merged


def check_plain(config: object) -> Config:
    """Return a user's configuration if it is JSON within bounds.

    Raises InvalidConfig for anything but an object with text keys, for values that JSON does not have (NaN, infinity)
    or that no file or database takes (NUL, half of a surrogate pair), and beyond MAX_DEPTH levels or MAX_BYTES.
    """
    if not isinstance(config, dict):
        raise InvalidConfig("the configuration must be an object with the workflow's settings", field="config")
    _check_value(config, ())
    size = len(json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        raise InvalidConfig(
            f"the configuration has {size} bytes, more than {MAX_BYTES}; put large tables into files", field="config"
        )
    return config


def check_schema(schema: object, folder: Path, name: str) -> Config:
    """Return a schema that was read from the file ``name`` below ``folder`` if it is one.

    Raises InvalidWorkflow, naming file and line.
    """
    if not isinstance(schema, dict):
        raise InvalidWorkflow(f"{name}: a schema is a mapping, such as 'type: object'; correct the file")
    try:
        _class_for(schema).check_schema(schema)
    except SchemaError as error:
        place = documents.where(name, documents.line_of(folder, name, list(error.absolute_path)))
        raise InvalidWorkflow(f"{place}: this is not a JSON Schema: {_cut(error.message)}; correct the file") from None
    return schema


class Checker:
    """Checks merged configurations against one workflow's schema.

    ``folder`` and ``name`` say where the schema was read, for references to other files of the workflow. As in
    snakemake.utils.validate, defaults of the schema's properties count as given, and references are resolved
    against the file, whatever the schema's ``$id`` says. Other addresses are not fetched. What was found to fit is
    not looked at again: with submissions that come together, the check is a sixth of the processor time of each.
    """

    def __init__(self, schema: Config, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        placed = {**schema, "$id": _BASE + name, "id": _BASE + name}  # "id" until draft 4
        registry: Registry[Any] = Registry(retrieve=self._retrieve)  # type: ignore[call-arg]
        self._validator = _with_defaults(_class_for(schema))(placed, registry=registry)
        self._fit: set[bytes] = set()

    def check(self, merged: Config) -> None:
        """Raise InvalidConfig for the worst thing in ``merged``; InvalidWorkflow if the schema cannot be applied."""
        try:
            known = hashlib.sha256(repr(merged).encode()).digest()  # unlike JSON, tells the keys 1 and "1" apart
            if known in self._fit:
                return
            error = best_match(self._validator.iter_errors(_copy(merged)))
        except Unresolvable as problem:
            raise self._unresolved(problem) from None
        except RecursionError:
            raise InvalidWorkflow(f"{self._name} refers to itself without end; correct the file") from None
        except re.error as problem:
            raise InvalidWorkflow(f"{self._name} has a pattern that is no regular expression: {problem}") from None
        if error is not None:
            field, sentence = _explain(error)
            raise InvalidConfig(sentence, field=field)
        if len(self._fit) >= _REMEMBERED:
            self._fit.clear()
        self._fit.add(known)

    def _unresolved(self, problem: Unresolvable) -> InvalidWorkflow:
        cause: BaseException | None = problem
        while cause is not None:
            if isinstance(cause, InvalidWorkflow):  # of the file that was referred to
                return cause
            cause = cause.__cause__ or cause.__context__
        return InvalidWorkflow(
            f"{self._name} refers to {problem.ref!r}, which is in no file of the workflow; nothing is fetched"
        )

    def _retrieve(self, uri: str) -> Resource[Any]:
        if not uri.startswith(_BASE):
            raise NoSuchResource(ref=uri)  # type: ignore[call-arg]
        name = unquote(uri.removeprefix(_BASE))
        if ".." in name.split("/") or name.startswith("/"):
            raise NoSuchResource(ref=uri)  # type: ignore[call-arg]
        return Resource.from_contents(
            documents.read(self._folder, name, InvalidWorkflow), default_specification=DRAFT202012
        )


def _class_for(schema: Config) -> type[Validator]:
    dialect = schema.get("$schema")
    return validator_for({"$schema": dialect} if isinstance(dialect, str) else {}, default=Draft202012Validator)


@functools.cache
def _with_defaults(cls: type[Validator]) -> type[Validator]:
    """Return a validator that fills in defaults before it looks at a property, as snakemake.utils.validate does."""
    check: Callable[..., Iterator[ValidationError]] = cls.VALIDATORS["properties"]

    def properties(
        validator: Validator, properties: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for key, below in properties.items():
                if isinstance(below, dict) and "default" in below:
                    instance.setdefault(key, _copy(below["default"]))
        yield from check(validator, properties, instance, schema)

    extended: type[Validator] = extend(cls, {"properties": properties})  # type: ignore[no-untyped-call]
    return extended


def _explain(error: ValidationError) -> tuple[str, str]:
    """Return the key at fault as a dotted path, and a sentence about it."""
    path = [str(step) for step in error.absolute_path]
    known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    if error.validator in ("additionalProperties", "unevaluatedProperties") and isinstance(error.instance, Mapping):
        for key in error.instance:
            if key not in known and repr(key) in error.message:
                return _unknown([*path, key], known)
    if error.validator == "required" and isinstance(error.validator_value, list):
        missing = next((key for key in error.validator_value if error.message.startswith(repr(key))), None)
        if missing is not None:
            field = ".".join([*path, str(missing)])
            return field, f"the setting {field!r} is missing; add it"
    field = ".".join(path)
    subject = f"the setting {field!r}" if field else "the configuration"
    return field or "config", f"{subject} {_expected(error)}"


def _unknown(path: list[str], known: Mapping[str, Any]) -> tuple[str, str]:
    field = ".".join(path)
    close = difflib.get_close_matches(path[-1], known, n=1)
    if close:
        return field, f"there is no setting {field!r}; did you mean {'.'.join([*path[:-1], close[0]])!r}?"
    choice = f"the settings here are {', '.join(sorted(known))}" if known else "no settings are allowed here"
    return field, f"there is no setting {field!r}; {_cut(choice, 4 * _SHOWN)}"


def _expected(error: ValidationError) -> str:
    rule = error.validator
    wanted: Any = error.validator_value
    given = _show(error.instance)
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"must be {' or '.join(_KINDS.get(kind, str(kind)) for kind in kinds)}, not {given}"
    if rule == "enum":
        return f"must be one of {_cut(', '.join(map(_show, wanted)), 4 * _SHOWN)}, not {given}"
    if rule == "const":
        return f"must be {_show(wanted)}, not {given}"
    if rule in _BOUNDS:
        return f"must be {_BOUNDS[rule]} {_show(wanted)}, not {given}"
    if rule == "pattern":
        return f"must match the pattern {wanted}, which {given} does not"
    return f"does not fit the workflow: {_cut(error.message)}"


def _show(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str, length: int = _SHOWN) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _check_value(value: Any, path: tuple[str, ...]) -> None:
    if len(path) > MAX_DEPTH:
        raise _refused(path, f"is nested more than {MAX_DEPTH} levels deep; flatten it")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(path, f"has the key {_cut(repr(key))}; keys must be text")
            _check_scalar(key, path)
            _check_value(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _check_value(item, (*path, str(at)))
    else:
        _check_scalar(value, path)


def _check_scalar(value: Any, path: tuple[str, ...]) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise _refused(path, "contains a NUL character, which no file name and no database takes; remove it")
        if not value.isascii() and _SURROGATE.search(value):
            raise _refused(path, "contains half of a surrogate pair, which has no form in UTF-8; correct it")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(path, f"must be a finite number, not {value}")
    elif isinstance(value, int):  # a bool as well
        if abs(value) >= _TOO_LARGE:
            raise _refused(path, "is a number of more than 63 bits; write it as text")
    elif value is not None:
        raise _refused(path, f"is a {type(value).__name__}, which JSON does not have")


def _refused(path: tuple[str, ...], reason: str) -> InvalidConfig:
    field = _cut(".".join(path)) or "config"
    return InvalidConfig(f"the setting {field!r} {reason}", field=field)
