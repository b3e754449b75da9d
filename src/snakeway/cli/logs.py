"""The command that prints what a run or a job wrote, and goes on printing while it is written."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from snakeway.cli import options, output
from snakeway.cli.connect import connect, run_id
from snakeway.cli.failures import INTERRUPTED
from snakeway.cli.jobs import newest_attempt
from snakeway.errors import LogNotFound, Unavailable
from snakeway.model import job as job_rules
from snakeway.model.job import LogSource
from snakeway.model.run import ACTIVE

if TYPE_CHECKING:
    from snakeway.client import Client

_FIRST_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 3.0
_BLOCK_BYTES = 64 * 1024
_PATIENCE = 30  # looks at a server that does not answer


def logs(
    run: options.RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run, or the job, has ended.")] = False,
    job: Annotated[
        int | None, typer.Option("--job", "-j", min=0, metavar="N", help="The log of this job; see 'snakeway jobs'.")
    ] = None,
    scheduler: Annotated[
        bool,
        typer.Option("--scheduler", help="With --job: what the scheduler keeps of it, Snakemake's words included."),
    ] = False,
    attempt: options.AttemptOption = None,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="N", help="Only the last N lines, and what follows.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print the output of snakemake, or the log of one job.

    With --follow, an attempt that is started while this command runs is followed, too. With --json the log is one text
    in an object; with both, each line is an object of its own.
    """
    if scheduler and job is None:
        raise typer.BadParameter("only jobs have one; name the job with --job", param_hint="--scheduler")
    source = LogSource.SCHEDULER.value if scheduler else None
    with connect() as client:
        id_ = run_id(client, run)
        if not follow:
            _print(_Log(client, id_, job, attempt, source), tail, as_json=as_json)
            return
        show = _JsonLines() if as_json else output.write_bytes
        try:
            _follow(client, id_, job, attempt, source, tail, show)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


class _JsonLines:
    """Makes an object of each line."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            output.json_line({"text": line.decode(errors="replace")})


class _Log:
    """One log file."""

    def __init__(
        self, client: "Client", id_: str, job: int | None, attempt: int | None, source: str | None = None
    ) -> None:
        self._client, self._id, self._job, self._attempt, self._source = client, id_, job, attempt, source

    def name(self) -> dict[str, str | int | None]:
        return {"run": self._id, "attempt": self._attempt, "job": self._job}

    def read(self, *, start: int = 0, tail: int | None = None) -> Iterator[bytes]:
        if self._job is None:
            return self._client.run_log(self._id, attempt=self._attempt, tail=tail, start=start)
        return self._client.job_log(
            self._id, self._job, attempt=self._attempt, tail=tail, start=start, source=self._source
        )

    def start_of_tail(self, lines: int) -> int:
        """Return the offset of the last ``lines`` lines: exact, so that following goes on without a gap."""
        end = self._client.log_size(self._id, self._job, attempt=self._attempt, source=self._source)
        span = _BLOCK_BYTES
        while lines > 0:
            start = max(0, end - span)
            data = b"".join(self.read(start=start))[: end - start]
            found = data.removesuffix(b"\n").split(b"\n")
            if len(found) > lines:
                return start + len(b"\n".join(found[:-lines])) + 1
            if start == 0:
                return 0
            span *= 4
        return end

    def writing(self) -> bool:
        """Whether more may come."""
        if self._job is None:
            if self._client.run(self._id)["state"] in ACTIVE:
                return self._attempt is None or newest_attempt(self._client, self._id) == self._attempt
            return False
        found = self._client.job(self._id, self._job, attempt=self._attempt)
        return found["state"] not in job_rules.ENDED


def _print(log: _Log, tail: int | None, *, as_json: bool) -> None:
    chunks = log.read(tail=tail)
    if as_json:
        output.document({**log.name(), "text": b"".join(chunks).decode(errors="replace")})
        return
    for chunk in chunks:
        output.write_bytes(chunk)


def _follow(
    client: "Client",
    id_: str,
    job: int | None,
    attempt: int | None,
    source: str | None,
    tail: int | None,
    show: Callable[[bytes], None],
) -> None:
    fixed = attempt is not None or job is not None
    number = attempt or newest_attempt(client, id_)
    while True:
        _follow_one(_Log(client, id_, job, number, source), tail, show)
        newer = None if fixed else newest_attempt(client, id_)
        if newer is None or number is None or newer <= number:
            return
        output.hint(f"--- attempt {newer} ---")
        number, tail = newer, None


def _follow_one(log: _Log, tail: int | None, show: Callable[[bytes], None]) -> None:
    offset: int | None = None if tail is not None else 0
    pause, misses = _FIRST_PAUSE_S, _PATIENCE  # a server that never answered is not waited for
    while True:
        came = 0
        try:
            # Asked before reading: whatever is written up to the end is then read once more after it.
            writing = log.writing()
            if offset is None:
                offset = log.start_of_tail(tail or 0)
            for chunk in log.read(start=offset):
                show(chunk)
                came += len(chunk)
                offset += len(chunk)
            misses = 0
        except LogNotFound:
            if not writing:
                raise
        except Unavailable:
            misses += 1
            writing = True
            if misses > _PATIENCE:
                raise
        if not writing:
            return
        pause = _FIRST_PAUSE_S if came else min(pause * 1.5, _LONGEST_PAUSE_S)
        time.sleep(pause)
