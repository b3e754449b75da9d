"""What S3, or the way to it, has against a request, in words that say where and what to do.

The codes are those of S3's reference and of Ceph's gateway, and the names of botocore's exceptions. Of what servers
say at length nothing is repeated: it can name access keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snakeway.model.failure import FailureKind

PREFIX_VARIABLE = "SNAKEMAKE_S3_PREFIX"  # read by the profiles whose files are in a bucket
_FORM = "must look like s3://BUCKET/PREFIX"

_NO_ANSWER = {
    "EndpointConnectionError": "nothing answers",
    "ConnectionError": "nothing answers",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "ConnectionClosedError": "the connection was cut",
    "IncompleteReadError": "the answer broke off",
    "ResponseStreamingError": "the answer broke off",
    "HTTPClientError": "no connection",
    "ProxyConnectionError": "the proxy cannot be reached",
    "SSLError": "its certificate is not trusted here",
}
_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "MetadataRetrievalError",
    }
)
_LATER = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "TooManyRequests"}
)
_TOO_MANY, _SERVER_ERRORS = 429, 500
_NOT_A_BUCKET = frozenset({"InvalidBucketName", "ParamValidationError"})
_REFUSED: Mapping[str, tuple[str, str]] = {
    "SignatureDoesNotMatch": (
        "the secret key is not the one of the access key",
        "correct AWS_SECRET_ACCESS_KEY",
    ),
    "InvalidAccessKeyId": ("it does not know the access key", "correct AWS_ACCESS_KEY_ID"),
    "ExpiredToken": ("the credentials have expired", "get new ones"),
    "InvalidToken": ("the session token is not valid", "correct AWS_SESSION_TOKEN, or unset it"),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set it, best by NTP"),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", "correct SNAKEMAKE_STORAGE_S3_REGION"),
    "PermanentRedirect": ("the bucket is in another region", "correct SNAKEMAKE_STORAGE_S3_REGION"),
    "301": ("the bucket is in another region", "correct SNAKEMAKE_STORAGE_S3_REGION"),
    "QuotaExceeded": ("its quota is used up", "make room, or have it raised"),
}
_MAY_NOT = ("the owner of the credentials may not do this", "have the bucket's policy, or that of the role, allow it")


@dataclass(frozen=True, slots=True)
class StorageTrouble:
    """What went wrong with a bucket. The code is S3's, or the name of the exception of its client."""

    code: str
    status: int | None = None
    bucket: str | None = None
    endpoint: str | None = None  # None: not known

    @classmethod
    def from_json(cls, told: Any) -> "StorageTrouble | None":
        """Read the member ``storage`` of an event; None if there is none, or it is not what it should be."""
        if not isinstance(told, dict) or not isinstance(told.get("code"), str):
            return None
        texts = {name: told[name] for name in ("bucket", "endpoint") if isinstance(told.get(name), str)}
        status = told.get("status")
        return cls(told["code"], status if isinstance(status, int) else None, **texts)

    @property
    def nothing(self) -> bool:
        """Whether the storage was asked and is well: what is missing in it is not there."""
        return not self.code

    @property
    def where(self) -> str:
        """The bucket and its server, as far as they are known."""
        return f"the bucket {self.bucket or '(unknown)'} at {self._server}"

    @property
    def _server(self) -> str:
        return self.endpoint or "the endpoint that AWS's configuration names"

    def judge(self) -> tuple[FailureKind, str]:
        """Return the kind of failure, and in one sentence what is wrong and what to do."""
        code = self.code
        if code in _NO_ANSWER:
            return (
                FailureKind.STORAGE_UNREACHABLE,
                f"Object storage does not answer: {_NO_ANSWER[code]} at {self._server}, asked for the bucket "
                f"{self.bucket or '(unknown)'} ({code}); check that it runs, that the address is right "
                "(AWS_ENDPOINT_URL) and that this machine reaches it, then run it again",
            )
        if code in _LATER or self.status == _TOO_MANY or (self.status or 0) >= _SERVER_ERRORS:
            return (
                FailureKind.STORAGE_UNREACHABLE,
                f"Object storage cannot serve {self.where} now ({self._said}); run it again later",
            )
        return FailureKind.STORAGE_REFUSED, self._refused()

    def _refused(self) -> str:
        code = self.code
        if code in _NO_CREDENTIALS:
            return (
                f"There are no credentials for {self.where} ({code}): set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY where snakemake is started, or give that machine a role"
            )
        if code == "NoSuchBucket":
            return f"There is no {self.where.removeprefix('the ')}: make it, or correct {PREFIX_VARIABLE}"
        if code in _NOT_A_BUCKET:
            return f"{self.bucket!r} cannot be the name of a bucket: {PREFIX_VARIABLE} {_FORM}"
        why, advice = _REFUSED.get(code, _MAY_NOT)
        return f"Object storage refuses the access to {self.where}: {why} ({self._said}); {advice}"

    @property
    def _said(self) -> str:
        """The code; with the status, unless one is the other."""
        return self.code if self.status is None or self.code == str(self.status) else f"{self.code}, {self.status}"


def wrong_prefix(prefix: str) -> str:
    """Say in one sentence what is wrong with a prefix that Snakemake's S3 plugin does not take."""
    if prefix.startswith("$"):
        return (
            f"No place for files is named: set {PREFIX_VARIABLE} where snakemake is started, for a server in its "
            "environment, such as s3://BUCKET/PREFIX"
        )
    return f"The place for files, {prefix!r}, is not in a bucket: {PREFIX_VARIABLE} {_FORM}"
