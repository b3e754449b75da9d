from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from snakeway.app import Parts, create_app
from snakeway.rows import RunRow
from snakeway.store import Store
from snakeway.telemetry import SpanRef
from snakeway.telemetry.metrics import Metrics
from tests.integration.test_api_fixtures import URL, Api, make_parts, running, write_catalog
from tests.support.otlp import Receiver, otlp_receiver

pytest_plugins = ["tests.integration.test_api_fixtures"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A collector that the environment names."""
    with otlp_receiver(tmp_path / "otlp") as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        yield receiver


@pytest.fixture
def traced(receiver: Receiver, sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    """An application that sends spans of its requests."""
    yield from running(sqlite_store, write_catalog(tmp_path))


def stored(api: Api, run_id: str) -> SpanRef:
    with api.store.read() as tx:
        run = tx.get(RunRow, run_id)
    assert run is not None
    found = SpanRef.parse(run.traceparent)
    assert found is not None
    return found


def test_the_request_lies_between_its_caller_and_the_run(traced: Api, receiver: Receiver) -> None:
    run = traced.post("/runs", {"workflow": "plain"}, status=201, traceparent=f"00-{TRACE}-{CALLER}-01")
    assert run["trace_id"] == TRACE
    [span] = receiver.wait_for(1, trace_id=TRACE)
    assert span.parent_id == CALLER
    assert span.name == "POST /api/v1/runs"
    assert span.attributes["http.response.status_code"] == 201
    parent = stored(traced, run["id"])
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, span.span_id)


def test_a_request_without_a_caller_begins_a_trace(traced: Api, receiver: Receiver) -> None:
    run = traced.post("/runs", {"workflow": "plain"}, status=201)
    [span] = receiver.wait_for(1, trace_id=run["trace_id"])
    assert span.parent_id is None
    traced.refused("GET", f"/runs/{'x' * 5}", "run_not_found")
    refused = receiver.wait_for(lambda spans: len(spans) == 2)[-1]
    assert refused.name == "GET /api/v1/runs/{run_id}"
    assert refused.status == "UNSET"


def test_what_nobody_wants_is_not_sent(traced: Api, receiver: Receiver) -> None:
    traced.get("/health/live")
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    run = traced.post("/runs", {"workflow": "plain"}, status=201, **headers)
    assert stored(traced, run["id"]) == SpanRef(int(TRACE, 16), int(CALLER, 16), sampled=False)
    last = traced.post("/runs", {"workflow": "plain"}, status=201)
    receiver.wait_for(1, trace_id=last["trace_id"])
    assert len(receiver.spans()) == 1


def test_metrics_are_shown_to_prometheus(sqlite_api: Api) -> None:
    parts = make_parts(sqlite_api.store, sqlite_api.settings)
    metrics = Metrics()
    metrics.active_runs(3)
    with TestClient(create_app(Parts(parts.settings, parts.commands, parts.reads, metrics)), base_url=URL) as client:
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "snakeway_runs_active" in response.text
    metrics.close()
