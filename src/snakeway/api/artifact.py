"""Artifacts over HTTP: the list of a run's output files, and each of them."""

import base64
import mimetypes
from asyncio import to_thread
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from litestar import Controller, get, route
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from msgspec import Meta, Struct

from snakeway import errors
from snakeway.api import files, objects
from snakeway.api.archive import KindFilter
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, with_head
from snakeway.api.problems import documented
from snakeway.api.query import DEFAULT_LIMIT, Cursor, Limit
from snakeway.api.shared import EXAMPLE_TIME, RunId, TheReads
from snakeway.api.times import moment
from snakeway.errors import ArtifactNotFound, BlobNotFound
from snakeway.model.artifact import Kind
from snakeway.rows import ArtifactRow
from snakeway.service import Reads
from snakeway.service.reads import lost

_TYPES = mimetypes.MimeTypes()  # only what Python knows, so that machines do not differ
_UNKNOWN_TYPE = "application/octet-stream"

Redirect = Annotated[
    bool, QueryParameter(description="Whether the answer may be an address in a storage; false: only the file itself.")
]


class Artifact(Struct, frozen=True):
    """An output file of a run."""

    path: Annotated[str, Meta(description="Relative to the run's directory, or to its place in the target's storage.")]
    kind: Annotated[Kind, Meta(description="`target` if it was asked for, `intermediate` if it was made on the way.")]
    size_bytes: int
    mtime: Annotated[datetime | None, Meta(description="When it was last changed.")]
    sha256: Annotated[str | None, Meta(description="64 hexadecimal digits; null until computed.")]
    rule: Annotated[str, Meta(description="The rule that made it.")]
    attempt: Annotated[int | None, Meta(description="Number of the attempt that made it.")]
    job: Annotated[int, Meta(description="Number of the job that made it.")]

    @classmethod
    def of(cls, row: ArtifactRow, attempt: int | None) -> "Artifact":
        """Make the one shape of an artifact."""
        return cls(row.path, row.kind, row.size_bytes, moment(row.mtime), row.sha256, row.rule, attempt, row.job_number)


class ArtifactPage(Struct, frozen=True):
    """Artifacts by path."""

    items: list[Artifact]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")]


EXAMPLE = Artifact(
    path="results/summary.tsv",
    kind=Kind.TARGET,
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
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        kind: KindFilter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> ArtifactPage:
        """The files that the run's jobs have made, by path."""
        page = reads.artifacts(request.user, run_id, kind, cursor, limit)
        numbers = {row.id: row.number for row in reads.attempts(request.user, run_id)} if page.items else {}
        return ArtifactPage([Artifact.of(row, numbers.get(row.attempt_id)) for row in page.items], page.next)

    @route(
        "/{artifact:path}",
        http_method=["GET", "HEAD"],
        operation_id=with_head("get_artifact"),
        summary="Get an output file",
        media_type=_UNKNOWN_TYPE,
        responses={
            200: answer(bytes, None, "The file. Repr-Digest has its SHA-256, if known.", _UNKNOWN_TYPE),
            206: answer(bytes, None, "The range that was asked for.", _UNKNOWN_TYPE),
            304: answer(None, None, "The file is as If-None-Match knows it."),
            307: answer(None, None, "Location has the file, for a while, and needs no token."),
            **documented(
                errors.RunNotFound,
                ArtifactNotFound,
                errors.RangeNotSatisfiable,
                errors.BlobsUnavailable,
                errors.BlobsRefused,
            ),
        },
    )
    async def one(
        self,
        request: ApiRequest,
        reads: TheReads,
        run_id: RunId,
        artifact: Annotated[Path, PathParameter(description="Path of the artifact.")],
        redirect: Redirect = True,
    ) -> ASGIResponse:
        """The file itself, always as an attachment.

        Of a file that lies in a storage the answer is the address of its content there, which works for a while; with
        `redirect=false` it comes through this server, as a file in the run's directory does.
        """
        name = str(artifact).removeprefix("/")
        if "\0" in name:  # Postgres would refuse to look for it
            raise ArtifactNotFound(f"run {run_id} has no output {name!r}")
        row = await to_thread(reads.artifact, request.user, run_id, name)
        storage = reads.artifact_storage(row)
        if storage is None:
            return await to_thread(_from_directory, request, reads, row)
        blob = await request.transfer_lane.run(storage.stat, row.path)
        if blob is None:
            raise lost(row)
        if redirect and request.method == "GET":
            name = row.path.rpartition("/")[2]
            url = await request.transfer_lane.run(storage.presigned_url, row.path, reads.presigned_expiry_s, name)
            if url is not None:
                return objects.redirect(url)
        etag, headers = _described(row, same=row.etag == blob.etag)
        try:
            return await objects.respond(request, storage, blob, _media_type(row.path), etag=etag, headers=headers)
        except BlobNotFound as error:
            raise lost(row) from error


def _from_directory(request: ApiRequest, reads: Reads, row: ArtifactRow) -> ASGIResponse:
    file = files.OpenFile(reads.artifact_file(row), lost(row), reads.directory(row.run_id).path)
    same = row.size_bytes == file.size and abs(row.mtime - file.mtime_ns / 1e9) < _SAME_TIME_S
    etag, headers = _described(row, same=same)
    return files.respond(request, file, _media_type(row.path), etag=etag, headers=headers)


def _described(row: ArtifactRow, *, same: bool) -> tuple[str | None, dict[str, str]]:
    """Return tag and headers of a file; ``same``: it was not changed after its digest was taken."""
    headers = {"Content-Disposition": _attachment(row.path)}
    if row.sha256 is None or not same:
        return None, headers
    headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(row.sha256)).decode()}:"
    return f'"{row.sha256}"', headers


_SAME_TIME_S = 1e-4  # what is lost when nanoseconds become a float, and more


def _media_type(path: str) -> str:
    media_type, encoding = _TYPES.guess_type(path)
    return _UNKNOWN_TYPE if media_type is None or encoding is not None else media_type


def _attachment(path: str) -> str:
    """Return a Content-Disposition with the file's own name, the odd one for old clients with plain letters only."""
    name = path.rsplit("/", 1)[-1]
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
