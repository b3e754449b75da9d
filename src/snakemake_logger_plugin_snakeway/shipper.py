"""Sends the events of a run by hand to a server while the run goes on.

A thread of its own reads the file that the plugin writes, as any other reader would, so the run never waits for it. It
remembers nothing: the server says from which byte on it lacks the file. What is not sent by the end, because the server
was away, is left to ``snakeway import``.

Imported only when a server is named.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from snakeway.wire import ENV_TOKEN, ENV_URL, SHIPPED_LOG_BYTES, Complain, read_batch, read_end

LOOK_S = 1.0  # between two looks for new events; each request takes all there are
SIGN_OF_LIFE_S = 60.0  # without events: the server takes an attempt for lost that it hears nothing of
FIRST_PAUSE_S = 1.0  # after trouble; doubles up to the longest
LONGEST_PAUSE_S = 30.0
REQUEST_S = 10.0  # one request
FINISH_S = 5.0  # that the end of snakemake waits for the rest to be sent
BATCH_BYTES = 512 * 1024

_OK, _NO_CONTENT, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 200, 204, 409, 429, 500


class _Away(Exception):
    """The server does not answer, or not now; worth another try."""


class _Refused(Exception):
    """The server does not want the events, and will not want them later."""


class _Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Shipper:
    """Sends one attempt. Nothing here raises into the run; the first trouble is said on stderr."""

    def __init__(
        self, run_id: str, attempt_id: str, events: Path, log: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._events = events
        self._log = log
        self._server = _Server(environ.get(ENV_URL, ""), environ.get(ENV_TOKEN, ""), f"{run_id}/{attempt_id}")
        self._complain = Complain()
        self._ending = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snakeway-ship", daemon=True)
        self._offset: int | None = None  # None: to be asked
        self._batch_bytes = BATCH_BYTES
        self._spoke_at = monotonic()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self) -> None:
        """Send what is left, now that the last event is written; gives up after `FINISH_S`."""
        self._ending.set()
        self._thread.join(FINISH_S)
        if not self._done.is_set():
            self._complain(f"not all events have reached {self._server.shown}; {_LATER}")

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        try:
            while True:
                ending = self._ending.is_set()  # before the look: what is written before it is sent by this look
                try:
                    self._look(ending=ending)
                    pause, wait = FIRST_PAUSE_S, LOOK_S
                except _Away as error:
                    self._offset = None  # the last request may have arrived
                    self._complain(f"cannot send events to {self._server.shown}: {error}; {_LATER}")
                    pause, wait = min(2 * pause, LONGEST_PAUSE_S), pause
                    if ending:
                        return
                if ending:
                    self._done.set()
                    return
                self._ending.wait(wait)
        except _Refused as error:
            self._complain(f"{self._server.shown} does not record this run: {error}")
            self._done.set()  # there is nothing more to be said about it
        except Exception as error:  # noqa: BLE001  a bug of ours must not show as a traceback in somebody's run
            self._complain(f"cannot send events: {type(error).__name__}; {_LATER}")
            self._done.set()
        finally:
            self._server.close()

    def _look(self, *, ending: bool) -> None:
        """Send what is there; at the end also the log."""
        if self._offset is None:
            self._learn(self._server.ask("GET", ""))
        while True:
            offset = self._offset or 0
            data = read_batch(self._events, offset, self._batch_bytes)
            if not data and (ending or monotonic() - self._spoke_at < SIGN_OF_LIFE_S):
                break
            answer = self._server.ask("POST", f"/events?offset={offset}", data, "application/x-ndjson")
            self._learn(answer)
            if not data:
                break
            if self._offset == offset:
                raise _Away("it takes nothing of what it is sent")
        if ending and self._log is not None:
            self._server.ask("PUT", "/log", read_end(self._log, SHIPPED_LOG_BYTES), "text/plain")

    def _learn(self, answer: _Answer) -> None:
        """Go on where the server says, which may be behind or before the place that was thought of."""
        self._spoke_at = monotonic()
        offset, most = answer.body.get("offset"), answer.body.get("max_bytes", self._batch_bytes)
        if not isinstance(offset, int) or not isinstance(most, int):
            raise _Refused("its answer is not that of a Snakeway server")
        if offset > (self._events.stat().st_size if self._events.exists() else 0):
            raise _Refused("it has more events of this attempt than were written here")
        self._offset, self._batch_bytes = offset, min(BATCH_BYTES, max(1, most))


_LATER = "'snakeway import' sends them later"


class _Server:
    """Requests about one attempt, over one connection as long as it lasts."""

    def __init__(self, url: str, token: str, attempt: str) -> None:
        self._url: SplitResult = urlsplit(url.strip())
        self._token = token.strip()
        self._attempt = attempt
        self._connection: Any = None
        # What may be printed: a URL can carry a password.
        self.shown = f"{self._url.scheme}://{self._url.netloc.rpartition('@')[2]}{self._url.path}".rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None, media_type: str = "") -> _Answer:
        """Make a request; returns success and offset_conflict, raises _Away or _Refused for all else."""
        status, data = self._send(method, path, body, {"Content-Type": media_type} if media_type else {})
        found = _object(data)
        if status in (_OK, _NO_CONTENT) or (status == _CONFLICT and found.get("code") == "offset_conflict"):
            return _Answer(status, found)
        said = str(found.get("detail") or f"it answered {status}")
        raise (_Away if status >= _SERVER_ERROR or status == _TOO_MANY else _Refused)(said)

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        from http.client import HTTPException  # takes longer to import than all the rest of the plugin

        target = f"{self._url.path.rstrip('/')}/api/v1/outside/{self._attempt}{path}"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        while True:
            reused = self._connection is not None
            try:
                if self._connection is None:
                    self._connection = self._connect()
                self._connection.request(method, target, body, headers)
                response = self._connection.getresponse()
                return response.status, response.read()
            except (OSError, HTTPException) as error:
                self.close()
                # Servers close connections that are idle for some seconds; and any request may be sent twice.
                if not (reused and isinstance(error, ConnectionError)):
                    raise _Away(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error

    def _connect(self) -> Any:
        from http.client import HTTPConnection, HTTPSConnection

        kinds: dict[str, Callable[..., Any]] = {"http": HTTPConnection, "https": HTTPSConnection}
        try:
            host, port = self._url.hostname, self._url.port
        except ValueError:
            host, port = None, None
        if self._url.scheme not in kinds or not host:
            raise _Refused(f"{ENV_URL} must look like http://HOST:PORT")
        # Refused here, because the library would name the whole header, token included, in its error.
        if not (self._token.isascii() and self._token.isprintable() and " " not in self._token):
            raise _Refused(f"{ENV_TOKEN} has characters that a header cannot carry")
        return kinds[self._url.scheme](host, port, timeout=REQUEST_S)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
