"""Gates on disk: what a gate of a workflow asks for, and what a person has decided. Standard library only.

    .snakeway/gates/KEY/request.json    the gate, when it waits: what to look at, which answer is wanted
    .snakeway/gates/KEY/decision.json   the person, or the supervisor for the person: approved or rejected, the answer

below the working directory of the run. KEY is made from the name of the gate, which is the path of its output. A
decision counts for the evidence it was made about: when that is made anew with another content, the gate waits again.
Both files are written whole under another name and renamed. Nobody removes them: an old decision is harmless.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from snakeway.wire import STATE_FOLDER

WAITING = 75  # exit code of a gate that waits: EX_TEMPFAIL of sysexits.h, try again later
REJECTED = 77  # of one that was rejected: EX_NOPERM

_MAX_SCHEMA_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024
MAX_NAME_BYTES = 640  # of a gate: it is part of a key, which Postgres bounds
_MAX_TITLE = 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PATTERNS = frozenset({"pattern", "patternProperties"})
_MAX_EVIDENCE = 1000  # files
_MAX_BYTES = 1024 * 1024  # of a request or a decision that is read


class Verdict(StrEnum):
    """What a person can say to a gate."""

    APPROVED = "approved"
    REJECTED = "rejected"


class GateError(Exception):
    """The gate cannot be asked or decided; the message says why."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file to look at; ``path`` is relative to the run's directory."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a gate waits for. Times are seconds since the epoch."""

    gate: str  # its name: the path of its output
    title: str
    evidence: list[Evidence]
    digest: str  # of the evidence
    schema: dict[str, Any] | None  # JSON Schema of the answer; None: any answer will do, and none
    asked_at: float
    deadline_at: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about the evidence with ``digest``."""

    gate: str
    digest: str
    verdict: Verdict
    answer: Any
    reason: str
    by: str
    at: float  # seconds since the epoch


def folder_of(directory: Path, gate: str) -> Path:
    """Return where the files of a gate are, below the working directory of the run."""
    key = hashlib.sha256(os.fsencode(gate)).hexdigest()[:32]
    return directory / STATE_FOLDER / "gates" / key


def request_of(
    gate: str,
    paths: Iterable[str],
    *,
    title: str,
    schema: Path | None,
    now: float,
    deadline_s: float | None,
) -> Request:
    """Look at the evidence and say what the gate waits for. Raises GateError."""
    if not (0 < len(gate.encode(errors="replace")) <= MAX_NAME_BYTES and gate.isprintable()):
        raise GateError(f"the output of a gate must be a printable path of at most {MAX_NAME_BYTES} bytes")
    evidence: list[Evidence] = []
    for path in paths:
        for file in _files(Path(path)):
            if len(evidence) == _MAX_EVIDENCE:
                raise GateError(f"more than {_MAX_EVIDENCE} files to look at; name those that matter")
            try:
                evidence.append(Evidence(str(file), file.stat().st_size, _sha256(file)))
            except OSError as error:
                raise GateError(f"{file} cannot be read: {error.strerror}") from None
    told = "".join(f"{found.sha256} {found.path}\n" for found in evidence)
    digest = hashlib.sha256(os.fsencode(told)).hexdigest()
    wanted = None if schema is None else _schema(schema)
    return Request(gate, title, evidence, digest, wanted, now, None if deadline_s is None else now + deadline_s)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    else:
        yield path


def _schema(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GateError(f"{path}: the schema of the answer cannot be read: {error}") from None
    try:
        schema = json.loads(text)
    except ValueError:
        schema = _yaml(path, text)
    if not isinstance(schema, dict):
        raise GateError(f"{path}: the schema of the answer must be an object")
    if not _is_schema(schema):
        raise GateError(
            f"{path}: the schema of the answer is larger than {_MAX_SCHEMA_BYTES} bytes, or uses pattern or "
            "patternProperties, which a server does not try; use enum or oneOf"
        )
    return schema


def _is_schema(value: Any) -> bool:
    """Whether a schema is small and has no regular expressions: one may keep a server busy for ever."""
    try:
        if len(json.dumps(value)) > _MAX_SCHEMA_BYTES:
            return False
    except (TypeError, ValueError, RecursionError):
        return False
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if _PATTERNS & one.keys():
                return False
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return True


def _yaml(path: Path, text: str) -> Any:
    import yaml  # Snakemake brings it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GateError(f"{path}: the schema of the answer is neither JSON nor YAML: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_request(directory: Path, request: Request) -> Request:
    """Ask; returns the request as it stands. One for the same evidence that has not run out keeps its time."""
    known = read_request(directory, request.gate)
    same = known is not None and known.digest == request.digest
    if known is not None and same and not (known.deadline_at is not None and known.deadline_at < request.asked_at):
        request = Request(**{**_members(request), "asked_at": known.asked_at, "deadline_at": known.deadline_at})
    _write(folder_of(directory, request.gate) / "request.json", asdict(request))
    return request


def _members(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__dataclass_fields__}


def write_decision(directory: Path, decision: Decision) -> None:
    """Keep a decision for the gate; one that replaces an approval is put into the gate's output as well.

    Snakemake makes no file anew that is only missing, if what depends on it is there. So the output with the new answer
    is written here: then what depends on it is older, and is made anew. Crash before the last line: all of it is done
    again.
    """
    known = read_decision(directory, decision.gate)
    told = (decision.digest, decision.verdict, decision.answer)
    if known is not None and (known.digest, known.verdict, known.answer) == told:
        return
    first = known is None or (known.verdict is Verdict.REJECTED and known.digest == decision.digest)
    if not first and decision.verdict is Verdict.APPROVED:
        output = directory / decision.gate
        if output.parent.resolve().is_relative_to(directory.resolve()) and not output.is_symlink():
            write_answer(output, decision.answer)
    _write(folder_of(directory, decision.gate) / "decision.json", asdict(decision))


def write_answer(output: Path, answer: Any) -> None:
    """Write what the workflow reads: the answer as JSON; an empty object if there is none."""
    output.parent.mkdir(parents=True, exist_ok=True)
    _replace(output, json.dumps({} if answer is None else answer, ensure_ascii=False, indent=2) + "\n")


def read_request(directory: Path, gate: str) -> Request | None:
    """Return what the gate waits for; None if it never did."""
    return request_from(_read(folder_of(directory, gate) / "request.json"))


def request_from(data: dict[str, Any] | None) -> Request | None:
    """Make a request of its JSON; None if it is none. The file lies where jobs can write."""
    try:
        assert data is not None
        evidence = [Evidence(str(one["path"]), int(one["size_bytes"]), str(one["sha256"])) for one in data["evidence"]]
        schema, deadline = data["schema"], data["deadline_at"]
        gate, digest = str(data["gate"]), str(data["digest"])
        assert 0 < len(gate.encode()) <= MAX_NAME_BYTES
        assert gate.isprintable()
        assert _DIGEST.fullmatch(digest)
        assert schema is None or (isinstance(schema, dict) and _is_schema(schema))
        return Request(
            gate=gate,
            title=str(data["title"])[:_MAX_TITLE],
            evidence=evidence[:_MAX_EVIDENCE],
            digest=digest,
            schema=schema,
            asked_at=float(data["asked_at"]),
            deadline_at=None if deadline is None else float(deadline),
        )
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return None


def read_decision(directory: Path, gate: str) -> Decision | None:
    """Return what was decided last; None if nothing was."""
    data = _read(folder_of(directory, gate) / "decision.json")
    try:
        assert data is not None
        return Decision(
            gate=str(data["gate"]),
            digest=str(data["digest"]),
            verdict=Verdict(data["verdict"]),
            answer=data["answer"],
            reason=str(data["reason"]),
            by=str(data["by"]),
            at=float(data["at"]),
        )
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return None


def requests(directory: Path) -> list[Request]:
    """Return what the gates of a directory wait, or have waited, for, in the order of their names."""
    found = [request_from(_read(path)) for path in (directory / STATE_FOLDER / "gates").glob("*/request.json")]
    return sorted((request for request in found if request is not None), key=lambda request: request.gate)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o770)  # the group: see snakeway.owner
    _replace(path, json.dumps(value, ensure_ascii=False) + "\n")


def _replace(path: Path, text: str) -> None:
    """Put ``text`` in the place of whatever is there: a pipe or link that a job left must not be opened."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
        file.write(text.encode())
    temporary.replace(path)
