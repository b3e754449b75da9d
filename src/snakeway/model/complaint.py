"""What Snakemake complains of when no job is to blame: its exceptions, as kinds of failures."""

import re
from collections.abc import Mapping

from snakeway.model.failure import Failure, FailureKind

_K = FailureKind
_LONGEST_SUMMARY = 500
_LONGEST_MESSAGE = 4000  # characters that are looked at

# Classes of Snakemake's snakemake.exceptions (9.27), of Python and of jsonschema, as the error's record names them.
_KINDS: Mapping[str, FailureKind] = {
    "MissingInputException": _K.MISSING_INPUT,
    "LockException": _K.LOCKED,
    "ValidationError": _K.INVALID_CONFIG,
    "SchemaError": _K.INVALID_CONFIG,
    "CannotDetermineSpecification": _K.INVALID_CONFIG,  # referencing: a schema without "$schema"
    "MemoryError": _K.OUT_OF_MEMORY,
    **dict.fromkeys(
        (
            "SyntaxError",
            "IndentationError",
            "TokenError",
            "NameError",
            "AttributeError",
            "TypeError",
            "ValueError",
            "IndexError",
            "ImportError",
            "ModuleNotFoundError",
            "FileNotFoundError",
            "RuntimeError",
            "AmbiguousRuleException",
            "CyclicGraphException",
            "ChildIOException",
            "CreateRuleException",
            "UnknownRuleException",
            "NoRulesException",
            "MissingRuleException",
            "RuleException",
            "WildcardError",
            "InputFunctionException",
            "ResourceError",
            "ProtectedOutputException",
            "ImproperOutputException",
            "ImproperShadowException",
            "InvalidPluginException",
            "IncludeError",
        ),
        _K.INVALID_WORKFLOW,
    ),
}
_PLACE = re.compile(r' in file "?(?P<file>[^"\n]{1,1024}?)"?, line (?P<line>\d{1,9})(?!\d)')
_STORED = re.compile(r"\w+://\S+|\(storage\)|retrieve from storage")
# Snakemake puts many reasons into one WorkflowError; the words that tell them apart.
_WORDS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    (_K.NO_SPACE, re.compile(r"No space left on device|Disk quota exceeded")),
    (_K.LOCKED, re.compile(r"Directory cannot be locked|Unable to lock directory")),
    (
        _K.INVALID_CONFIG,
        re.compile(r"Error validating (?:config|row|data)|config file [^\n]{0,500} (?:not valid|not found)"),
    ),
    (_K.IMAGE_PULL, re.compile(r"Failed to pull singularity image|apptainer or singularity command has to be")),
    (_K.STORAGE_UNREACHABLE, re.compile(r"[Ss]torage (?:object|provider).*(?:unreachable|failed)|endpoint URL")),
    (_K.MISSING_INPUT, re.compile(r"Missing input files")),
    (
        _K.INVALID_WORKFLOW,
        re.compile(r"Error running conda|Workflow defines that rule|Invalid|not defined|undefined"),
    ),
)
_HINTS = {
    _K.LOCKED: "if no other snakemake works there, a re-run removes the lock",
    _K.STORAGE_UNREACHABLE: "either it is not there, or the storage does not answer",
}


def diagnose(exception: str, message: str) -> Failure:
    """Judge what ended an attempt, from the class of Snakemake's exception and its message; pure."""
    message = message[:_LONGEST_MESSAGE]
    kind = _kind(exception, message)
    place = _PLACE.search(message)
    hint = f"; {_HINTS[kind]}" if kind in _HINTS else ""
    return Failure(
        kind=kind,
        summary=f"{_sentence(exception, message)}{hint}"[:_LONGEST_SUMMARY],
        file=place["file"] if place else None,
        line=int(place["line"]) if place else None,
        suggestion={} if kind in (_K.LOCKED, _K.STORAGE_UNREACHABLE) else None,
    )


def _kind(exception: str, message: str) -> FailureKind:
    kind = _KINDS.get(exception)
    if kind is FailureKind.MISSING_INPUT and _STORED.search(message):
        return FailureKind.STORAGE_UNREACHABLE
    if exception == "KeyError":
        return FailureKind.INVALID_CONFIG if "config" in message else FailureKind.INVALID_WORKFLOW
    if kind is not None and kind is not FailureKind.INVALID_WORKFLOW:
        return kind
    told = next((kind for kind, words in _WORDS if words.search(message)), None)
    if told is not None:
        return told
    if kind is not None:
        return kind
    return FailureKind.UNKNOWN


def _sentence(exception: str, message: str) -> str:
    """Put Snakemake's message, a heading and indented lines, into one line."""
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line and line != "None" and not line.startswith("File ")]
    text = " ".join(told) or exception or "no reason is known"
    return re.sub(r'(?<= in file )"?(?:[^"\s]*/)?([^"/\s]+)"?(?=, line)', r"\1", text)
