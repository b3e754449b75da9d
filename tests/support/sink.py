"""An HTTP server in the test process which keeps every request body that is posted to it, or refuses, or hangs."""

import gzip
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RETRY_AFTER_S = 30


class Sink(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 (`server_port`) and puts path and body of each POST in `requests`.

    The bodies stay undecoded (but unpacked from gzip), so that every request is answered at once.

    The next requests are answered with the statuses in `refusals`, which go to `refused`; such a request is to be sent
    again after `RETRY_AFTER_S`. While `answering` is not set, nothing is answered.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.refusals: list[int] = []
        self.refused: list[int] = []
        self.answering = threading.Event()
        self.answering.set()


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Serve a sink from a thread of its own for the `with` block."""
    with Sink() as sink:
        threading.Thread(target=sink.serve_forever, args=(0.05,), name="sink", daemon=True).start()
        try:
            yield sink
        finally:
            sink.answering.set()
            sink.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.answering.wait()
        status = self.server.refusals.pop(0) if self.server.refusals else 200
        if status == 200:
            self.server.requests.put((self.path, body))
        else:
            self.server.refused.append(status)
        self.send_response(status)
        if status != 200:
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
