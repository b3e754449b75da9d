"""Requests, and what can become of them: retries of what may be repeated, and every failure as one of our errors."""

import ipaddress
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

import httpx

from snakeway import __version__, errors
from snakeway.errors import Invalid, OffsetConflict, ServerUnreachable, SnakewayError, Unauthorized, Unavailable

API = "/api/v1"
_CONNECT_S = 5
_LAST_PORT = 65535
_BY_CODE = {cls.code: cls for cls in errors.every_error()}
_BY_STATUS: dict[int, type[SnakewayError]] = {
    400: Invalid,
    401: Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.BodyTooLarge,
    416: errors.RangeNotSatisfiable,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_SHOWN_CHARACTERS = 200
_ERRNO = re.compile(r"\[Errno -?\d+\] ")

Params = Mapping[str, str | int | list[str] | None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How a broken connection is taken up again: pauses that double up to a longest, for so long altogether."""

    first_s: float = 0.5
    longest_s: float = 10
    total_s: float = 300

    def pauses(self) -> Iterator[float]:
        """Yield the pauses between tries; ends when they add up to the total."""
        waited, pause = 0.0, self.first_s
        while waited < self.total_s:
            yield pause
            waited += pause
            pause = min(pause * 2, self.longest_s)


class Transport:
    """One server, one token."""

    def __init__(self, url: str, token: str | None, timeout_s: float, patience: Patience) -> None:
        self.patience = patience
        self._timeout_s = timeout_s
        base = _base_url(url)
        # What may be printed: a URL can carry a password.
        self.url = str(base.copy_with(username=None, password=None)).rstrip("/")
        headers = {"User-Agent": f"snakeway/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {_checked(token)}"
        self._elsewhere: httpx.Client | None = None
        self._http = httpx.Client(
            base_url=f"{str(base).rstrip('/')}{API}",
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            # Loading certificates takes longer than most requests; a http:// URL needs none (no redirect is followed).
            verify=base.scheme == "https",
            trust_env=not _is_loopback(base.host),  # a site's proxy cannot reach this machine's loopback
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content: bytes | BinaryIO | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        repeatable: bool = False,
        accept: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Send a request and return its answer, whose status is one of success or in ``accept``.

        A request whose connection breaks is sent again, three times in all, if it is a GET or ``repeatable``.
        """
        tries = 3 if method == "GET" or repeatable else 1
        request = self._http.build_request(
            method,
            path,
            params=_given(params),
            json=body,
            content=content,
            headers=headers,
            timeout=self._timeout(timeout_s),
        )
        while True:
            tries -= 1
            try:
                with self._explained():
                    response = self._http.send(request)
                break
            except Unavailable as error:
                if tries == 0 or not _broke(error):
                    raise
                time.sleep(self.patience.first_s)
        if not response.is_success and response.status_code not in accept:
            raise problem(response, self.url)
        return response

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Send a request as :meth:`send` does and return the JSON of its answer."""
        response = self.send(method, path, **options)
        try:
            return response.json()
        except ValueError as error:  # the login page of a proxy, for instance
            raise SnakewayError(_undetailed(response, self.url)) from error

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float | None = None,
        accept: tuple[int, ...] = (),
        media_type: str = "",
    ) -> Iterator[httpx.Response]:
        """GET whose body is read while it comes; no content coding is asked for, so that offsets are the file's."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        timeout = self._timeout(read_timeout_s)
        with (
            self._explained(),
            self._http.stream("GET", path, params=_given(params), headers=sent, timeout=timeout) as response,
        ):
            if not response.is_success and response.status_code not in accept:
                response.read()
                raise problem(response, self.url)
            if not response.headers.get("Content-Type", "").startswith(media_type):
                response.read()
                raise SnakewayError(_undetailed(response, self.url))
            yield response

    @contextmanager
    def stream_elsewhere(self, url: str, *, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """GET of what the server has sent us to. It is another server: it is sent ``headers``, and never the token.

        Raises Unavailable, also when it answers without success.
        """
        sent = {"Accept-Encoding": "identity", **headers}
        try:
            target = httpx.URL(url)
            if self._elsewhere is None:
                agent = {"User-Agent": f"snakeway/{__version__}"}
                self._elsewhere = httpx.Client(headers=agent, trust_env=not _is_loopback(target.host))
            with self._elsewhere.stream("GET", target, headers=sent, timeout=self._timeout(None)) as response:
                if not response.is_success:
                    raise Unavailable(f"the storage at {target.host} answered {response.status_code}")
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not what the library says of the URL: whoever knows that can get the file.
            raise Unavailable(f"the connection to the storage broke ({type(error).__name__})") from error

    def _timeout(self, read_s: float | None) -> httpx.Timeout:
        read_s = self._timeout_s if read_s is None else read_s
        return httpx.Timeout(read_s, connect=min(_CONNECT_S, self._timeout_s))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise ServerUnreachable(
                f"no server answers at {self.url} ({_reason(error)}): set SNAKEWAY_URL to the server's address, "
                "or start one with 'snakeway serve'"
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self.url} did not answer in time; the request may still be carried out") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the connection to {self.url} broke ({_reason(error)})") from error


def _broke(error: Unavailable) -> bool:
    """Whether the connection broke in the middle, so that a request which may be repeated is worth it."""
    broken = isinstance(error.__cause__, httpx.NetworkError | httpx.RemoteProtocolError)
    return broken and not isinstance(error, ServerUnreachable)


def problem(response: httpx.Response, url: str) -> SnakewayError:
    """Return the error that an answer means: by its code, else by its status."""
    try:
        body = response.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    code, detail, field = said.get("code"), said.get("detail") or said.get("title"), said.get("field")
    cls = _BY_CODE.get(code) if isinstance(code, str) else None
    if cls is None:
        cls = _BY_STATUS.get(response.status_code, SnakewayError)
    if not isinstance(detail, str):
        detail = _undetailed(response, url)
    if cls is Unauthorized:
        detail += "; put the server's token into SNAKEWAY_TOKEN"
    error = cls(detail, field=field if isinstance(field, str) else None)
    if isinstance(error, OffsetConflict) and isinstance(said.get("offset"), int):
        error.offset = said["offset"]
    return error


def _undetailed(response: httpx.Response, url: str) -> str:
    status = response.status_code
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
    text = "".join(c for c in response.text[:_SHOWN_CHARACTERS].partition("\n")[0] if c.isprintable()).strip()
    shown = f": {text}" if text and not text.startswith("<") else ""
    return f"{url} answered {status} ({phrase}){shown}; is SNAKEWAY_URL the address of a Snakeway server?"


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise Invalid(f"the server's address is not a URL: {error}", field="SNAKEWAY_URL") from error
    if url.scheme not in {"http", "https"} or not url.host or not 0 < (url.port or 1) <= _LAST_PORT:
        shown = url.copy_with(username=None, password=None)
        raise Invalid(f"the server's address must look like http://HOST:PORT, not {str(shown)!r}", field="SNAKEWAY_URL")
    return url.copy_with(query=None, fragment=None)


def _checked(token: str) -> str:
    # Refused here, because the HTTP library would name the whole header, token included, in its error.
    token = token.strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise Invalid("the token has characters that a header cannot carry", field="SNAKEWAY_TOKEN")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _given(params: Params | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _reason(error: Exception) -> str:
    return _ERRNO.sub("", str(error)).strip().rstrip(".") or type(error).__name__
