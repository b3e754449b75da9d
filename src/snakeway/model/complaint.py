"""What Snakemake complains of when no job is to blame: its exceptions, as kinds of failures."""

import re
from collections.abc import Mapping
from typing import Any

from snakeway.model.failure import NO_SPACE_WORDS, TRANSIENT, Failure, FailureKind
from snakeway.model.storage import StorageTrouble, wrong_prefix

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
# In a traceback of Python: the last line of an exception, and a place that is in no function.
_CAUSE = re.compile(r"^(?P<exception>\w{1,100}(?:Error|Exception)): (?P<message>[^\n]{1,2000})", re.M)
_LINE = re.compile(r'^ *File "(?P<file>[^"\n]{1,1024})", line (?P<line>\d{1,9})$', re.M)
_PREFIX = re.compile(
    r"Error applying default storage provider s3\..{0,1000}? query (?P<query>.{1,1000}) is invalid", re.S
)
_SETTING = re.compile(
    r"required arguments are missing for plugin (?P<plugin>[\w-]{1,100}): (?P<option>--[\w-]{1,100})"
    r"(?: \(or environment variable (?P<variable>\w{1,100})\))?"
)
_STORED = re.compile(r"\w+://\S+|\(storage\)|retrieve from storage")
# A line ends at a carriage return, too: a bar of progress writes over itself.
_NO_SPACE = re.compile(
    rf"(?:^|(?<=\r))(?:snakeway: [^\r\n]*|[^\r\n]*\[Errno \d+\] )(?:{NO_SPACE_WORDS})[^\r\n]{{0,200}}", re.M
)
# Snakemake puts many reasons into one WorkflowError; the words that tell them apart.
_WORDS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    (_K.NO_SPACE, re.compile(NO_SPACE_WORDS)),
    (_K.LOCKED, re.compile(r"Directory cannot be locked|Unable to lock directory")),
    (
        _K.INVALID_TARGET,
        re.compile(
            r"Error applying default storage provider|required arguments are missing for plugin"
            r"|no such environment variable is set|AWS Batch cannot be used|No job queue is named|Invalid endpoint: "
        ),
    ),
    (_K.INVALID_CONFIG, re.compile(r"Error validating (?:config|row|data)")),
    (_K.IMAGE_PULL, re.compile(r"Failed to pull singularity image|apptainer or singularity command has to be")),
    (_K.STORAGE_UNREACHABLE, re.compile(r"[Ss]torage (?:object|provider).*(?:unreachable|failed)|endpoint URL")),
    (_K.MISSING_INPUT, re.compile(r"Missing input files")),
    (
        _K.INVALID_WORKFLOW,
        re.compile(
            r"Error running conda|Workflow defines (?:that rule|configfile)|Config file (?:is not valid|must be given)"
            r"|Target rules may not contain wildcards|Invalid|not defined|undefined"
        ),
    ),
)
_NOT_OF_THE_WORKFLOW = frozenset({_K.STORAGE_UNREACHABLE, _K.STORAGE_REFUSED, _K.INVALID_TARGET})
_HINTS = {
    _K.LOCKED: "if no other snakemake works there, a re-run removes the lock",
    _K.STORAGE_UNREACHABLE: "either it is not there, or the storage does not answer",
}


def diagnose(exception: str, message: str, storage: StorageTrouble | None = None) -> Failure:
    """Judge what ended an attempt, from the class of Snakemake's exception, its message, and what storage said; pure.

    ``storage`` is None where it was not asked, or has no part in it.
    """
    message = message[:_LONGEST_MESSAGE]
    if storage is not None and not storage.nothing:
        kind, said = storage.judge()
    else:
        kind = _kind(exception, message)
        if kind is FailureKind.STORAGE_UNREACHABLE and storage is not None:
            kind = FailureKind.MISSING_INPUT  # it was asked, and answered
        hint = f"; {_HINTS[kind]}" if kind in _HINTS else ""
        said = (_about_target(message) if kind is FailureKind.INVALID_TARGET else None) or (
            f"{_sentence(exception, message)}{hint}"
        )
    place = _PLACE.search(message) if kind not in _NOT_OF_THE_WORKFLOW else None
    return Failure(
        kind=kind,
        summary=said[:_LONGEST_SUMMARY],
        file=place["file"] if place else None,
        line=int(place["line"]) if place else None,
        suggestion={} if kind is FailureKind.LOCKED or kind in TRANSIENT else None,
    )


def of_write_error(words: str, host: str | None) -> Failure:
    """Judge an attempt at whose end no file could be written any more, from the system's words for that; pure."""
    full = re.search(NO_SPACE_WORDS, words)
    said = f"Nothing more could be written in the run's directory ({words}); correct that, and re-run."
    return Failure(FailureKind.NO_SPACE if full else FailureKind.UNKNOWN, said, host=host)


def of_log(text: str) -> Failure | None:
    """Judge a snakemake whose events tell nothing by the end of its log; None if that tells nothing either; pure.

    On a full disk events are lost; what is left is what somebody said of it in the log.

    Snakemake (9.27, `print_exception`) raises KeyError for a mistake in the first lines of a Snakefile, because it
    knows no place of them yet. So no event tells of the mistake; Python's traceback does, as the exception before.
    """
    told, separator, after = text.rpartition("During handling of the above exception")
    if not separator or "print_exception" not in after:
        said = [line[0].strip() for line in _NO_SPACE.finditer(text)]
        return Failure(FailureKind.NO_SPACE, said[-1][-_LONGEST_SUMMARY:]) if said else None
    causes = list(_CAUSE.finditer(told))
    if not causes:
        return None
    exception, message = causes[-1]["exception"], causes[-1]["message"]
    places = list(_LINE.finditer(told, 0, causes[-1].start()))
    where = f' in file "{places[-1]["file"]}", line {places[-1]["line"]}' if places else ""
    return diagnose(exception, f"{exception}{where}:\n{message}")


def words(event: Mapping[str, Any]) -> str:
    """Return what an event ``error`` says to a person: what storage said, where that is the reason, else Snakemake."""
    storage = StorageTrouble.from_json(event.get("storage"))
    if storage is not None and not storage.nothing:
        return storage.judge()[1]
    return str(event.get("message") or event.get("exception") or "error")


def _about_target(message: str) -> str | None:
    """Say what is missing around the target in better words than Snakemake's, where they are known."""
    if (prefix := _PREFIX.search(message)) is not None:
        return wrong_prefix(prefix["query"].rpartition("/")[0] or prefix["query"])
    if (setting := _SETTING.search(message)) is not None:
        where = f"set {setting['variable']} where snakemake is started, for a server in its environment, or set "
        return (
            f"The target's executor {setting['plugin']} lacks a setting: {where if setting['variable'] else 'set '}"
            f"{setting['option'].removeprefix('--')} in its profile"
        )
    return None


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
