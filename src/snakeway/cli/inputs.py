"""Commands about inputs: upload files, list them, delete them."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakeway.cli import complete, options, output, times, values
from snakeway.cli.connect import connect
from snakeway.cli.output import Column
from snakeway.errors import Invalid

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from snakeway.client import Client, Input

_COLUMNS: list[Column["Input"]] = [
    Column("REFERENCE", lambda input_: input_["reference"], whole=True),
    Column("STATE", lambda input_: input_["state"], state=True),
    Column("SIZE", lambda input_: input_["size_bytes"], lambda input_: times.size(input_["size_bytes"]), right=True),
    Column("HERE", lambda input_: input_["offset"], lambda input_: _share(input_), right=True),
    Column("CREATED", lambda input_: input_["created_at"], lambda input_: times.ago(input_["created_at"]), whole=True),
    Column("NAME", lambda input_: input_["name"]),
]
_PLAIN: list[Column["Input"]] = [*_COLUMNS, Column("SHA256", lambda input_: input_["sha256"])]


def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files on this machine.", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What runs call it; the name of the file, if none is given."),
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Upload files for runs to use.

    Prints what stands for each in a configuration: input:ID, as in 'snakeway submit WORKFLOW -c samples=input:ID'. An
    upload that was broken off goes on where it was when the same file is uploaded again. A content that you have on the
    server already is not sent. When the output is not a terminal, the columns are: reference, file.
    """
    if name is not None and len(files) > 1:
        raise Invalid("one name cannot be that of several files; upload them one by one", field="--name")
    done = []
    with connect() as client:
        for file in files:
            found = send(client, file, name, shown=not quiet and not as_json)
            done.append(found)
            if not as_json:
                output.line(found["reference"], file)
    if as_json:
        output.document(done)


def inputs(
    rm: Annotated[
        list[str] | None,
        typer.Option(
            "--rm",
            metavar="INPUT",
            help="Delete this input, which no run may use, or give up this upload. Can be repeated.",
            autocompletion=complete.inputs,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List your uploaded files, and uploads that are not complete; or delete some.

    When the output is not a terminal, the columns are: reference, state, bytes, bytes on the server, created, name,
    sha256.
    """
    with connect() as client:
        if rm:
            for text in rm:
                client.inputs.remove(text.removeprefix("input:"))
                if not as_json:
                    output.line("removed", text)
            return
        found = client.inputs.each()
        if as_json:
            output.document(list(found))
        else:
            empty = "There are no inputs; 'snakeway upload FILE' makes one."
            output.table(_COLUMNS if output.is_terminal() else _PLAIN, found, empty=empty)


def pairs(assignments: list[str]) -> list[tuple[str, Path]]:
    """Read ``KEY=FILE`` pairs. Raises Invalid, and OSError for a file that is not there."""
    found = []
    for assignment in assignments:
        key, equals, file = assignment.partition("=")
        if not (key and equals and file):
            raise Invalid(f"{assignment!r} is not KEY=FILE, such as samples=./samples.csv", field="--input")
        values.config([f"{key}="], "--input")
        Path(file).stat()
        found.append((key, Path(file)))
    return found


def sent_for(client: "Client", files: list[tuple[str, Path]], *, shown: bool) -> dict[str, Any]:
    """Upload files; returns the configuration that refers to them by their keys."""
    references = [f"{key}={send(client, file, None, shown=shown)['reference']}" for key, file in files]
    return values.config(references, "--input")


def send(client: "Client", file: Path, name: str | None, *, shown: bool) -> "Input":
    """Upload one file, with a bar on a terminal; raises Invalid, OSError and what the client does."""
    # The same letters may be composed in two ways; macOS and Linux differ in which.
    called = unicodedata.normalize("NFC", file.name if name is None else name)
    try:
        with _bar(file, shown=shown) as bar:
            return client.inputs.upload(file, called, read=bar.read, sent=bar.sent)
    except KeyboardInterrupt:
        output.hint(f"{file} is not complete; the same command goes on where this one was")
        raise
    except Invalid as error:
        if error.field != "name":
            raise
        raise Invalid(f"{error.detail} with --name", field="--name") from error


def _share(input_: "Input") -> str:
    if input_["state"] == "complete":
        return ""
    return f"{100 * input_['offset'] // max(1, input_['size_bytes'])} %"


@dataclass(slots=True)
class _Bar:
    """Shows how far reading and sending are; nothing without a terminal."""

    progress: "Progress | None" = None
    task: "TaskID | None" = None

    def read(self, count: int) -> None:
        """So much of the file is known."""
        self._show("reading", count)

    def sent(self, count: int) -> None:
        """So much of the file has gone."""
        self._show("sending", count)

    def _show(self, what: str, count: int) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, description=what, completed=count)


@contextmanager
def _bar(file: Path, *, shown: bool) -> Iterator[_Bar]:
    if not (shown and output.is_terminal(stderr=True) and file.is_file()):
        yield _Bar()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=output.console(stderr=True), transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=file.stat().st_size))
