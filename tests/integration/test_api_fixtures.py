"""What the tests of the API share: an application over a real store and catalog, and rows to begin with."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from snakeway import ids
from snakeway.api.problems import EVERY_KIND
from snakeway.app import Parts, create_app
from snakeway.blobs import Storages
from snakeway.bootstrap import open_location
from snakeway.catalog import Catalog
from snakeway.directory import AttemptDirectory
from snakeway.model.artifact import Kind
from snakeway.model.attempt import AttemptState
from snakeway.model.job import Job
from snakeway.rows import AttemptRow, RunRow, now
from snakeway.service import Commands, Reads
from snakeway.settings import Settings
from snakeway.store import Store, artifacts, attempts, jobs, runs

URL = "http://127.0.0.1:8642"
BASE = "/api/v1"

_SNAKEFILE = "rule all:\n    output: 'done.txt'\n    shell: 'touch {output}'\n"
_SCHEMA = """
$schema: https://json-schema.org/draft/2020-12/schema
type: object
properties:
  samples: {type: array, items: {type: string}}
required: [samples]
"""
_WORKFLOWS = {
    "plain/workflow/Snakefile": _SNAKEFILE,
    "strict/workflow/Snakefile": _SNAKEFILE,
    "strict/workflow/schemas/config.schema.yaml": _SCHEMA,
    "strict/config/config.yaml": "samples: [a, b]\n",
    "broken/workflow/Snakefile": _SNAKEFILE,
    "broken/config/config.yaml": "a: [1\n",
}
_PROFILES = {"local/config.yaml": "executor: local\n", "bad/config.yaml": "executor: [\n"}


@dataclass
class Api:
    """An application, a client of it, and what lies behind it."""

    app: Litestar
    client: TestClient[Litestar]
    store: Store
    settings: Settings
    commands: Commands
    reads: Reads

    @cached_property
    def documented_paths(self) -> dict[str, Any]:
        """The paths of the OpenAPI document."""
        return dict(self.app.openapi_schema.to_schema()["paths"])

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request below ``/api/v1``; a problem must be documented for the route."""
        response = self.client.request(method, f"{BASE}{path}", **options)
        if response.headers.get("content-type") == "application/problem+json" and method != "HEAD":
            self.check_problem(response)
        return response

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at ``path``."""
        response = self.request("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, *, status: int, **headers: str) -> Any:
        """Post ``body`` and return the JSON of the answer."""
        response = self.request("POST", path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert response.status_code == status, response.text
        return response.json()

    def refused(self, method: str, path: str, code: str, **options: Any) -> Any:
        """Make a request that ends in a problem of this code; returns the problem."""
        response = self.request(method, path, **options)
        assert response.headers.get("content-type") == "application/problem+json", response.text
        problem = response.json()
        assert problem["code"] == code, problem
        return problem

    def check_problem(self, response: httpx.Response) -> None:
        problem = response.json()
        kind = EVERY_KIND[problem["code"]]
        assert response.status_code == problem["status"] == kind.status
        assert problem["type"] == f"/problems/{kind.code}"
        assert problem["title"] == kind.title
        assert problem["detail"]
        assert problem["instance"] == response.request.url.raw_path.decode().partition("?")[0]
        for name, value in kind.headers.items():
            assert response.headers[name] == value
        item = self._documented(response.request.url.path)
        operation = item.get(response.request.method.lower()) if item else None
        if operation is not None and kind.code != "not_found":  # no such address
            examples = operation["responses"][str(kind.status)]["content"]["application/problem+json"]["examples"]
            assert kind.code in examples, f"{operation['operationId']} does not document {kind.code}"

    def _documented(self, path: str) -> dict[str, Any] | None:
        parts = path.strip("/").split("/")
        for template, item in self.documented_paths.items():
            wanted = template.strip("/").split("/")
            same_length = len(wanted) == len(parts) or template.endswith("{artifact}")
            if same_length and all(w.startswith("{") or w == p for w, p in zip(wanted, parts, strict=False)):
                found: dict[str, Any] = item
                return found
        return None

    def add_run(self, **members: Any) -> RunRow:
        """Commit a queued run with its first attempt; keyword arguments replace the run's members."""
        run = _new_run(**members)
        with self.store.write() as tx:
            runs.add(tx, run)
        self.add_attempt(run, dry_run=run.dry_run)
        return run

    def add_runs(self, number: int) -> list[str]:
        """Commit many runs, without attempts, at once; returns their ids."""
        made = [_new_run() for _ in range(number)]
        with self.store.write() as tx:
            tx.add_all(made)
        return [run.id for run in made]

    def add_attempt(self, run: RunRow, **members: Any) -> AttemptRow:
        """Commit the next attempt of a run and settle the run."""
        with self.store.write() as tx:
            number = len(attempts.of_run(tx, run.id)) + 1
            values = {"id": ids.new_id(), "run_id": run.id, "number": number, "owner": run.owner, "target": run.target}
            row = AttemptRow(**(values | {"digest": run.digest, "created_at": now()} | members))
            attempts.add(tx, row)
            runs.settle(tx, run.id)
        return row

    def move(self, attempt_id: str, *states: AttemptState) -> None:
        """Move an attempt through ``states`` and settle its run."""
        with self.store.write() as tx:
            row = attempts.get(tx, attempt_id)
            assert row is not None
            old = row.state
            for state in states:
                assert attempts.move(tx, row.id, old, state)
                old = state
            runs.settle(tx, row.run_id)

    def end(self, run: RunRow, state: AttemptState = AttemptState.SUCCEEDED) -> AttemptRow:
        """Let the run's newest attempt run and end in ``state``."""
        row = self.newest(run)
        self.move(row.id, AttemptState.STARTING, AttemptState.RUNNING, state)
        return row

    def newest(self, run: RunRow) -> AttemptRow:
        with self.store.read() as tx:
            return attempts.of_run(tx, run.id)[-1]

    def directory(self, run: RunRow, number: int = 1) -> AttemptDirectory:
        """Return the directory of an attempt, made if need be."""
        directory = self.reads.directory(run.id)
        directory.create(run.id)
        attempt = directory.attempt(number)
        attempt.path.mkdir(parents=True, exist_ok=True)
        return attempt

    def write_file(self, run: RunRow, name: str, content: bytes) -> Path:
        """Write a file into the run's directory."""
        self.directory(run)
        path = self.reads.directory(run.id).path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def write_events(self, run: RunRow, *events: dict[str, Any], number: int = 1) -> None:
        """Append events, numbered from 0, to the file of an attempt."""
        path = self.directory(run, number).events
        first = len(path.read_bytes().splitlines()) if path.exists() else 0
        with path.open("a") as file:
            for seq, event in enumerate(events, first):
                file.write(json.dumps({"seq": seq, "t": 1.5, **event}) + "\n")

    def add_jobs(self, attempt: AttemptRow, *made: Job) -> None:
        with self.store.write() as tx:
            jobs.save(tx, attempt.run_id, attempt.id, made)

    def add_artifact(
        self, run: RunRow, path: str, content: bytes, *, sha256: str | None = None, kind: Kind = Kind.INTERMEDIATE
    ) -> Path:
        """Write an output file and commit its record."""
        file = self.write_file(run, path, content)
        values = {
            "run_id": run.id,
            "path": path,
            "kind": kind,
            "size_bytes": len(content),
            "mtime": file.stat().st_mtime,
            "sha256": sha256,
            "rule": "fit",
            "attempt_id": self.newest(run).id,
            "job_number": 3,
            "created_at": now(),
        }
        with self.store.write() as tx:
            artifacts.save(tx, [values])
        return file


def _new_run(**members: Any) -> RunRow:
    values = {"id": ids.new_id(), "owner": "local", "workflow": "plain", "digest": "sha256:0", "target": "local"}
    return RunRow(**(values | {"created_at": now()} | members))


def write_catalog(root: Path) -> Settings:
    """Write some workflows and profiles; returns the settings of a server over them."""
    for folder, files in (("workflows", _WORKFLOWS), ("profiles", _PROFILES)):
        for name, text in files.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (root / "data").mkdir()
    folders = {f"{name}_dir": root / name for name in ("workflows", "profiles", "data")}
    return Settings(**folders, plan_wait_s=0, max_body_bytes=64 * 1024, max_bundle_bytes=100_000)


def make_parts(store: Store, settings: Settings) -> Parts:
    catalog = Catalog(settings)
    storages = Storages(open_location)
    return Parts(settings, Commands(store, catalog, settings, storages), Reads(store, catalog, settings, storages))


def running(store: Store, settings: Settings) -> Iterator[Api]:
    """Give the application while its lifespan lasts."""
    parts = make_parts(store, settings)
    app = create_app(parts)
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield Api(app, client, store, settings, parts.commands, parts.reads)


@pytest.fixture
def api(store: Store, tmp_path: Path) -> Iterator[Api]:
    """An application over a store, once on each kind of database."""
    yield from running(store, write_catalog(tmp_path))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables, to be copied: making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def sqlite_store(empty_database: Path, tmp_path: Path) -> Iterator[Store]:
    """A store on SQLite."""
    store = Store(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'snakeway.db')}", wait_s=10)
    yield store
    store.close()


@pytest.fixture
def sqlite_api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    """An application over SQLite, for what has nothing to do with the database."""
    yield from running(sqlite_store, write_catalog(tmp_path))
