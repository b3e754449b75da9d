"""Ways to a server on which some requests are refused, answered to nobody, or answered otherwise."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

_BUSY = b'{"__type": "TooManyRequestsException", "message": "Too Many Requests"}'
_REFUSAL = [("Content-Type", "application/json"), ("x-amzn-ErrorType", "TooManyRequestsException")]
_OWN = ("host", "connection", "content-length", "accept-encoding", "transfer-encoding", "content-encoding")


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def unreliable(url: str, path: str, fates: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield another URL of the server, and a list of what became of the requests for ``path`` so far.

    ``fates`` are those of the first: ``lose`` has the server do what is asked and drops its answer, ``refuse`` answers
    that too much is asked, in the words of AWS. All others pass.
    """
    happened: list[str] = []
    coming = list(fates)
    lock = threading.Lock()

    def fate(asked: str, ask: Callable[[], Answer]) -> Answer | None:
        if asked != path:
            return ask()
        with lock:
            found = coming.pop(0) if coming else "pass"
            happened.append(found)
        if found == "refuse":
            return Answer(429, _REFUSAL, _BUSY)
        answer = ask()
        return None if found == "lose" else answer

    with _way(url, fate) as address:
        yield address, happened


@contextmanager
def edited(url: str, path: str, edit: Callable[[Any], None]) -> Iterator[str]:
    """Yield another URL of the server, on which ``edit`` changes the JSON that is answered to requests for ``path``."""

    def pass_on(asked: str, ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        if asked != path:
            return answer
        told = json.loads(answer.body)
        edit(told)
        return Answer(answer.status, answer.headers, json.dumps(told).encode())

    with _way(url, pass_on) as address:
        yield address


@contextmanager
def _way(url: str, handle: Callable[[str, Callable[[], Answer]], Answer | None]) -> Iterator[str]:
    class Way(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}

            def ask() -> Answer:
                found = httpx.post(url + self.path, content=body, headers=headers, timeout=60)
                return Answer(found.status_code, list(found.headers.items()), found.content)

            answer = handle(self.path, ask)
            if answer is None:
                self.close_connection = True
            else:
                self.answer(answer)

        def answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _OWN:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Way)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
