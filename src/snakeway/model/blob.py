"""The rules of object storage: what may be a key, and where an installation keeps its objects."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from snakeway.errors import Invalid

# S3 allows 1024 bytes with the installation's prefix, file systems 255 for a name, with what a backend adds to it.
MOST_KEY_BYTES = 800
MOST_PART_BYTES = 200
MOST_PREFIX_BYTES = 200

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, and breaks of lines
_NOT_IN_XML = "\ufffe\uffff"  # S3 lists keys in XML


def check_key(key: str) -> str:
    """Return ``key`` if it can name an object on every backend; raises Invalid otherwise.

    A key is relative, has parts between single slashes, none of them ``.`` or ``..``, and no control characters. It
    has at most `MOST_KEY_BYTES` in UTF-8, and each part at most `MOST_PART_BYTES`.
    """
    _check_text(key, "key", MOST_KEY_BYTES)
    for part in key.split("/"):
        if part in ("", ".", ".."):
            raise Invalid(f"{_shown(key)} cannot be a key: its part {part!r} is no name", field="key")
        if len(part.encode()) > MOST_PART_BYTES:
            raise Invalid(f"{_shown(key)} cannot be a key: a part is longer than {MOST_PART_BYTES} bytes", field="key")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys can begin with it, as text: empty, or a key with or without its end."""
    if prefix.endswith("/"):
        check_key(prefix[:-1])
    elif prefix:
        check_key(re.sub(r"(^|/)\.{1,2}$", r"\1x", prefix))  # "a/." may go on as "a/.b"
    return prefix


def _check_text(text: str, noun: str, most_bytes: int) -> None:
    if not text:
        raise Invalid(f"a {noun} cannot be empty", field=noun)
    if any(unicodedata.category(each) in _INVISIBLE or each in _NOT_IN_XML for each in text):
        raise Invalid(f"{_shown(text)} cannot be a {noun}: it has characters that cannot be seen", field=noun)
    if len(text.encode()) > most_bytes:
        raise Invalid(f"{_shown(text)} cannot be a {noun}: it is longer than {most_bytes} bytes", field=noun)


def _shown(text: str) -> str:
    return ascii(text[:100])


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """Objects are files below a folder of this machine, or of a file system that all machines share."""

    folder: Path

    def __str__(self) -> str:
        return f"the folder {self.folder}"


@dataclass(frozen=True, slots=True)
class S3Location:
    """Objects are in a bucket of a service that speaks S3; ``prefix`` is empty or ends with a slash."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None  # None is Amazon's
    region: str | None = None  # None is what the environment says

    def __str__(self) -> str:
        return f"the bucket {self.bucket} at {self.endpoint or 'Amazon S3'}"


BlobsLocation = FolderLocation | S3Location


def location_of(url: str) -> BlobsLocation:
    """Read ``file:///FOLDER`` or ``s3://BUCKET/PREFIX?endpoint=URL&region=NAME``; raises Invalid.

    The message never repeats the URL: somebody may have put a password into it.
    """
    try:
        parts = urlsplit(url)
        user = parts.username
    except ValueError as error:
        raise Invalid("this is not a URL") from error
    if user is not None or "@" in parts.netloc:
        raise Invalid("credentials do not belong into this URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    match parts.scheme:
        case "file":
            return _folder(parts.netloc, unquote(parts.path), parts.query + parts.fragment)
        case "s3":
            if parts.fragment:
                raise Invalid("an s3 URL has no part behind a #; write it as %23")
            return _s3(parts.netloc, unquote(parts.path), parts.query)
    raise Invalid("this URL must begin with file:/// or s3://")


def _folder(host: str, path: str, rest: str) -> FolderLocation:
    if host not in ("", "localhost") or not path.startswith("/") or rest:
        raise Invalid("a file URL is file:// and an absolute path, with three slashes in all")
    return FolderLocation(Path(path))


def _s3(bucket: str, path: str, query: str) -> S3Location:
    if _BUCKET.fullmatch(bucket) is None:
        raise Invalid("an s3 URL names a bucket: s3://BUCKET/PREFIX")
    prefix = path.strip("/")
    if prefix:
        check_key(prefix)
        if len(prefix.encode()) > MOST_PREFIX_BYTES:
            raise Invalid(f"the prefix is longer than {MOST_PREFIX_BYTES} bytes")
        prefix += "/"
    options = dict(parse_qsl(query, keep_blank_values=True))
    endpoint = options.pop("endpoint", None)
    region = options.pop("region", None)
    if options or region == "":
        raise Invalid("an s3 URL takes the options endpoint and region, and no others")
    return S3Location(bucket, prefix, None if endpoint is None else _endpoint(endpoint), region)


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Invalid("the endpoint must look like http://HOST:PORT")
    if "@" in parts.netloc:
        raise Invalid("credentials do not belong into the endpoint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Invalid("the endpoint has no path: the bucket is in front of the ?")
    return f"{parts.scheme}://{parts.netloc}"
