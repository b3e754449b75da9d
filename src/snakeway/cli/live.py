"""The live view of a followed run: a bar, and a table of the jobs that run."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from snakeway.cli import output, times
from snakeway.cli.watch import Line, Watch
from snakeway.model.job import Job, JobState

if TYPE_CHECKING:
    from snakeway.client import StreamEvent

_REFRESHES_PER_S = 4
_LINES_BESIDE_JOBS = 5
_LONGEST_BAR = 40


class Screen:
    """Shows a watch while its block runs; its value takes each event's lines."""

    def __init__(self, watch: Watch, console: Console) -> None:
        self._watch = watch
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> "Screen":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, _event: "StreamEvent", lines: list[Line]) -> None:
        """Tell what is to stay on the screen; the rest is drawn."""
        for line in lines:
            if line.important:
                self._console.print(render_line(line))

    def _draw(self) -> RenderableType:
        return render(self._watch, self._console.width, self._console.height, time.time())


def render_line(line: Line) -> Text:
    """Return one thing that happened as a line above the table."""
    text = Text()
    text.append(f"{times.local(line.at)[11:]}  ", style="dim")
    text.append(f"{output.clean(line.subject)} ")
    text.append(line.state, style=output.state_style(line.state) or "bold")
    if line.text:
        text.append(f"  {output.clean(line.text)}")
    return text


def render(watch: Watch, width: int, height: int, now: float) -> RenderableType:
    """Return the picture of a watch."""
    return Group(_bar(watch, width), *_jobs(watch, height, now))


def _bar(watch: Watch, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    counts = f"{watch.done}/{watch.total} jobs" if watch.total else "no jobs yet"
    words = [Text(watch.run["state"], style=output.state_style(watch.run["state"])), Text(counts)]
    if watch.failed:
        words.append(Text(f"{watch.failed} failed", style="red"))
    if watch.attempt > 1:
        words.append(Text(f"attempt {watch.attempt}"))
    words.append(Text(times.took(watch.run), style="dim"))
    bar = ProgressBar(
        total=watch.total or 1,
        completed=watch.done,
        width=min(_LONGEST_BAR, max(10, width // 3)),
        complete_style="red" if watch.failed else "blue",
        finished_style="green",
    )
    grid.add_row(bar, *words)
    return grid


def _jobs(watch: Watch, height: int, now: float) -> Iterator[RenderableType]:
    active = watch.active()
    if not active:
        return
    room = max(1, height - _LINES_BESIDE_JOBS)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("JOB", "STATE", "RULE", "WILDCARDS", "FOR", "EXTERNAL ID"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for job in active[:room]:
        table.add_row(*_row(job, now))
    yield table
    if len(active) > room:
        yield Text(f"and {len(active) - room} more", style="dim")


def _row(job: Job, now: float) -> list[Text]:
    waiting = job.state is JobState.SUBMITTED
    since = (job.submitted_at if waiting else job.started_at) or now
    wildcards = ", ".join(f"{name}={value}" for name, value in job.wildcards.items())
    fields = [str(job.number), job.state.value, job.rule, wildcards, times.duration(now - since), job.external_id]
    return [
        Text(output.clean(text), style=output.state_style(job.state) if n == 1 else "") for n, text in enumerate(fields)
    ]
