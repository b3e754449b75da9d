"""The collector Rotel, a small program written in Rust which the package `rotel` carries."""

import http.client
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import certifi

from .processes import Argv, guarded, log_tail
from .waiting import wait_until

_START_TIMEOUT_S = 10.0
_LISTENING = b"Starting Rotel"


@contextmanager
def collector(http_port: int, grpc_port: int, *, forward_to: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Rotel for the `with` block, once it answers, and give its process.

    It takes traces, metrics and logs as OTLP on the two ports of 127.0.0.1 and forwards them within about
    a twentieth of a second as OTLP/HTTP to the port `forward_to` of 127.0.0.1. It confirms what it takes
    before it forwards it, and tries again for five minutes where forwarding fails.

    Raises RuntimeError with the end of the log if it ends at once, for instance because a port is taken,
    or if the package is not installed.
    """
    options = {
        "otlp-http-endpoint": f"127.0.0.1:{http_port}",
        "otlp-grpc-endpoint": f"127.0.0.1:{grpc_port}",
        "exporter": "otlp",
        "otlp-exporter-protocol": "http",
        "otlp-exporter-endpoint": f"http://127.0.0.1:{forward_to}",
        "otlp-exporter-batch-timeout": "50ms",
        # A request with more than twice this many spans would be confirmed and then lost without a word.
        "otlp-exporter-batch-max-size": "1000000",
        "otlp-exporter-retry-initial-backoff": "100ms",
    }
    # Rotel does not start without certificates of authorities, although nothing here is encrypted.
    environment = {"SSL_CERT_FILE": certifi.where()}
    before = log.stat().st_size if log.exists() else 0
    argv: Argv = [_program(), "start", *(f"--{name}={value}" for name, value in options.items())]
    with guarded(argv, log=log, env=environment) as process:

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"Rotel did not start:\n{log_tail(log)}")
            # The line shows that it is this Rotel, not another program, which has the port.
            return _LISTENING in log.read_bytes()[before:] and _accepts_traces(http_port)

        wait_until(answers, timeout_s=_START_TIMEOUT_S, what="Rotel to answer")
        yield process


def _program() -> Path:
    """Return the path of the program; raises RuntimeError if the package is not installed."""
    package = find_spec("rotel")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the package rotel is not installed")
    return Path(package.submodule_search_locations[0]) / "rotel-agent"


def _accepts_traces(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/v1/traces", body=b"", headers={"Content-Type": "application/x-protobuf"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
