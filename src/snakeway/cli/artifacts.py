"""Commands about the outputs of a run: list them, bring them here."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from snakeway.cli import options, output, times
from snakeway.cli.connect import connect, run_id, short
from snakeway.cli.output import Column
from snakeway.errors import ArtifactNotFound, Invalid, SnakewayError
from snakeway.model.run import ACTIVE

if TYPE_CHECKING:
    from snakeway.client import Artifact, Client, Run

_COLUMNS: list[Column["Artifact"]] = [
    Column("PATH", lambda artifact: artifact["path"]),
    Column(
        "SIZE", lambda artifact: artifact["size_bytes"], lambda artifact: times.size(artifact["size_bytes"]), right=True
    ),
    Column("RULE", lambda artifact: artifact["rule"]),
    Column("ATTEMPT", lambda artifact: artifact["attempt"], right=True),
    Column("JOB", lambda artifact: artifact["job"], right=True),
    Column("CHANGED", lambda artifact: artifact["mtime"], lambda artifact: times.local(artifact["mtime"]), whole=True),
]
_KIND: Column["Artifact"] = Column("KIND", lambda artifact: artifact["kind"])
_SHOWN = [*_COLUMNS, _KIND]
_PLAIN: list[Column["Artifact"]] = [*_COLUMNS, Column("SHA256", lambda artifact: artifact["sha256"]), _KIND]
_STDOUT = Path("-")

Targets = Annotated[bool, typer.Option("--targets", help="Only what was asked for, not what was made on the way.")]


class Bar(Protocol):
    """Shows how far a download is."""

    def __call__(self, path: str, arrived: int, /) -> None: ...


def artifacts(run: options.RunArgument, targets: Targets = False, as_json: options.Json = False) -> None:
    """List the output files of a run.

    A file is of the kind target if it was asked for, and else intermediate. When the output is not a terminal, the
    columns are: path, bytes, rule, attempt, job, last change, sha256, kind.
    """
    with connect() as client:
        found = client.artifacts(run_id(client, run), _kind(targets))
        if as_json:
            output.document(list(found))
        else:
            output.table(_SHOWN if output.is_terminal() else _PLAIN, found, empty="The run has no outputs yet.")


def get(
    run: options.RunArgument,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files, folders, or patterns such as 'results/*.csv'; all outputs, if none is named.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to put them into; the short id of the run, if none is named."
        ),
    ] = None,
    targets: Targets = False,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FILE", help="One tar archive of all instead, into a file or to '-'."),
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Download output files of a run.

    They get their own paths below one folder. Each file is checked against its digest and appears under its name only
    when it is whole. What was there before under the same name is replaced; what is there already with the same
    content is left alone. A download that broke goes on where it was. When the output is not a terminal, the columns
    are: downloaded or present, file. With --archive all outputs come as one tar archive, which is made while it is sent
    and gets its name when it is whole.
    """
    if archive is not None:
        if paths or output_dir is not None:
            raise Invalid("an archive has all outputs: name no paths and no folder with it", field="--archive")
        _get_archive(run, archive, _kind(targets), quiet=quiet, as_json=as_json)
        return
    with connect() as client:
        id_ = run_id(client, run)
        chosen = choose(list(client.artifacts(id_, _kind(targets))), paths or [])
        folder = Path(short(id_)) if output_dir is None else output_dir
        places = [place(folder, artifact["path"]) for artifact in chosen]
        found = client.run(id_) if not chosen else None
        done = []
        with _bar(
            sum(artifact["size_bytes"] for artifact in chosen), shown=not quiet and not as_json and found is None
        ) as show:
            for artifact, file in zip(chosen, places, strict=True):
                state = _fetch(client, id_, artifact, file, show)
                done.append({"path": artifact["path"], "file": str(file), "state": state})
                if not quiet and not as_json:
                    output.line(state, file)
    if as_json:
        output.document(done)
    elif found is not None and not quiet:
        output.hint(_why_nothing(found))


def _kind(targets: bool) -> str | None:
    return "target" if targets else None


def _get_archive(run: str, file: Path, kind: str | None, *, quiet: bool, as_json: bool) -> None:
    if file == _STDOUT and output.is_terminal():
        raise Invalid("an archive is not for a terminal: name a file, or send it to a program", field="--archive")
    with connect() as client:
        chunks = client.archive(run_id(client, run), kind)
        if file == _STDOUT:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        size = _write_whole(file, chunks)
    if as_json:
        output.document({"file": str(file), "size_bytes": size})
    elif not quiet:
        output.line("downloaded", file)


def _write_whole(file: Path, chunks: Iterator[bytes]) -> int:
    """Write a file under another name until it is complete; returns its size in bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".snakeway-{secrets.token_hex(12)}.part")
    size = 0
    try:
        with part.open("xb") as growing:
            for chunk in chunks:
                size += growing.write(chunk)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return size


def _why_nothing(run: "Run") -> str:
    if run["outside"]:
        return f"The run was started by hand; its outputs are in {run['source'].get('directory')}."
    yet = " yet" if run["state"] in ACTIVE else ""
    return f"The run has no outputs{yet}; 'snakeway show {short(run['id'])}' tells how it stands."


def _fetch(client: "Client", id_: str, artifact: "Artifact", file: Path, show: Bar) -> str:
    path = artifact["path"]
    present = _is_present(file, artifact)
    if not present:
        client.download(id_, path, file, sha256=artifact["sha256"], progress=lambda arrived: show(path, arrived))
    show(path, artifact["size_bytes"])
    return "present" if present else "downloaded"


def choose(artifacts: "list[Artifact]", patterns: list[str]) -> "list[Artifact]":
    """Return the artifacts that ``patterns`` name: each by its path, a folder above it, or a pattern.

    Raises ArtifactNotFound for a pattern that names none.
    """
    if not patterns:
        return artifacts
    chosen = {}
    for pattern in patterns:
        wanted = pattern.removeprefix("./").rstrip("/")
        found = [
            a
            for a in artifacts
            if a["path"] == wanted or a["path"].startswith(f"{wanted}/") or fnmatchcase(a["path"], wanted)
        ]
        if not found:
            raise ArtifactNotFound(f"the run has no output {pattern!r}; 'snakeway artifacts' lists them")
        chosen.update({artifact["path"]: artifact for artifact in found})
    return list(chosen.values())


def place(folder: Path, path: str) -> Path:
    """Return where an artifact is put: below ``folder``, whatever the server calls it.

    Raises SnakewayError for a path that leads out of the folder: absolute, with '..', or through a link that is there.
    """
    parts = PurePosixPath(path).parts
    safe = bool(parts) and path.isprintable() and not path.startswith("/") and ".." not in parts
    if safe and folder.joinpath(*parts).resolve().is_relative_to(folder.resolve()):
        return folder.joinpath(*parts)
    raise SnakewayError(f"refusing to write {path!r}: it would not be below {folder}; nothing was downloaded")


def _is_present(file: Path, artifact: "Artifact") -> bool:
    from snakeway.client.files import is_file_of

    return file.is_file() and file.stat().st_size == artifact["size_bytes"] and is_file_of(file, artifact["sha256"])


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Bar]:
    """Show a bar on a terminal, beside the lines about finished files."""
    if not (shown and output.is_terminal() and output.is_terminal(stderr=True)):
        yield lambda _path, _arrived: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    here: dict[str, int] = {}

    def show(path: str, arrived: int) -> None:
        here[path] = arrived
        progress.update(task, completed=sum(here.values()))

    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield show
