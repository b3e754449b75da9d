"""What a job's container has printed, as CloudWatch Logs keeps it: all of it, or from where a reader has got to.

Nothing of AWS is imported here: whoever asks brings the client, whose errors go through. A job that AWS Batch started
several times has several streams; they follow one another.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_GROUP = "/aws/batch/job"  # that AWS Batch takes unless a definition names another
_MISSING = "ResourceNotFoundException"  # no such group or stream: nothing was printed, or it has not arrived


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has got: in which stream, and CloudWatch's token for what follows."""

    stream: str
    token: str | None = None


def place_of(detail: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the log group, and the streams in the order of their writing, of a job as DescribeJobs tells it."""
    container = detail.get("container") or {}
    options = (container.get("logConfiguration") or {}).get("options") or {}
    tried = [(attempt.get("container") or {}).get("logStreamName") for attempt in detail.get("attempts") or ()]
    streams = dict.fromkeys(str(name) for name in [*tried, container.get("logStreamName")] if name)
    return str(options.get("awslogs-group") or LOG_GROUP), list(streams)


def pages(
    client: Any, group: str, streams: Sequence[str], since: Position | None = None
) -> Iterator[tuple[bytes, Position]]:
    """Yield what was printed since a position, in pieces of at most a few MiB, each with the position behind it.

    Ends when there is nothing more for now. Two requests or more for each stream: CloudWatch says that a stream is at
    its end by the same token once more (GetLogEvents of its API reference).
    """
    begin = streams.index(since.stream) if since is not None and since.stream in streams else 0
    for stream in streams[begin:]:
        token = since.token if since is not None and since.stream == stream else None
        while True:
            known = {} if token is None else {"nextToken": token}
            try:
                page = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **known)
            except client.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") != _MISSING:
                    raise
                break
            text, following = _text(page), str(page["nextForwardToken"])
            if text or following != token:
                yield text, Position(stream, following)
            if following == token:
                break
            token = following


def end(client: Any, group: str, stream: str) -> bytes:
    """Return the end of what was printed: at most a MiB, by one request; nothing if there is no such stream."""
    try:
        page = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=False)
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") != _MISSING:
            raise
        return b""
    return _text(page)


def _text(page: Mapping[str, Any]) -> bytes:
    return "".join(f"{event['message']}\n" for event in page["events"]).encode(errors="replace")


def keep(path: Path, pieces: Iterator[tuple[bytes, Position]]) -> int:
    """Write what was printed into a file, whole or not at all; returns its size in bytes. Raises OSError.

    Crash meanwhile: a hidden file is left beside it, which nobody reads.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    size_bytes = 0
    try:
        with os.fdopen(os.open(temporary, flags, 0o660), "wb") as file:
            for piece, _ in pieces:
                size_bytes += file.write(piece)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size_bytes
