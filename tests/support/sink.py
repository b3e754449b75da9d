"""An HTTP server in the test process which keeps every request body that is posted to it."""

import gzip
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 (`server_port`) and puts path and body of each POST in `requests`.

    The bodies stay undecoded (but unpacked from gzip), so that every request is answered at once.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Serve a sink from a thread of its own for the `with` block."""
    with Sink() as sink:
        threading.Thread(target=sink.serve_forever, args=(0.05,), name="sink", daemon=True).start()
        try:
            yield sink
        finally:
            sink.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.put((self.path, body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
