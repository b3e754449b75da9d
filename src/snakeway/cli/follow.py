"""Following a run to its end: a live table on a terminal, a line for each thing that happens elsewhere."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from snakeway.cli import output
from snakeway.cli.connect import short
from snakeway.cli.cure import hint_at_gates, hint_at_names, hint_at_rerun
from snakeway.cli.failures import INTERRUPTED
from snakeway.cli.watch import Line, Watch, describe
from snakeway.errors import SnakewayError, Unavailable
from snakeway.model.job import JobState

if TYPE_CHECKING:
    from snakeway.client import Client, Run, StreamEvent

Tell = Callable[["StreamEvent", list[Line]], None]

_LOG_LINES = 10
_SHOWN_FAILURES = 5


def follow(
    client: "Client",
    run: "Run",
    *,
    after: str | None = None,
    as_json: bool = False,
    quiet: bool = False,
    beside_result: bool = False,
) -> int:
    """Follow a run until it ends and return the exit code that its state means.

    What is told goes to stderr if stdout has a result of its own (``beside_result``). ``after`` leaves out events up to
    that one. Ctrl-C ends the following, not the run.
    """
    watch = Watch(run)
    terminal = output.is_terminal(stderr=beside_result)
    told: AbstractContextManager[Tell]
    if as_json:
        told = nullcontext(_tell_json)
    elif quiet:
        told = nullcontext(lambda _event, _lines: None)
    elif terminal:
        from snakeway.cli.live import Screen

        told = Screen(watch, output.console(stderr=beside_result))
    else:
        told = nullcontext(lambda _event, lines: _tell_plain(lines, stderr=beside_result))
    try:
        with told as tell:
            for event in client.events(run["id"], after=after, retrying=None if quiet else _retrying):
                tell(event, watch.take(event))
    except KeyboardInterrupt:
        return _detached(run, quiet)
    if terminal and not as_json and not quiet:
        _sum_up(client, watch)
    return watch.exit_code()


def _tell_json(event: "StreamEvent", _lines: list[Line]) -> None:
    output.json_line({"event": event.type, "id": event.id, "data": event.data})


def _tell_plain(lines: list[Line], *, stderr: bool) -> None:
    for line in lines:
        output.line(line.at, line.subject, line.state, line.text, stderr=stderr)


def _retrying(error: Unavailable, pause: float) -> None:
    output.hint(f"snakeway: {output.clean(error.detail)}; trying again in {pause:.0f} s")


def _detached(run: "Run", quiet: bool) -> int:
    with suppress(ValueError):  # not in the main thread, where nobody can press Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not quiet:
        name = short(run["id"])
        output.hint(
            f"\nNo longer watching; the run goes on.\n"
            f"snakeway show {name} --follow    watch it again\nsnakeway cancel {name}           stop it"
        )
    return INTERRUPTED


def _sum_up(client: "Client", watch: Watch) -> None:
    """Tell what failed and what can be done about it."""
    name = short(watch.run["id"])
    failed = [job for job in watch.jobs.values() if job.state is JobState.FAILED]
    for job in failed[:_SHOWN_FAILURES]:
        for text in (job.log_tail or "").splitlines()[-_LOG_LINES:]:
            output.hint(f"    {output.printable(text)}")
        if job.logs or job.scheduler_log:
            output.hint(f"snakeway logs {name} --job {job.number}    all of the log of {output.clean(describe(job))}")
        else:
            output.hint(f"snakeway logs {name}    the run's output; {output.clean(job.rule)} has no log of its own")
    if len(failed) > _SHOWN_FAILURES:
        output.hint(f"snakeway jobs {name} --failed    the other {len(failed) - _SHOWN_FAILURES} failed jobs")
    state: Any = watch.run["state"]
    if watch.run.get("outside"):  # its outputs are where it ran, and so is whoever can go on with it
        return
    attempts = []
    with suppress(SnakewayError):  # they are only for hints
        attempts = client.attempts(watch.run["id"])
    if attempts:
        hint_at_names(attempts[-1])
    if state == "succeeded":
        output.hint(f"snakeway get {name}    bring its outputs here")
    elif state == "paused":
        hint_at_gates(name)
    elif state in {"failed", "cancelled"}:
        hint_at_rerun(watch.run, attempts)
