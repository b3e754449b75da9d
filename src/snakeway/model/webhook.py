"""A webhook is an address that is told of changes of runs; this is what addresses and secrets have to look like."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from snakeway.errors import Invalid
from snakeway.model.run import RunState

MOST_OF_A_RUN = 4
LONGEST_URL = 2048
SECRET_PREFIX = "whsec_"  # noqa: S105  of the serialisation that the Standard Webhooks specification gives secrets

_SECRET_BYTES = range(24, 64 + 1)  # of the same specification
_PLAIN = re.compile(r"[!-\[\]-~]+", re.ASCII)  # printable, no blank, no backslash: all parsers read it alike
_AUTHORITY = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", re.ASCII)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Subscription:
    """An address of the server's own, and the states it wants to hear of; none named means all."""

    url: str
    states: frozenset[RunState] = frozenset()

    def wants(self, state: RunState) -> bool:
        """Whether it is to be told that a run is in ``state`` now."""
        return not self.states or state in self.states


def check_url(url: str) -> str:
    """Return ``url`` if a webhook can have it: http or https, a plain host, no user, no fragment; raises Invalid."""
    _split(url)
    return url


def check_run_urls(urls: Sequence[str], prefixes: Sequence[str]) -> None:
    """Raise Invalid unless a run may have these webhooks."""
    if len(urls) > MOST_OF_A_RUN:
        raise Invalid(f"a run has at most {MOST_OF_A_RUN} webhooks", field="webhooks")
    for url in urls:
        try:
            check_url(url)
        except Invalid as error:
            raise Invalid(error.detail, field="webhooks") from error
        if not is_allowed(url, prefixes):
            beginnings = ", ".join(prefixes) or "none: this server takes no webhooks with a run"
            raise Invalid(
                f"{shown(url)} is not an address that runs may notify; allowed beginnings are {beginnings}",
                field="webhooks",
            )


def is_allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether ``url`` lies below one of ``prefixes``: the same protocol, host and port, and its path or one below."""
    return any(_is_below(_split(url), _split(prefix)) for prefix in prefixes)


def _is_below(url: SplitResult, prefix: SplitResult) -> bool:
    if (url.scheme, url.hostname, _port(url)) != (prefix.scheme, prefix.hostname, _port(prefix)):
        return False
    if {".", ".."} & set(unquote(unquote(url.path)).split("/")):
        return False  # what the receiver makes of it is not ours to guess
    folder = prefix.path.rstrip("/")
    return url.path == folder or url.path.startswith(f"{folder}/")


def shown(url: str, *, whole: bool = False) -> str:
    """Return what may be shown of an address: its host, or all but its query. Many have a secret in what follows."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path if whole else ''}"


def check_secret(secret: str) -> str:
    """Return ``secret`` if it is written as the specification says; raises Invalid, which never repeats it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise Invalid(f"a secret of webhooks is {SECRET_PREFIX} and 24 to 64 random bytes in base64")
    return secret


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:  # a port that is none, brackets that do not match
        raise Invalid("a webhook's address is not a URL") from error
    if len(url) > LONGEST_URL or not _PLAIN.fullmatch(url):
        raise Invalid("a webhook's address is too long, or has characters that must be percent-encoded")
    if parts.scheme not in _PORTS or not _AUTHORITY.fullmatch(parts.netloc) or parts.fragment:
        raise Invalid("a webhook's address is http(s)://HOST[:PORT]/PATH, without a user and without a fragment")
    return parts


def _port(url: SplitResult) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port
