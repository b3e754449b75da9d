"""Puts a service together from the parts that its settings name."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from snakeway import owner
from snakeway.app import Parts, create_app
from snakeway.blobs import Blobs, Storages
from snakeway.blobs.local import LocalBlobs
from snakeway.catalog import NO_TARGETS, NO_WORKFLOWS, Catalog
from snakeway.client import Recording
from snakeway.directory import check_writable
from snakeway.errors import Invalid
from snakeway.listening import check_exposure, listening
from snakeway.model.blob import BlobsLocation, FolderLocation
from snakeway.model.user import LOCAL
from snakeway.service import Commands, Reads
from snakeway.service.outside import Outside, Recorded
from snakeway.settings import Settings
from snakeway.store import Store
from snakeway.supervisor.loop import Supervisor
from snakeway.supervisor.outside import take_in
from snakeway.supervisor.report import Report
from snakeway.supervisor.warm import Launcher
from snakeway.telemetry import Spans
from snakeway.telemetry.metrics import Metrics

log = logging.getLogger("snakeway")

_SHUTDOWN_S = 5


def serve(settings: Settings, *, embedded: bool = True, ready: Callable[[str], None] = lambda _url: None) -> None:
    """Serve the API until SIGTERM or SIGINT, with a supervisor in the same process if ``embedded``.

    Runs go on when the server ends. ``ready`` is called with the server's URL once it accepts requests.

    Raises:
        Invalid: the address is not loopback and no token is set, or it cannot be bound; the data folder cannot be used.
        StoreOutdated, StoreBusy, StoreBroken: the database cannot be used.

    """
    check_exposure(settings)
    _configure_logging()
    with listening(settings.host, settings.port) as sockets:  # first: a taken port leaves no new data folder
        _serve(settings, sockets, embedded=embedded, ready=ready)


def _serve(settings: Settings, sockets: list[socket.socket], *, embedded: bool, ready: Callable[[str], None]) -> None:
    store = open_store(settings)
    _look_for_folders(settings)
    catalog = Catalog(settings)
    storages = Storages(open_location)
    metrics = Metrics()
    supervisor = (
        Supervisor(store, catalog, settings, storages, Report(store, Spans(log.warning), metrics), Launcher())
        if embedded
        else None
    )
    commands = Commands(store, catalog, settings, storages, supervisor.wake if supervisor else lambda: None)
    commands.clean_up()
    parts = Parts(settings, commands, Reads(store, catalog, settings, storages), metrics)
    config = uvicorn.Config(
        create_app(parts),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        server_header=False,
    )
    server = _Server(config, ready, parts)
    thread = (
        threading.Thread(target=_run, args=(supervisor, server), name="snakeway-supervisor") if supervisor else None
    )
    if thread:
        thread.start()
    try:
        server.run(sockets)
    finally:
        if supervisor and thread:
            supervisor.stop()
            thread.join()
        metrics.close()
        store.close()


def supervise(settings: Settings) -> None:
    """Run a supervisor without an API until SIGTERM or SIGINT; any number of them may share a Postgres database.

    Raises what :func:`open_store` raises.
    """
    _configure_logging()
    store = open_store(settings)
    _look_for_folders(settings)
    metrics = Metrics()
    report = Report(store, Spans(log.warning), metrics)
    supervisor = Supervisor(store, Catalog(settings), settings, Storages(open_location), report, Launcher())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run()
    metrics.close()
    store.close()


def migrate(settings: Settings) -> None:
    """Bring the database's schema to this version. The data folder is looked at only if the database is there."""
    store = _store(settings) if settings.database_url is None else Store(settings.store_url, settings.database_wait_s)
    store.migrate()
    store.close()


class DirectRecord:
    """Records runs by hand in the database of this machine's settings, without a server: what the API would do.

    Methods and errors are those of :class:`snakeway.client.outside.OutsideRuns`.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the database; raises what :func:`open_store` raises."""
        self._settings = settings
        self._store = open_store(settings)
        self._catalog = Catalog(settings)
        self._outside = Outside(self._store, settings)

    def recorded(self, run_id: str, attempt_id: str) -> Recording:
        """Return how far an attempt is recorded."""
        return self._shown(run_id, attempt_id, self._outside.recorded(LOCAL, run_id, attempt_id))

    def append(self, run_id: str, attempt_id: str, offset: int, data: bytes, *, gone: bool = False) -> Recording:
        """Record the next bytes of an attempt's events; without any, do what a supervisor would do with the others."""
        found = self._outside.append(LOCAL, run_id, attempt_id, offset, data, gone=gone)
        if not data:
            take_in(self._store, self._catalog, self._settings, attempt_id)
        return self._shown(run_id, attempt_id, found)

    def put_log(self, run_id: str, attempt_id: str, data: bytes) -> None:
        """Record what snakemake printed."""
        self._outside.put_log(LOCAL, run_id, attempt_id, data)

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def _shown(self, run_id: str, attempt_id: str, found: Recorded) -> Recording:
        return {
            "run_id": run_id,
            "attempt_id": attempt_id,
            "attempt": found.number,
            "state": found.state,
            "offset": found.offset,
            "max_bytes": self._outside.max_bytes,
        }


def open_store(settings: Settings) -> Store:
    """Open the database: an embedded one is brought up to date by itself, a shared one must have been migrated.

    Raises StoreOutdated, StoreBusy or StoreBroken, or Invalid when the data folder cannot be made or written to.
    """
    store = _store(settings)
    if store.sqlite:
        store.migrate()
    else:
        store.check()
    return store


def _store(settings: Settings) -> Store:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_writable(settings.data_dir)
        if settings.run_as_owner:
            owner.open_house(settings)
        told = [webhook.subscription for webhook in settings.webhooks]
        return Store(settings.store_url, settings.database_wait_s, told)
    except OSError as error:
        advice = "set SNAKEWAY_DATA_DIR to a folder that can be written to"
        raise Invalid(
            f"cannot use the data folder {settings.data_dir}: {error.strerror}; {advice}", field="data_dir"
        ) from error


def open_blobs(settings: Settings) -> Blobs:
    """Return the object storage; nothing is asked of it yet. Raises Invalid when what S3 needs is not installed."""
    return open_location(settings.blobs_location)


def open_location(location: BlobsLocation) -> Blobs:
    """Return a storage; nothing is asked of it yet. Raises Invalid when what S3 needs is not installed."""
    if isinstance(location, FolderLocation):
        return LocalBlobs(location.folder)
    try:
        from snakeway.blobs.s3 import S3Blobs  # large, and only needed here
    except ModuleNotFoundError as error:
        raise Invalid(f"s3 needs {error.name}; install Snakeway with its extra 'server'", field="blobs_url") from error
    return S3Blobs(location)


def _look_for_folders(settings: Settings) -> None:
    for what, folder, advice in (
        ("workflows", settings.workflows_dir, NO_WORKFLOWS),
        ("targets", settings.profiles_dir, NO_TARGETS),
    ):
        if not folder.is_dir():  # it may appear later
            log.warning("%s: none in %s, which is no folder; %s", what, folder, advice)


def _run(supervisor: Supervisor, server: uvicorn.Server) -> None:
    try:
        supervisor.run()
    finally:
        server.should_exit = True  # a server that accepts runs which nobody starts would be worse than none


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None], parts: Parts) -> None:
        super().__init__(config)
        self._ready = ready
        self._parts = parts

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._parts.stopping.set()  # open event streams end now, and do not hold the server up
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would end the process by the same signal once more, before the supervisor has given its leases back.
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def _configure_logging() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("alembic", "botocore", "httpx", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.WARNING)
