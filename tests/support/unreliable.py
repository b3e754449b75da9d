"""A way to a server on which some requests are refused, or answered to nobody."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_BUSY = b'{"__type": "TooManyRequestsException", "message": "Too Many Requests"}'
_OWN = ("host", "connection", "content-length", "accept-encoding", "transfer-encoding", "content-encoding")


@contextmanager
def unreliable(url: str, path: str, fates: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield another URL of the server, and a list of what became of the requests for ``path`` so far.

    ``fates`` are those of the first: ``lose`` has the server do what is asked and drops its answer, ``refuse`` answers
    that too much is asked, in the words of AWS. All others pass.
    """
    happened: list[str] = []
    coming = list(fates)
    lock = threading.Lock()

    class Way(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            fate = "pass"
            if self.path == path:
                with lock:
                    fate = coming.pop(0) if coming else "pass"
                    happened.append(fate)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if fate == "refuse":
                self.answer(
                    429, [("Content-Type", "application/json"), ("x-amzn-ErrorType", "TooManyRequestsException")], _BUSY
                )
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
            answer = httpx.post(url + self.path, content=body, headers=headers, timeout=60)
            if fate == "lose":
                self.close_connection = True
                return
            self.answer(answer.status_code, list(answer.headers.items()), answer.content)

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _OWN:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Way)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", happened
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
