"""What an S3 server or the way to it has against a request, as errors of ours.

Only codes and statuses get into messages: what servers say at length can name access keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from snakeway.blobs.base import out_of_range
from snakeway.errors import BlobExists, BlobNotFound, BlobsRefused, BlobsUnavailable, SnakewayError
from snakeway.model.blob import S3Location

_NO_ANSWER = (
    boto.HTTPClientError,
    boto.EndpointConnectionError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    HTTPError,
)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
)
_LATER = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "TooManyRequests",
}
_CHECK_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what their owner may do there"
_ADVICE = {
    "RequestTimeTooSkewed": "set the clock of this machine",
    "PermanentRedirect": "set the bucket's region in SNAKEWAY_BLOBS_URL",
    "AuthorizationHeaderMalformed": "set the bucket's region in SNAKEWAY_BLOBS_URL",
    "EntityTooLarge": "the storage takes no objects of this size",
    "QuotaExceeded": "make room in the bucket, or raise its quota",
}
_TOO_MANY = 429
_SERVER_ERRORS = 500


@contextmanager
def explained(location: S3Location, key: str, *, first: int = 0) -> Iterator[None]:
    """Turn what botocore raises into errors of ours; ``key`` and ``first`` are what was asked for."""
    try:
        yield
    except boto.ClientError as error:
        raise _of_answer(location, key, first, error) from error
    except _NO_CREDENTIALS as error:
        raise BlobsRefused(
            f"there are no credentials for {location} ({type(error).__name__}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give this machine a role"
        ) from None
    except _NO_ANSWER as error:
        raise BlobsUnavailable(
            f"{location} does not answer ({type(error).__name__}); check that it runs and can be reached from here, "
            "then try again"
        ) from error


@contextmanager
def no_such_blob() -> Iterator[list[str]]:
    """Pass over the answer that there is nothing: then, and only then, the list that is given has a member."""
    missing: list[str] = []
    try:
        yield missing
    except boto.ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
            raise
        missing.append("nothing")


def _of_answer(location: S3Location, key: str, first: int, error: boto.ClientError) -> SnakewayError:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    match code:
        case "NoSuchKey":
            return BlobNotFound(f"there is no object {key} in {location}")
        case "PreconditionFailed" | "412":
            return blob_exists(key)
        case "InvalidRange" | "416":
            return out_of_range(key, first)
    return of_code(location, code, int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)))


def of_code(location: S3Location, code: str, status: int) -> SnakewayError:
    """Return the error for a code of S3 that has nothing to do with the object that was asked for."""
    if code == "NoSuchBucket":
        return no_bucket(location)
    if code in _LATER or status == _TOO_MANY or status >= _SERVER_ERRORS:
        return BlobsUnavailable(f"{location} says that it cannot serve now ({code}, status {status}); try again later")
    return BlobsRefused(f"{location} refuses ({code}, status {status}); {_ADVICE.get(code, _CHECK_KEYS)}")


def no_bucket(location: S3Location) -> BlobsRefused:
    """The error for a bucket that is not there."""
    return BlobsRefused(f"there is no {str(location).removeprefix('the ')}; make it, or correct SNAKEWAY_BLOBS_URL")


def blob_exists(key: str) -> BlobExists:
    """The error for an object that is there already."""
    return BlobExists(f"there is an object {key} already; it was left as it is")
