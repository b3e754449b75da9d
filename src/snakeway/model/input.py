"""An input is a file that somebody has uploaded, kept under the digest of its content, for runs to use."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from snakeway.errors import Invalid, InvalidConfig


class InputState(StrEnum):
    """How far an input is.

    UPLOADING  bytes arrive in a file of the data folder; entered by whoever announces it, or when storing it failed.
    STORING    all bytes are here and are being put into object storage. A crash leaves it so: whoever sends the rest,
               of which there is none, has it stored again; if nobody does, it expires.
    COMPLETE   runs can use it.
    REMOVING   somebody has deleted it, or it has expired. A crash leaves it so, and it is removed later, by whoever
               enters this state again.

    One whose bytes turn out to be others than were announced is gone at once.
    """

    UPLOADING = "uploading"
    STORING = "storing"
    COMPLETE = "complete"
    REMOVING = "removing"


_S = InputState

MOVES: dict[InputState, frozenset[InputState]] = {
    _S.UPLOADING: frozenset({_S.STORING, _S.COMPLETE, _S.REMOVING}),  # complete: its owner has the content by now
    _S.STORING: frozenset({_S.STORING, _S.COMPLETE, _S.UPLOADING, _S.REMOVING}),
    _S.COMPLETE: frozenset({_S.REMOVING}),
    _S.REMOVING: frozenset({_S.REMOVING}),
}
UNFINISHED = frozenset({_S.UPLOADING, _S.STORING})
STORED = frozenset({_S.STORING, _S.COMPLETE})  # there is something in object storage, or will be in a moment

FOLDER = "inputs"  # in a run's directory or place, and in object storage
MOST_INPUTS = 1000  # of one run
DEEPEST = 64  # levels of a configuration that are looked through
_MOST_NAME_BYTES = 200
_SHORT = 12  # digits of the digest in paths

_NAME = re.compile(r"\w[\w.+=@,-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REFERENCE = re.compile(r"input:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def check_name(name: str) -> str:
    """Return ``name`` if it can be that of an input: it becomes a part of paths, of keys, and of command lines.

    Braces would be wildcards to Snakemake, and blanks break the commands of most workflows. Raises Invalid.
    """
    if not _NAME.fullmatch(name) or len(name.encode()) > _MOST_NAME_BYTES:
        raise Invalid(
            f"{name[:100]!a} cannot be the name of an input: letters, digits and _.+=@,- are possible, "
            f"{_MOST_NAME_BYTES} bytes at most, and a letter, digit or _ comes first; give it another name",
            field="name",
        )
    return name


def check_sha256(digest: str) -> str:
    """Return ``digest`` if it is a SHA-256 in hexadecimal digits; raises Invalid."""
    if not _SHA256.fullmatch(digest):
        raise Invalid("sha256 must be 64 hexadecimal digits in lower case", field="sha256")
    return digest


def key_of(owner: str, sha256: str) -> str:
    """Return the key of a content in object storage.

    It is one person's: to know a digest gives nobody what another has, and does not tell that somebody has it.
    """
    return f"{FOLDER}/{hashlib.sha256(owner.encode()).hexdigest()[:32]}/{sha256[:2]}/{sha256}"


def path_of(name: str, sha256: str) -> str:
    """Return where a run finds the input: relative to its directory, or to the place of its files."""
    return f"{FOLDER}/{sha256[:_SHORT]}/{name}"


def reference_to(input_id: str) -> str:
    """Return the text that stands for the input in a configuration."""
    return f"input:{input_id}"


def references(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of all inputs that a configuration refers to, each with the first key that does: ``a.b.0``.

    A reference is a whole text value, ``input:`` and an id; other texts that begin so are left alone. Raises
    InvalidConfig, if there are more than `MOST_INPUTS`, or if they lie too deep.
    """
    found: dict[str, str] = {}
    for field, text in _texts(config, "", 0):
        match = _REFERENCE.fullmatch(text)
        if match:
            found.setdefault(match[1], field)
        if len(found) > MOST_INPUTS:
            raise InvalidConfig(f"{field}: a run can use at most {MOST_INPUTS} inputs", field=field)
    return found


def _texts(value: Any, field: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict | list):
        if depth == DEEPEST:
            raise InvalidConfig(f"{field}: nested more than {DEEPEST} levels deep", field=field)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, f"{field}.{key}" if field else str(key), depth + 1)


def resolved(value: Any, paths: Mapping[str, str]) -> Any:
    """Return a configuration with the path in the place of each reference; ``paths`` has them by the inputs' ids.

    References to others, and everything else, stay as they are.
    """
    if isinstance(value, str):
        match = _REFERENCE.fullmatch(value)
        return paths.get(match[1], value) if match else value
    if isinstance(value, list):
        return [resolved(inner, paths) for inner in value]
    if isinstance(value, dict):
        return {key: resolved(inner, paths) for key, inner in value.items()}
    return value
