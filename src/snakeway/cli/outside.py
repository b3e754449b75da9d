"""The command that records on a server what was run by hand."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from snakeway.cli import options, output
from snakeway.cli.byhand import Attempt, Life, attempts_in
from snakeway.cli.connect import connect
from snakeway.cli.failures import exit_code
from snakeway.cli.output import Column
from snakeway.cli.server import read_settings, server_part
from snakeway.cli.status import Directory
from snakeway.errors import Conflict, Forbidden, Invalid, OffsetConflict, SnakewayError
from snakeway.wire import SHIPPED_LOG_BYTES, read_batch, read_end

if TYPE_CHECKING:
    from snakeway.client import Recording

_BATCH_BYTES = 512 * 1024
_MOST_CONFLICTS = 100  # another sender of the same attempt is ahead; each conflict means that it has come further

_COLUMNS: list[Column["Imported"]] = [
    Column("RUN", lambda done: done.attempt.run_id, lambda done: done.attempt.run_id[-8:], whole=True),
    Column("ATTEMPT", lambda done: done.attempt.id, lambda done: done.attempt.id[-8:], whole=True),
    Column("STATE", lambda done: done.life.value, state=True),
    Column("SENT", lambda done: done.sent_bytes, lambda done: f"{done.sent_bytes} bytes", right=True),
    Column("ERROR", lambda done: done.error.detail if done.error else ""),
]


class Record(Protocol):
    """Where runs by hand are recorded: a server, or the database itself."""

    def recorded(self, run_id: str, attempt_id: str) -> "Recording": ...

    def append(self, run_id: str, attempt_id: str, offset: int, data: bytes, *, gone: bool = False) -> "Recording": ...

    def put_log(self, run_id: str, attempt_id: str, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one attempt."""

    attempt: Attempt
    life: Life
    sent_bytes: int
    error: SnakewayError | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "run_id": self.attempt.run_id,
            "attempt_id": self.attempt.id,
            "state": self.life.value,
            "sent_bytes": self.sent_bytes,
            "error": self.error.detail if self.error else None,
            "code": self.error.code if self.error else None,
        }


def import_(
    directory: Directory = Path(),
    direct: Annotated[
        bool,
        typer.Option(
            "--direct", help="Write into the database of SNAKEWAY_DATA_DIR on this machine; no server is needed."
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Record on the server what was run by hand in a directory.

    Sends what the server does not have yet, so it can be repeated. An attempt whose process is gone without a word is
    recorded as lost; one that runs is recorded as far as it has come.

    When the output is not a terminal, the columns are: run, attempt, state, bytes sent, error.
    """
    found = attempts_in(directory)
    with _record(direct=direct) as record:
        done = [_import(record, attempt) for attempt in found]
    if as_json:
        output.document([each.document() for each in done])
    elif not quiet:
        output.table(_COLUMNS, done, empty="")
    failed = next((each.error for each in done if each.error is not None), None)
    if failed is not None and not as_json:
        raise failed
    if failed is not None:
        raise typer.Exit(exit_code(failed))  # the document has said what


@contextmanager
def _record(*, direct: bool) -> Iterator[Record]:
    if direct:
        with closing(server_part("bootstrap").DirectRecord(read_settings())) as record:
            yield record
    else:
        with connect() as client:
            yield client.outside


def _import(record: Record, attempt: Attempt) -> Imported:
    """Send one attempt. That the server refuses it does not keep the others from being sent."""
    life = attempt.life()  # before its events are read again: what it wrote until then is sent
    try:
        return Imported(attempt, life, _send(record, attempt, gone=life is Life.LOST))
    except (Conflict, Forbidden, Invalid) as error:
        return Imported(attempt, life, 0, error)


def _send(record: Record, attempt: Attempt, *, gone: bool) -> int:
    """Send what is not recorded yet; returns how many bytes that were."""
    known = record.recorded(attempt.run_id, attempt.id)
    offset, sent, conflicts = known["offset"], 0, 0
    while True:
        data = read_batch(attempt.events, offset, min(_BATCH_BYTES, known["max_bytes"]))
        try:
            offset = record.append(attempt.run_id, attempt.id, offset, data, gone=gone and not data)["offset"]
        except OffsetConflict as error:
            conflicts += 1
            if conflicts > _MOST_CONFLICTS:
                raise
            offset = error.offset
            continue
        sent += len(data)
        if not data:
            break
    log = _end_of_log(attempt)
    if log:
        record.put_log(attempt.run_id, attempt.id, log)
    return sent


def _end_of_log(attempt: Attempt) -> bytes:
    """Return the end of Snakemake's log. Jobs can write events, so what they name is only looked for where logs are."""
    name = Path(str(attempt.started.get("log") or "")).name
    path = attempt.directory / ".snakemake" / "log" / name
    return b"" if not name or path.is_symlink() else read_end(path, SHIPPED_LOG_BYTES)
