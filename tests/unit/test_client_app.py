"""The client against the real application over real HTTP; no supervisor, so runs wait until a test moves them."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn

from snakeway import errors, ids
from snakeway.app import Parts, create_app
from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.catalog import Catalog
from snakeway.client import Client, Patience
from snakeway.directory import RunDirectory, run_directory
from snakeway.rows import ArtifactRow, now
from snakeway.service import Commands, Reads
from snakeway.settings import Settings
from snakeway.store import Store
from tests.support.waiting import wait_until

TOKEN = "a-token-of-the-tests"
SNAKEFILE = 'rule all:\n    output: "out.txt"\n    shell: "echo 1 > {output}"\n'


@dataclass(frozen=True)
class App:
    url: str
    settings: Settings
    store: Store

    def directory(self, run_id: str) -> RunDirectory:
        return run_directory(self.settings.data_dir, run_id)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    root = tmp_path_factory.mktemp("app")
    (root / "workflows" / "one").mkdir(parents=True)
    (root / "workflows" / "one" / "Snakefile").write_text(SNAKEFILE)
    (root / "profiles" / "local").mkdir(parents=True)
    (root / "profiles" / "local" / "config.yaml").write_text("# This machine.\nexecutor: local\n")
    settings = Settings(
        data_dir=root / "data",
        workflows_dir=root / "workflows",
        profiles_dir=root / "profiles",
        token=TOKEN,  # type: ignore[arg-type]
        plan_wait_s=0,
    )
    settings.data_dir.mkdir()
    store = Store(settings.store_url, 10)
    store.migrate()
    catalog = Catalog(settings)
    stopping = threading.Event()
    storages = Storages(open_location)
    reads = Reads(store, catalog, settings, storages)
    parts = Parts(
        settings,
        Commands(store, catalog, settings, storages),
        reads,
        stopping=stopping,
    )
    config = uvicorn.Config(create_app(parts), port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or None, timeout_s=30, what="the application")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield App(f"http://127.0.0.1:{port}", settings, store)
    stopping.set()
    server.should_exit = True
    thread.join()
    store.close()


@pytest.fixture
def client(app: App) -> Iterator[Client]:
    with Client(app.url, TOKEN, patience=Patience(0.01, 0.05, 1)) as client:
        yield client


def submit(client: Client, **body: object) -> str:
    return client.submit({"workflow": "one", **body})["id"]  # type: ignore[typeddict-item]


def test_a_run_from_submission_to_removal(client: Client) -> None:
    run = client.submit({"workflow": "one", "config": {"a": [1]}, "labels": {"k": "v"}, "note": "n"})
    run_id = run["id"]
    assert (run["state"], run["config"], run["labels"]) == ("queued", {"a": [1]}, {"k": "v"})
    assert client.run(run_id) == run
    assert [attempt["state"] for attempt in client.attempts(run_id)] == ["queued"]
    assert client.attempt(run_id, 1)["reason"] == "submit"
    assert list(client.jobs(run_id)) == client.rules(run_id) == list(client.artifacts(run_id)) == []
    with pytest.raises(errors.RunActive):
        client.rerun(run_id, {})
    assert client.cancel(run_id)["state"] == "cancelled"
    with pytest.raises(errors.RunEnded):
        client.cancel(run_id)
    answer = client.rerun(run_id, {"config": {"a": [2]}, "set_threads": {"all": 2}})
    assert (answer["run"]["state"], answer["attempt"]["number"]) == ("queued", 2)
    assert answer["attempt"]["overrides"]["set_threads"] == {"all": 2}
    client.cancel(run_id)
    client.delete(run_id)
    with pytest.raises(errors.RunNotFound):
        client.run(run_id)


def test_a_key_makes_one_run(client: Client) -> None:
    first = client.submit({"workflow": "one"}, idempotency_key="k1")
    assert client.submit({"workflow": "one"}, idempotency_key="k1") == first
    with pytest.raises(errors.IdempotencyConflict):
        client.submit({"workflow": "one", "note": "another"}, idempotency_key="k1")


def test_the_caller_s_trace_is_taken(client: Client) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    run = client.submit({"workflow": "one"}, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert run["trace_id"] == trace


def test_filters(client: Client) -> None:
    label = ids.new_id()
    made = [submit(client, labels={"test": label}) for _ in range(3)]
    client.cancel(made[0])
    where = {"labels": {"test": label}}
    assert [run["id"] for run in client.runs(**where)] == made[::-1]  # type: ignore[arg-type]
    assert [run["id"] for run in client.runs(states=["cancelled"], labels={"test": label})] == made[:1]
    assert [run["id"] for run in client.runs(states=["cancelled", "queued"], labels={"test": label})] == made[::-1]
    first = client.runs_page(limit=2, labels={"test": label})
    rest = client.runs_page(limit=2, labels={"test": label}, cursor=first["next"])
    assert [run["id"] for run in first["items"] + rest["items"]] == made[::-1]
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert len(list(client.runs(created_after=past, created_before=future, labels={"test": label}))) == 3
    assert list(client.runs(created_after=future)) == []
    assert len(list(client.runs(workflow="one", target="local", owner=None, labels={"test": label}))) == 3


@pytest.mark.parametrize(
    ("body", "cls", "field"),
    [
        ({"workflow": "none"}, errors.WorkflowNotFound, None),
        ({"workflow": "one", "target": "none"}, errors.TargetNotFound, None),
        ({"workflow": "one", "labels": {" ": "x"}}, errors.Invalid, "labels"),
        ({"workflow": "one", "note": 7}, errors.Invalid, "note"),
        ({"workflow": "one", "set_threads": {"a-b": 1}}, errors.Invalid, "set_threads"),
        ({"workflow": {"git": {"url": "gopher://x"}}}, errors.Invalid, None),
    ],
)
def test_errors_of_submissions(body: object, cls: type[Exception], field: str | None, client: Client) -> None:
    with pytest.raises(errors.SnakewayError) as caught:
        client.submit(body)  # type: ignore[arg-type]
    assert type(caught.value) is cls
    if field is not None:
        assert caught.value.field == field


def test_errors_of_reads(client: Client) -> None:
    run_id = submit(client)
    with pytest.raises(errors.RunNotFound):
        client.run("nonsense")
    with pytest.raises(errors.AttemptNotFound):
        client.attempt(run_id, 9)
    with pytest.raises(errors.JobNotFound):
        client.job(run_id, 9)
    with pytest.raises(errors.LogNotFound):
        list(client.run_log(run_id))
    with pytest.raises(errors.WorkflowNotFound):
        client.workflow("none")
    with pytest.raises(errors.InvalidCursor):
        client.runs_page(cursor="nonsense")


def test_the_token_is_needed(app: App) -> None:
    for token in (None, "another-token-altogether"):
        with Client(app.url, token) as client, pytest.raises(errors.Unauthorized, match="SNAKEWAY_TOKEN"):
            client.targets()


def test_catalog_and_health(client: Client) -> None:
    assert [workflow["name"] for workflow in client.workflows()] == ["one"]
    assert client.workflow("one")["error"] is None
    assert client.targets()[0]["description"] == "This machine."
    health = client.ready()
    assert health["status"] == "unavailable"
    assert health["checks"]["database"] == "ok"
    assert "supervisor" in health["checks"]["supervisor"]


def test_a_log_that_grows(app: App, client: Client) -> None:
    run_id = submit(client)
    log = app.directory(run_id).attempt(1).log
    log.parent.mkdir(parents=True)
    log.write_bytes(b"")
    assert client.log_size(run_id) == 0
    assert list(client.run_log(run_id)) == []
    log.write_bytes(b"one\ntwo\nthree\n")
    assert client.log_size(run_id, attempt=1) == 14
    assert b"".join(client.run_log(run_id, tail=2)) == b"two\nthree\n"
    assert b"".join(client.run_log(run_id, start=4)) == b"two\nthree\n"
    assert b"".join(client.run_log(run_id, start=14)) == b""
    assert b"".join(client.run_log(run_id, start=99)) == b""


def test_artifacts(app: App, client: Client, tmp_path: Path) -> None:
    run_id = submit(client)
    root = app.directory(run_id)
    root.create(run_id)
    data = b"species,slope\n" * 1000
    name = "results/täble 1%#?.csv"
    (root.path / "results").mkdir()
    (root.path / name).write_bytes(data)
    sha = hashlib.sha256(data).hexdigest()
    attempt = client.attempts(run_id)[0]
    with app.store.write() as tx:
        row = {"size_bytes": len(data), "mtime": (root.path / name).stat().st_mtime, "sha256": sha}
        made = {
            "run_id": run_id,
            "path": name,
            "rule": "all",
            "attempt_id": attempt["id"],
            "job_number": 0,
            "created_at": now(),
        }
        tx.add(ArtifactRow(**row, **made))  # type: ignore[arg-type]
    [artifact] = client.artifacts(run_id)
    assert (artifact["path"], artifact["sha256"], artifact["attempt"]) == (name, sha, 1)
    client.download(run_id, name, tmp_path / "known", sha256=sha)
    client.download(run_id, name, tmp_path / "unknown")
    assert (tmp_path / "known").read_bytes() == (tmp_path / "unknown").read_bytes() == data
    (root.path / name).write_bytes(b"changed meanwhile")
    with pytest.raises(errors.Unavailable, match="damaged"):
        client.download(run_id, name, tmp_path / "known", sha256=sha)
    assert (tmp_path / "known").read_bytes() == data
    with pytest.raises(errors.ArtifactNotFound):
        client.download(run_id, "results/none", tmp_path / "none")


def event(n: int, type_: str, **members: object) -> str:
    return json.dumps({"seq": n, "t": 1_700_000_000 + n, "type": type_, **members}) + "\n"


def test_events_as_they_come(app: App, client: Client) -> None:
    run_id = submit(client)
    events = app.directory(run_id).attempt(1).events
    events.parent.mkdir(parents=True)
    events.write_text(event(0, "attempt_started", run_id=run_id))

    def go_on() -> None:
        time.sleep(0.5)
        with events.open("a") as file:
            file.write(event(1, "stats", jobs={"all": 1}, total=1))
        with Client(app.url, TOKEN) as other:
            other.cancel(run_id)

    thread = threading.Thread(target=go_on)
    thread.start()
    seen = list(client.events(run_id))
    thread.join()
    assert [found.type for found in seen if found.type != "run"] == ["attempt_started", "stats", "end"]
    assert {found.data["attempt"] for found in seen if found.id} == {1}
    assert seen[-1].data["state"] == "cancelled"
    first = next(found.id for found in seen if found.id)
    again = list(client.events(run_id, after=first))
    assert [found.type for found in again if found.type != "run"] == ["stats", "end"]


def test_events_of_no_run(client: Client) -> None:
    with pytest.raises(errors.RunNotFound):
        list(client.events(ids.new_id()))
    with pytest.raises(errors.Invalid):
        list(client.events(submit(client), after="7:0"))
