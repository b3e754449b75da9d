"""What object storage had against a request, read off the exception that ended the workflow.

Snakemake's words are not enough. Of a request for the head of an object it tells the status only, so that a wrong key
looks like a bucket that somebody else owns; and a bucket that is not there looks like an input file that is missing.
So the storage is asked once more, in a way that it has to answer with a reason, and only when it ended the workflow.

Nothing of this is Snakemake's or the storage plugin's promise: what is not as expected is as if nothing were known.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_CONNECT_S, _SILENCE_S = 3, 5  # for the one question; nobody waits for a run that has failed already
_MOST_ERRORS = 50  # that are looked at: those raised while handling others, and those of groups
_MOST_FRAMES = 200
_CLIENTS = frozenset({"botocore", "boto3", "s3transfer"})
_STORED = re.compile(r"\bs3://(?P<bucket>[^/\s]*)/\S")
# Without the right to list, S3 says this of everything that is not there.
_SAYS_NOTHING_OF_MISSING = frozenset({"AccessDenied", "403"})
_LONGEST_TEXT = 300

_WRAPPERS = frozenset({"S3UploadFailedError", "RetriesExceededError"})  # the reason follows them in the chain

Told = dict[str, Any]


class _Answer(NamedTuple):
    """What S3, or its client, has against a request."""

    code: str  # S3's, the status where it told no code, or the class of the client's error; empty: nothing
    status: int | None


class Storage:
    """Knows what was asked: each bucket once, however many jobs fail for it."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, str], _Answer | None] = {}

    def told(self, error: BaseException | None, message: str) -> Told | None:
        """Return what S3 said, as the event ``error`` has it; None if storage has no part in ``error``."""
        if error is None:
            return None
        chain = list(_chain(error))
        place = next(_places(chain), None)
        answer = next(filter(None, map(_code, chain)), None)
        if place is not None and answer is not None:
            if answer.code.isdigit():  # to a request for a head, which has no room for more
                more = self._ask(*place)
                answer = more if more is not None and more.code else answer
            return _as_told(*place, answer)
        stored = _STORED.search(message) if type(error).__name__ == "MissingInputException" else None
        provider = next(_default_providers(chain), None) if stored is not None else None
        if stored is None or provider is None:
            return None
        found = self._ask(provider, stored["bucket"])
        if found is None or found.code in _SAYS_NOTHING_OF_MISSING:
            return None
        return _as_told(provider, stored["bucket"], found)

    def _ask(self, provider: Any, bucket: str) -> _Answer | None:
        what = id(provider), bucket
        if what not in self._asked:
            self._asked[what] = _ask(provider, bucket)
        return self._asked[what]


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_ERRORS:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions)
        waiting.extend(more for more in (each.__cause__, each.__context__) if more is not None)


def _code(error: BaseException) -> _Answer | None:
    """Return S3's code and status, or the name of the error of its client; None if the error is another's."""
    name = type(error).__name__
    if type(error).__module__.partition(".")[0] not in _CLIENTS or name in _WRAPPERS:
        return None
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return _Answer(name, None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return _Answer(str(response.get("Error", {}).get("Code", "unknown")), status if isinstance(status, int) else None)


def _frames(chain: list[BaseException]) -> Iterator[dict[str, Any]]:
    count = 0
    for error in chain:
        trace = error.__traceback__
        while trace is not None and count < _MOST_FRAMES:
            yield trace.tb_frame.f_locals
            trace, count = trace.tb_next, count + 1


def _places(chain: list[BaseException]) -> Iterator[tuple[Any, str]]:
    """Yield providers and buckets of the storage objects that somebody was busy with."""
    for names in _frames(chain):
        found = names.get("self")
        provider, bucket = getattr(found, "provider", None), getattr(found, "bucket", None)
        if hasattr(provider, "s3c") and isinstance(bucket, str):
            yield provider, bucket


def _default_providers(chain: list[BaseException]) -> Iterator[Any]:
    for names in _frames(chain):
        registry = getattr(names.get("self"), "storage_registry", None)
        provider = getattr(registry, "default_storage_provider", None)
        if hasattr(provider, "s3c"):
            yield provider


def _ask(provider: Any, bucket: str) -> _Answer | None:
    """List one object; returns what S3 says, an empty code if that works; None if it cannot be asked."""
    boto3 = sys.modules.get("boto3")  # the storage plugin's, which it is not our business to import
    if boto3 is None:
        return None
    settings, config = provider.settings, provider.s3c.meta.client.meta.config
    limits = {"connect_timeout": _CONNECT_S, "read_timeout": _SILENCE_S, "retries": {"total_max_attempts": 1}}
    try:
        client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            aws_session_token=settings.token,
            config=config.merge(type(config)(**limits)),
        )
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except Exception as error:  # noqa: BLE001  what it says is what was asked for
        return _code(error)
    return _Answer("", None)


def _as_told(provider: Any, bucket: str, answer: _Answer) -> Told:
    endpoint = _address(str(provider.s3c.meta.client.meta.endpoint_url))
    return {"endpoint": endpoint, "bucket": bucket[:_LONGEST_TEXT], **answer._asdict()}


def _address(url: str) -> str | None:
    """Return scheme, host and port of a URL: somebody may have put a password before the host."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"[:_LONGEST_TEXT] if parts.hostname else None
    except ValueError:
        return None
