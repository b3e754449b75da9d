"""A stand-in for the server: real HTTP, answers as told, connections that break where a test wants it.

The nouns that it answers with are checked against those of the API, so that it cannot drift from it.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from snakeway.api import artifact as api_artifact
from snakeway.api import attempt as api_attempt
from snakeway.api import job as api_job
from snakeway.api import run as api_run
from snakeway.api import target as api_target
from snakeway.api import workflow as api_workflow
from snakeway.client import nouns

RUN_ID = "01939c8e-7c1a-7def-8a6b-0123456789ab"
OTHER_ID = "01939c8e-7c1a-7def-8a6b-0123ffff89ab"
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

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        request = Request(
            self.command, parts.path, parse_qsl(parts.query), self.headers, json.loads(body) if body else None
        )
        self.stand_in.requests.append(request)
        replies = self.stand_in.replies[self.command, parts.path]
        if not replies:
            problem("not_found", 404, f"nothing at {parts.path}")(self)
            return
        (replies.pop(0) if len(replies) > 1 else replies[0])(self)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815

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


def run(**changes: Any) -> dict[str, Any]:
    return {
        "id": RUN_ID,
        "state": "running",
        "workflow": "quickstart",
        "digest": "sha256:10e67f937865",
        "source": {"kind": "catalog", "name": "quickstart"},
        "target": "local",
        "config": {"batches": 2, "model": {"seed": 1, "kind": "ols"}},
        "labels": {"project": "penguins"},
        "note": "",
        "dry_run": False,
        "outside": False,
        "owner": "local",
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "ended_at": None,
        "stop_requested_at": None,
        "error": None,
        "jobs": {"total": 8, "done": 3, "failed": 0},
        "trace_id": "0" * 31 + "1",
        **changes,
    }


def attempt(**changes: Any) -> dict[str, Any]:
    return {
        "id": "01939c8e-7c1a-7def-8a6b-00000000a001",
        "run_id": RUN_ID,
        "number": 1,
        "state": "running",
        "reason": "submit",
        "dry_run": False,
        "target": "local",
        "digest": "sha256:10e67f937865",
        "config": {"batches": 2, "model": {"seed": 1, "kind": "ols"}},
        "overrides": {
            "set_resources": {},
            "set_threads": {},
            "targets": [],
            "until": [],
            "forcerun": [],
            "forceall": False,
        },
        "plan": None,
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "ended_at": None,
        "exit_code": None,
        "exit_signal": None,
        "error": None,
        "host": "node1",
        "snakemake_version": "9.27.1",
        "jobs": {"total": 8, "done": 3, "failed": 0},
        "events_lost": 0,
        "rulegraph": None,
        **changes,
    }


def job(**changes: Any) -> dict[str, Any]:
    return {
        "attempt": 1,
        "job": 5,
        "state": "succeeded",
        "try": 1,
        "rule": "fit",
        "wildcards": {"species": "Adelie"},
        "inputs": ["in.csv"],
        "outputs": ["out.csv"],
        "logs": ["logs/fit.log"],
        "benchmark": None,
        "reason": "Missing output files: out.csv",
        "threads": 1,
        "resources": {"mem_mb": 100},
        "shell": "true",
        "checkpoint": False,
        "submitted_at": "2026-01-02T03:04:06Z",
        "started_at": "2026-01-02T03:04:16Z",
        "ended_at": "2026-01-02T03:05:36Z",
        "external_id": None,
        "exit_code": 0,
        "signal": None,
        "message": None,
        "log_tail": None,
        "tries": [],
        **changes,
    }


def artifact(**changes: Any) -> dict[str, Any]:
    return {
        "path": "results/table.csv",
        "size_bytes": 2048,
        "mtime": "2026-01-02T03:05:36Z",
        "sha256": None,
        "rule": "table",
        "attempt": 1,
        "job": 3,
        **changes,
    }


def workflow(**changes: Any) -> dict[str, Any]:
    return {
        "name": "quickstart",
        "description": "Fits a line.",
        "digest": "sha256:10e67f9378650123456789",
        "schema": {"properties": {"batches": {"type": "integer", "description": "Jobs."}}, "required": ["batches"]},
        "defaults": {"batches": 12, "model": {"seed": 1}},
        "source": {"kind": "catalog", "name": "quickstart"},
        "error": None,
        **changes,
    }


def target(**changes: Any) -> dict[str, Any]:
    return {"name": "local", "description": "This machine.", "executor": "local", "error": None, **changes}


@pytest.mark.parametrize(
    ("made", "of_the_api", "of_the_client"),
    [
        (run(), api_run.Run, nouns.Run),
        (attempt(), api_attempt.Attempt, nouns.Attempt),
        (job(), api_job.Job, nouns.Job),
        (artifact(), api_artifact.Artifact, nouns.Artifact),
        (workflow(), api_workflow.Workflow, nouns.Workflow),
        (target(), api_target.Target, nouns.Target),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_nouns_of_server_client_and_stand_in_are_the_same(made: Any, of_the_api: Any, of_the_client: Any) -> None:
    msgspec.convert(made, of_the_api)
    names = {known.encode_name for known in msgspec.structs.fields(of_the_api)}
    assert names == set(made) == of_the_client.__required_keys__ | of_the_client.__optional_keys__
