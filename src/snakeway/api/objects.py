"""Answers with an object of a storage: by the address of its own for a while, or through this server."""

from collections.abc import Mapping

from litestar.response.base import ASGIResponse

from snakeway.api import files
from snakeway.api.body import ApiRequest
from snakeway.api.sources import ObjectSource, StreamResponse, let_go, pieces
from snakeway.blobs import Blob, Blobs


async def respond(
    request: ApiRequest, storage: Blobs, blob: Blob, media_type: str, *, etag: str | None, headers: Mapping[str, str]
) -> ASGIResponse:
    """Answer with an object through this server: whole, one range, or its headers.

    Raises BlobNotFound, BlobsUnavailable and BlobsRefused while there is no answer yet; what breaks later breaks the
    connection off.
    """
    common = files.headers_of(media_type, etag or f'"{blob.etag}"', headers)
    found = files.choose(request, common, blob.size_bytes)
    if isinstance(found, ASGIResponse):
        return found
    told = {**found.headers, "Content-Length": str(found.span[1])}
    if request.method == "HEAD" or not found.span[1]:
        return ASGIResponse(
            status_code=found.status, headers=told, media_type=media_type, is_head_response=request.method == "HEAD"
        )
    lane = request.transfer_lane
    source = await lane.run(ObjectSource.of, storage, blob, found.span)

    async def closed() -> None:
        let_go(lane, source.close)

    return StreamResponse(
        pieces(source, lane), closed, what=f"the object {blob.key}", status=found.status, headers=told
    )


def redirect(url: str) -> ASGIResponse:
    """Send the client to an address that works for anybody who knows it, and so is not to be kept."""
    return ASGIResponse(
        status_code=307,
        headers={"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
        media_type="text/plain",
    )
