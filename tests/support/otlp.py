"""A real OTLP/HTTP receiver for tests: the collector Rotel, and a sink which remembers what it forwards.

Rotel takes and checks what the tested program sends, but it has no file exporter and cannot be asked
back. Only therefore is there a sink: an HTTP server in the test process to which Rotel forwards
everything, again as OTLP/HTTP, and which answers the questions of the tests.
"""

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .collector import collector
from .sink import Sink, running_sink
from .telemetry import MetricPoint, Span, decode_metrics, decode_spans
from .waiting import wait_until

_PORT_ATTEMPTS = 5


class Receiver:
    """What a test sees of the running receiver; made by `otlp_receiver`.

    `endpoint` is the base URL for OTEL_EXPORTER_OTLP_ENDPOINT; traces go to `/v1/traces` below it and
    metrics to `/v1/metrics`. A span which was sent twice is held twice.
    """

    def __init__(self, sink: Sink, log: Path, running: ExitStack) -> None:
        self._sink, self._log, self._running = sink, log, running
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._points: list[MetricPoint] = []
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._ports = _free_ports()
            try:
                self._collector = self._start()
                break
            except RuntimeError:
                if attempt == _PORT_ATTEMPTS:
                    raise
        self.endpoint = f"http://127.0.0.1:{self._ports[0]}"

    def spans(self, trace_id: str | None = None) -> list[Span]:
        """Return the spans of one trace, or of all, in the order in which they arrived so far."""
        self._absorb()
        return [span for span in self._spans if trace_id in (None, span.trace_id)]

    def metrics(self, name: str | None = None) -> list[MetricPoint]:
        """Return the points of one metric, or of all, in the order in which they arrived so far."""
        self._absorb()
        return [point for point in self._points if name in (None, point.name)]

    def wait_for(
        self,
        wanted: int | Callable[[list[Span]], bool],
        *,
        trace_id: str | None = None,
        timeout_s: float = 15.0,
    ) -> list[Span]:
        """Wait for so many spans at least, or for a condition on the spans, and return the spans.

        With `trace_id` only the spans of that trace are counted, shown to the condition and returned.
        Raises AssertionError, which says how many spans of which names arrived, after `timeout_s`.
        """

        def arrived() -> list[Span]:
            spans = self.spans(trace_id)
            if not (len(spans) >= wanted if isinstance(wanted, int) else wanted(spans)):
                names = Counter(span.name for span in spans).most_common(10)
                raise AssertionError(f"{len(spans)} spans arrived, most often {names}")
            return spans

        what = f"{wanted} spans" if isinstance(wanted, int) else "spans which fulfil a condition"
        return wait_until(arrived, timeout_s=timeout_s, what=what)

    def kill(self) -> None:
        """End the collector with SIGKILL; its port then refuses connections.

        What it had already forwarded can still be asked for. What it had taken but not yet forwarded,
        usually the last tenths of a second, is lost, as with any collector. Killing twice is harmless.
        """
        self._collector.kill()
        self._running.close()

    def restart(self) -> None:
        """Start the collector again at the same endpoint after `kill`; what arrived before stays.

        Raises RuntimeError if it does not come up, for instance because the port has been taken.
        """
        self._collector = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        http_port, grpc_port = self._ports
        running = collector(http_port, grpc_port, forward_to=self._sink.server_port, log=self._log)
        return self._running.enter_context(running)

    def _absorb(self) -> None:
        with self._lock:
            while not self._sink.requests.empty():
                path, body = self._sink.requests.get()
                if path == "/v1/traces":
                    self._spans.extend(decode_spans(body))
                elif path == "/v1/metrics":
                    self._points.extend(decode_metrics(body))


@contextmanager
def otlp_receiver(directory: Path) -> Iterator[Receiver]:
    """Run a receiver of traces and metrics for the `with` block; its log is `directory/rotel.log`.

    It can take tens of thousands of spans. The collector ends with the block, or with the test process
    if that is killed.

    Raises RuntimeError with the end of the log if the collector does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with running_sink() as sink, ExitStack() as running:
        yield Receiver(sink, directory / "rotel.log", running)


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]
