"""A receiver of webhooks: an HTTP server in the test process that can refuse, hang, redirect, or be away."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.support.server import free_port
from tests.support.waiting import wait_until

HANG = 0  # instead of a status: takes the message and says nothing until the receiver is closed


@dataclass(frozen=True)
class Message:
    """A request that arrived."""

    path: str
    headers: dict[str, str]  # names in lower case
    text: str
    answered: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    def verified(self, secret: str) -> Any:
        """Return the body if it is signed with ``secret``; raises standardwebhooks' WebhookVerificationError."""
        return Webhook(secret).verify(self.text, self.headers)


class Receiver:
    """Listens at ``url`` while it is open. ``statuses`` are the answers to come, one each; then 204 for ever.

    A receiver that is away keeps its address: ``open`` and ``close`` may alternate.
    """

    def __init__(self, *statuses: int) -> None:
        self.port = free_port()
        self.statuses = list(statuses)
        self.messages: list[Message] = []
        self.location = ""  # of redirects
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def open(self) -> "Receiver":
        self._closing.clear()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver", daemon=True).start()
        return self

    def close(self) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait_for(self, count: int, timeout_s: float = 30) -> list[Message]:
        """Wait until ``count`` messages have arrived, refused ones included; returns all that have."""

        def arrived() -> list[Message]:
            assert len(self.messages) >= count, [message.text for message in self.messages]
            return list(self.messages)

        return wait_until(arrived, timeout_s=timeout_s, what=f"{count} messages")

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        status = self.statuses.pop(0) if self.statuses else 204
        text = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.messages.append(Message(handler.path, headers, text, status))
        if status == HANG:
            self._closing.wait()
            return
        handler.send_response(status)
        if 300 <= status < 400:
            handler.send_header("Location", self.location)
        if status == 503:
            handler.send_header("Retry-After", "0")
        handler.send_header("Content-Length", "0")
        handler.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _handler(receiver: Receiver) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(ConnectionError):  # a server that was killed
                receiver.take(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """Give an open receiver."""
    receiver = Receiver(*statuses).open()
    try:
        yield receiver
    finally:
        receiver.close()
