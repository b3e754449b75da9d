"""The way to AWS: region, keys or role, and endpoint are what AWS's own programs find in the environment."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from snakeway.targets.base import SchedulerAway

_CONNECT_S, _READ_S = 10, 60
_TRIES = 3
_making = threading.Lock()  # of clients, which boto3 can do in one thread at a time


def call(operation: str, **arguments: Any) -> Mapping[str, Any]:
    """Call an operation of AWS Batch. Raises SchedulerAway."""
    with understood(f"AWS Batch, {operation}"):
        method: Callable[..., Mapping[str, Any]] = getattr(client("batch"), operation)
        return method(**arguments)


def paged(operation: str, members: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what an operation of AWS Batch lists, page by page. Raises SchedulerAway."""
    token: dict[str, str] = {}
    while True:
        answer = call(operation, **arguments, **token)
        yield from answer[members]
        if not answer.get("nextToken"):
            return
        token = {"nextToken": answer["nextToken"]}


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Raise SchedulerAway for what AWS's library raises within."""
    from botocore.exceptions import BotoCoreError, ClientError  # a third of a second, only where it is used

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise SchedulerAway(f"{what}: {said.get('Code')}: {said.get('Message')}") from error
    except BotoCoreError as error:
        raise SchedulerAway(f"{what}: {error}") from error


def client(service: str) -> Any:
    """Return the client of a service; one for all threads."""
    with _making:
        return _made(service)


@cache
def _made(service: str) -> Any:
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": _TRIES}
    config = Config(retries=retries, connect_timeout=_CONNECT_S, read_timeout=_READ_S)
    return boto3.client(service, config=config)
