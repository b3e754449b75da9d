"""Artifacts over HTTP: the list of a run's output files, and each of them."""

import base64
import mimetypes
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from litestar import Controller, get, route
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api import files
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, with_head
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, Cursor, Limit
from snakeway.api.shared import EXAMPLE_TIME, RunId, TheReads
from snakeway.api.times import moment
from snakeway.errors import ArtifactNotFound
from snakeway.rows import ArtifactRow

_TYPES = mimetypes.MimeTypes()  # only what Python knows, so that machines do not differ
_UNKNOWN_TYPE = "application/octet-stream"


class Artifact(Struct, frozen=True):
    """An output file of a run."""

    path: Annotated[str, Meta(description="Relative to the run's directory.")]
    size_bytes: int
    mtime: Annotated[datetime | None, Meta(description="When it was last changed.")]
    sha256: Annotated[str | None, Meta(description="64 hexadecimal digits; null until computed.")]
    rule: Annotated[str, Meta(description="The rule that made it.")]
    attempt: Annotated[int | None, Meta(description="Number of the attempt that made it.")]
    job: Annotated[int, Meta(description="Number of the job that made it.")]

    @classmethod
    def of(cls, row: ArtifactRow, attempt: int | None) -> "Artifact":
        """Make the one shape of an artifact."""
        return cls(row.path, row.size_bytes, moment(row.mtime), row.sha256, row.rule, attempt, row.job_number)


class ArtifactPage(Struct, frozen=True):
    """Artifacts by path."""

    items: list[Artifact]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = Artifact(
    path="results/summary.tsv",
    size_bytes=2048,
    mtime=EXAMPLE_TIME,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    rule="summarise",
    attempt=1,
    job=7,
)


class ArtifactController(Controller):
    """Output files of a run."""

    path = "/runs/{run_id:str}/artifacts"
    tags = ("artifacts",)

    @get(
        sync_to_thread=True,
        operation_id="list_artifacts",
        summary="List a run's output files",
        responses={
            200: answer(ArtifactPage, ArtifactPage([EXAMPLE], next=None)),
            **documented(errors.RunNotFound, errors.InvalidCursor),
        },
    )
    def list_(
        self, request: ApiRequest, reads: TheReads, run_id: RunId, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> ArtifactPage:
        """The files that the run's jobs have made, by path."""
        page = reads.artifacts(request.user, run_id, cursor, limit)
        numbers = {row.id: row.number for row in reads.attempts(request.user, run_id)} if page.items else {}
        return ArtifactPage([Artifact.of(row, numbers.get(row.attempt_id)) for row in page.items], page.next)

    @route(
        "/{artifact:path}",
        http_method=["GET", "HEAD"],
        sync_to_thread=True,
        operation_id=with_head("get_artifact"),
        summary="Get an output file",
        media_type=_UNKNOWN_TYPE,
        responses={
            200: answer(bytes, None, "The file. Repr-Digest has its SHA-256, if known.", _UNKNOWN_TYPE),
            206: answer(bytes, None, "The range that was asked for.", _UNKNOWN_TYPE),
            304: answer(None, None, "The file is as If-None-Match knows it."),
            **documented(errors.RunNotFound, ArtifactNotFound, errors.RangeNotSatisfiable),
        },
    )
    def one(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        artifact: Annotated[Path, PathParameter(description="Path of the artifact.")],
    ) -> ASGIResponse:
        """The file itself, always as an attachment."""
        name = str(artifact).removeprefix("/")
        if "\0" in name:  # Postgres would refuse to look for it
            raise ArtifactNotFound(f"run {run_id} has no output {name!r}")
        row, path = reads.artifact(request.user, run_id, name)
        missing = ArtifactNotFound(f"run {run_id} has lost its output {row.path!r}")
        file = files.OpenFile(path, missing, reads.directory(run_id).path)
        headers = {"Content-Disposition": _attachment(row.path)}
        etag = None
        if (
            row.sha256 is not None
            and row.size_bytes == file.size
            and abs(row.mtime - file.mtime_ns / 1e9) < _SAME_TIME_S
        ):
            # Else the file was changed after its digest was taken.
            etag = f'"{row.sha256}"'
            headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(row.sha256)).decode()}:"
        return files.respond(request, file, _media_type(row.path), etag=etag, headers=headers)


_SAME_TIME_S = 1e-4  # what is lost when nanoseconds become a float, and more


def _media_type(path: str) -> str:
    media_type, encoding = _TYPES.guess_type(path)
    return _UNKNOWN_TYPE if media_type is None or encoding is not None else media_type


def _attachment(path: str) -> str:
    """Return a Content-Disposition with the file's own name, the odd one for old clients with plain letters only."""
    name = path.rsplit("/", 1)[-1]
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
