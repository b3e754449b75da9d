"""A stand-in for the server: real HTTP, answers as told, connections that break where a test wants it."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

API = "/api/v1"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: Any


Reply = Callable[["Handler"], None]


@dataclass
class StandIn:
    """``on`` says what to answer; of several replies each is given once, the last one from then on."""

    url: str
    requests: list[Request] = field(default_factory=list)
    replies: dict[tuple[str, str], list[Reply]] = field(default_factory=lambda: defaultdict(list))

    def on(self, method: str, path: str, *replies: Reply) -> "StandIn":
        self.replies[method, API + path] = list(replies)
        return self

    def sent(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == API + path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients may go away whenever they like
            super().handle()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        is_json = self.headers.get("Content-Type") == "application/json"
        sent = (json.loads(body) if is_json else body) if body else None
        request = Request(self.command, parts.path, parse_qsl(parts.query), self.headers, sent)
        self.stand_in.requests.append(request)
        replies = self.stand_in.replies[self.command, parts.path]
        if not replies:
            problem("not_found", 404, f"nothing at {parts.path}")(self)
            return
        (replies.pop(0) if len(replies) > 1 else replies[0])(self)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        self.close_connection = True


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return lambda handler: handler.send(
        status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}
    )


def page(*items: Any, next_: str | None = None) -> Reply:
    return reply({"items": list(items), "next": next_})


def problem(code: str, status: int, detail: str, **members: Any) -> Reply:
    said = {"type": f"/problems/{code}", "title": "x", "status": status, "detail": detail, "code": code, **members}
    return lambda handler: handler.send(status, json.dumps(said).encode(), {"Content-Type": "application/problem+json"})


def text(body: str, status: int = 200, kind: str = "text/html") -> Reply:
    return lambda handler: handler.send(status, body.encode(), {"Content-Type": kind})


def broken() -> Reply:
    """Close the connection instead of answering."""
    return Handler.cut


def stream(*frames: str, cut: bool = False) -> Reply:
    """Send events; with ``cut`` the connection breaks behind them."""

    def send(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for frame in frames:
            data = frame.encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if cut:
            handler.cut()
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return send


def frame(type_: str, data: Any, id_: str | None = None) -> str:
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {type_}\ndata: {json.dumps(data)}\n\n"


def file(
    data: bytes,
    *,
    cut_after: int | None = None,
    ranges: bool = True,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send a file, or the range that was asked for; with ``cut_after`` only so many bytes of what was promised."""

    def send(handler: Handler) -> None:
        asked = handler.headers.get("Range") if ranges else None
        given = dict(headers or {})
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        last = asked.split("-")[1] if asked else ""
        if asked and start >= len(data):
            handler.send(416, b"{}", {"Content-Range": f"bytes */{len(data)}"})
            return
        part = data[start : int(last) + 1 if last else None]
        status = 200
        if asked:
            status = 206
            given["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(part)), **given}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(part[:cut_after])
        if cut_after is not None:
            handler.cut()

    return send


@contextmanager
def running() -> Iterator[StandIn]:
    """Run a stand-in on a free port."""
    handler = type("BoundHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        handler.stand_in = StandIn(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler.stand_in  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_it_answers_as_told() -> None:
    with running() as stand_in:
        stand_in.on("GET", "/x", reply(1), reply(2))
        answers = [httpx.get(f"{stand_in.url}{API}/x", trust_env=False).json() for _ in range(3)]
    assert answers == [1, 2, 2]
    assert len(stand_in.sent("/x")) == 3
