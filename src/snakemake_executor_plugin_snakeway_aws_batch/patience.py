"""Which errors of AWS are worth another try, and how long to wait before it."""

import random

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NotConnected

FAULTS = (BotoCoreError, ClientError)  # everything that a call raises
_THROTTLED = frozenset(
    {
        "TooManyRequestsException",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "SlowDown",
    }
)
_SERVER_FAULT = 500  # HTTP status from which on the fault is AWS's
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


def worth_another_try(error: Exception) -> str | None:
    """Return in a word why AWS does not accept a request for now; None if it never will."""
    if isinstance(error, ClientError):
        code, status = _code(error), _status(error)
        return code if code in _THROTTLED or status >= _SERVER_FAULT else None
    if isinstance(error, (NotConnected, HTTPClientError)) and not isinstance(error, SSLError):
        return type(error).__name__
    return None


def may_have_been_accepted(error: Exception) -> bool:
    """Whether AWS may have done what was asked all the same: what was lost may have been its answer."""
    if isinstance(error, ClientError):
        return _code(error) not in _THROTTLED
    return not isinstance(error, (EndpointConnectionError, ConnectTimeoutError))


def words(error: Exception) -> str:
    """Return what AWS said, without what botocore puts around it."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Message") or error)
    return str(error)


def pause_s(tries: int) -> float:
    """Return the time in seconds to wait after so many tries, never the same for everybody."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** max(0, tries - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311  spreads requests; nothing is kept secret by it


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
