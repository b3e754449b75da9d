"""All outputs of a run over HTTP, as one archive that is made while it is sent."""

import tarfile
from collections.abc import AsyncGenerator
from pathlib import PurePosixPath
from typing import Annotated

from litestar import Controller, route
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from snakeway import errors
from snakeway.api import files
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer, with_head
from snakeway.api.problems import documented
from snakeway.api.shared import RunId, TheReads
from snakeway.api.sources import FileSource, ObjectSource, Source, StreamResponse, let_go, pieces
from snakeway.errors import ArtifactNotFound
from snakeway.model.artifact import Kind
from snakeway.model.user import User
from snakeway.rows import ArtifactRow
from snakeway.service import Reads
from snakeway.service.reads import lost

_MEDIA_TYPE = "application/x-tar"
_YET = ", or they are not collected yet: that is done when an attempt has ended"
_END = b"\0" * 2 * tarfile.BLOCKSIZE

KindFilter = Annotated[
    Kind | None,
    QueryParameter(description="Only outputs that were asked for (`target`), or only the others (`intermediate`)."),
]


class ArchiveController(Controller):
    """Output files of a run, all at once."""

    path = "/runs/{run_id:str}/archive"
    tags = ("artifacts",)

    @route(
        "/",
        http_method=["GET", "HEAD"],
        operation_id=with_head("get_archive"),
        summary="Get all output files of a run",
        media_type=_MEDIA_TYPE,
        responses={
            200: answer(
                bytes, "the bytes of the archive", "A tar archive (pax), members in order of their paths.", _MEDIA_TYPE
            ),
            **documented(errors.RunNotFound, ArtifactNotFound, errors.BlobsUnavailable, errors.BlobsRefused),
        },
    )
    async def archive(
        self, request: ApiRequest, reads: TheReads, run_id: RunId, kind: KindFilter = None
    ) -> ASGIResponse:
        """One archive of the outputs, wherever they lie, made while it is sent.

        A file that vanishes or becomes shorter meanwhile breaks the connection off: an archive that ends is complete.
        """
        lane = request.transfer_lane
        user = request.user
        await lane.run(reads.run, user, run_id)
        headers = {
            "Cache-Control": "private, no-store",
            "Content-Disposition": f'attachment; filename="{run_id}.tar"',
            "Content-Security-Policy": files.POLICY,
            "Content-Type": _MEDIA_TYPE,
        }
        if request.method == "HEAD":
            return ASGIResponse(headers=headers, media_type=_MEDIA_TYPE, is_head_response=True)
        opened: list[Source] = []
        made = _tar(request, reads, user, run_id, kind, opened)
        try:
            first = await anext(made)  # what is wrong from the beginning is answered with a problem
        except BaseException:
            await made.aclose()
            raise

        async def closed() -> None:
            await made.aclose()
            for source in opened:
                let_go(lane, source.close)

        return StreamResponse(
            _with_first(first, made), closed, what=f"the archive of run {run_id}", status=200, headers=headers
        )


async def _with_first(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in rest:
        yield chunk


async def _tar(
    request: ApiRequest, reads: Reads, user: User, run_id: str, kind: Kind | None, opened: list[Source]
) -> AsyncGenerator[bytes, None]:
    """Yield the archive. ``opened`` holds the source that is being sent, for whoever has to close it."""
    lane = request.transfer_lane
    path: str | None = None
    while rows := await lane.run(reads.artifacts_after, user, run_id, kind, path):
        for row in rows:
            source = await lane.run(_open, reads, row)
            if source is not None:
                opened.append(source)
            yield _header(row, source)
            if source is not None:
                async for chunk in pieces(source, lane):
                    yield chunk
                yield b"\0" * (-source.size_bytes % tarfile.BLOCKSIZE)
                opened.clear()
        path = rows[-1].path
    if path is None:
        raise ArtifactNotFound(f"run {run_id} has no such outputs{_YET}")
    yield _END


def _open(reads: Reads, row: ArtifactRow) -> Source | None:
    """Open an output; None for an empty object. Raises ArtifactNotFound, BlobsUnavailable, BlobsRefused."""
    storage = reads.artifact_storage(row)
    if storage is None:
        return FileSource(files.OpenFile(reads.artifact_file(row), lost(row), reads.directory(row.run_id).path))
    blob = storage.stat(row.path)
    if blob is None:
        raise lost(row)
    return ObjectSource.of(storage, blob, (0, blob.size_bytes)) if blob.size_bytes else None


def _header(row: ArtifactRow, source: Source | None) -> bytes:
    """Return the header of a member. Its name is relative and stays below the folder that it is unpacked in."""
    parts = PurePosixPath(row.path).parts
    if not parts or row.path.startswith("/") or ".." in parts:
        raise ArtifactNotFound(f"run {row.run_id} has an output whose name leads elsewhere: {row.path!r}")
    info = tarfile.TarInfo(row.path)
    info.size, info.mtime = (0, int(row.mtime)) if source is None else (source.size_bytes, source.mtime)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
