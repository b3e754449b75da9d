"""Objects in a bucket of Amazon S3 or of another service that speaks it, through botocore.

Credentials come from where botocore finds them: the environment, a profile, the role of the machine or container.
"""

import itertools
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from snakeway.blobs.base import (
    CHUNK_BYTES,
    Blob,
    Blobs,
    Chunks,
    Data,
    Measured,
    Written,
    check_expiry,
    out_of_range,
    part_of,
)
from snakeway.blobs.s3errors import blob_exists, explained, no_bucket, no_such_blob, of_code
from snakeway.errors import RangeNotSatisfiable
from snakeway.model.blob import S3Location, check_key, check_prefix

PART_BYTES = 8 * 1024 * 1024
_PARTS_OF_A_SIZE = 2_000  # then they are twice as large: 10,000 parts, which is all there may be, hold 484 GiB
_MOST_DELETED = 1_000  # by one request
_NEW_ONLY = {"IfNoneMatch": "*"}

_CONNECT_S = 3
_SILENCE_S = 20  # of a server in the middle of a request or an answer
_TRIES = 3


class S3Blobs(Blobs):
    """Object storage in a bucket, which must exist."""

    def __init__(self, location: S3Location, *, connect_s: float = _CONNECT_S, silence_s: float = _SILENCE_S) -> None:
        """Prepare without a connection. A request takes at most three tries, each with these limits."""
        self.location = location
        self._limits = connect_s, silence_s
        self._made: Any = None
        self._making = threading.Lock()
        self._bucket_seen = False

    def put(self, key: str, data: Data, *, only_new: bool = False) -> Written:
        where = {"Bucket": self.location.bucket, "Key": self._full(key)}
        measured = Measured(data)
        parts = _parts(measured)
        ahead = [next(parts)]
        if len(ahead[0]) == PART_BYTES:
            ahead += itertools.islice(parts, 1)
        if len(ahead) == 1:
            with explained(self.location, key):
                self._client().put_object(**where, Body=ahead[0], **(_NEW_ONLY if only_new else {}))
        else:
            if only_new and self.stat(key) is not None:  # not every server looks at the end of an upload in parts
                raise blob_exists(key)
            self._put_parts(key, where, itertools.chain(_taken(ahead), parts), only_new)
        return measured.written

    def _put_parts(self, key: str, where: dict[str, str], parts: Iterator[bytearray], only_new: bool) -> None:
        with explained(self.location, key):
            upload = {**where, "UploadId": self._client().create_multipart_upload(**where)["UploadId"]}
        done = []
        try:
            for number, part in enumerate(parts, 1):
                with explained(self.location, key):
                    answer = self._client().upload_part(**upload, PartNumber=number, Body=part)
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
                del part  # before the next one is made
            with explained(self.location, key):
                condition = _NEW_ONLY if only_new else {}
                self._client().complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, **condition)
        except BaseException:
            self._abort(upload)
            raise

    def _abort(self, upload: dict[str, str]) -> None:
        # What broke the upload is said, and not this: a rule of the bucket's life cycle removes what is left.
        with suppress(BotoCoreError, ClientError):
            self._client().abort_multipart_upload(**upload)

    def stream(self, key: str, *, first: int = 0, length: int | None = None) -> Chunks:
        if first < 0 or (length is not None and length < 1):
            raise out_of_range(key, first)
        try:
            answer = self._get(key, first, length)
        except RangeNotSatisfiable:
            if first:
                raise
            answer = self._get(key, 0, None)  # of an empty object no range is valid on S3
        total = answer.get("ContentRange", "").rpartition("/")[2]
        size = int(total) if total.isdigit() else answer["ContentLength"]
        blob = Blob(key, size, answer["LastModified"], answer["ETag"].strip('"'))
        body = answer["Body"]
        return Chunks(blob, part_of(blob, first, length), self._read(key, body), body.close)

    def _get(self, key: str, first: int, length: int | None) -> dict[str, Any]:
        last = "" if length is None else first + length - 1
        part = {} if first == 0 and length is None else {"Range": f"bytes={first}-{last}"}
        with explained(self.location, key, first=first):
            answer: dict[str, Any] = self._client().get_object(Bucket=self.location.bucket, Key=self._full(key), **part)
        return answer

    def _read(self, key: str, body: Any) -> Generator[bytes]:
        while True:
            with explained(self.location, key):
                chunk: bytes = body.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    def stat(self, key: str) -> Blob | None:
        full = self._full(key)
        with explained(self.location, key), no_such_blob() as missing:
            found = self._client().head_object(Bucket=self.location.bucket, Key=full)
        if missing:
            self._check_bucket(key)
            return None
        return Blob(key, found["ContentLength"], found["LastModified"], found["ETag"].strip('"'))

    def _check_bucket(self, key: str) -> None:
        """Raise BlobsRefused if there is no bucket: when only the head is asked for, that looks like no object."""
        if self._bucket_seen:
            return
        with explained(self.location, key), no_such_blob() as missing:
            self._client().head_bucket(Bucket=self.location.bucket)
        if missing:
            raise no_bucket(self.location)
        self._bucket_seen = True

    def list(self, prefix: str = "") -> Iterator[Blob]:
        begin = self.location.prefix
        pages = self._client().get_paginator("list_objects_v2")
        found = iter(pages.paginate(Bucket=self.location.bucket, Prefix=begin + check_prefix(prefix)))
        while True:
            with explained(self.location, prefix):
                page = next(found, None)
            if page is None:
                return
            for each in page.get("Contents", ()):
                key = each["Key"].removeprefix(begin)
                if key and not key.endswith("/"):  # other programs mark "folders" in this way
                    yield Blob(key, each["Size"], each["LastModified"], each["ETag"].strip('"'))

    def delete(self, keys: str | Iterable[str]) -> None:
        many = [keys] if isinstance(keys, str) else keys
        for batch in _batches(many, _MOST_DELETED):
            named = [{"Key": self._full(key)} for key in batch]
            with explained(self.location, batch[0]):
                answer = self._client().delete_objects(
                    Bucket=self.location.bucket, Delete={"Objects": named, "Quiet": True}
                )
            wrong = [each for each in answer.get("Errors", ()) if each.get("Code") != "NoSuchKey"]
            if wrong:
                raise of_code(self.location, wrong[0].get("Code", "unknown"), 403)

    def presigned_url(self, key: str, expires_s: int, download_name: str | None = None) -> str | None:
        what = {"Bucket": self.location.bucket, "Key": self._full(key)}
        if download_name is not None:
            what["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(download_name, safe='')}"
        with explained(self.location, key):
            url: str = self._client().generate_presigned_url("get_object", what, check_expiry(expires_s))
        return url

    def _full(self, key: str) -> str:
        return self.location.prefix + check_key(key)

    def _client(self) -> Any:
        """Return the client. It is made when it is first needed, and then shared: making one is not thread-safe."""
        with self._making:
            if self._made is None:
                with explained(self.location, ""):
                    self._made = self._make_client()
        return self._made

    def _make_client(self) -> Any:
        connect_s, silence_s = self._limits
        of_others = (
            self.location.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        )
        config = Config(
            connect_timeout=connect_s,
            read_timeout=silence_s,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=32,
            signature_version="s3v4",
            # Content is signed, so that what is damaged on its way is refused; other checksums not every server knows.
            s3={"payload_signing_enabled": True, "addressing_style": "path" if of_others else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session = botocore.session.get_session()
        region = self.location.region or session.get_config_variable("region") or "us-east-1"
        return session.create_client("s3", region_name=region, endpoint_url=self.location.endpoint, config=config)


def _parts(measured: Measured) -> Iterator[bytearray]:
    """Cut into parts of an upload; there is at least one, and only the last is smaller than it could be."""
    number = 0
    part = bytearray()
    for chunk in measured:
        size = PART_BYTES << (number // _PARTS_OF_A_SIZE)
        room = size - len(part)
        part += chunk[:room]
        if len(part) == size:
            yield part
            number += 1
            part = bytearray(chunk[room:])  # the sender may let go of the other
    if part or not number:
        yield part


def _taken(parts: list[bytearray]) -> Iterator[bytearray]:
    """Yield the members of a list and let go of them."""
    while parts:
        yield parts.pop(0)


def _batches(keys: Iterable[str], most: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == most:
            yield batch
            batch = []
    if batch:
        yield batch
