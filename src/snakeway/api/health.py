"""Health and metrics, for monitoring."""

import os
from pathlib import Path
from typing import Annotated, Literal, Protocol

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import SkipValidation
from msgspec import Meta, Struct

from snakeway import __version__
from snakeway.api.access import OPEN
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.shared import TheReads
from snakeway.api.tracing import UNTRACED
from snakeway.directory import check_writable
from snakeway.errors import NotFound, Unavailable
from snakeway.service import Reads
from snakeway.settings import Settings


class Prometheus(Protocol):
    """Metrics that Prometheus can read."""

    def prometheus(self) -> bytes:
        """Return them as text."""
        ...


TheSettings = NamedDependency[SkipValidation[Settings]]
TheMetrics = NamedDependency[SkipValidation[Prometheus | None]]

OK = "ok"


class Live(Struct, frozen=True):
    """The server answers."""

    status: Literal["ok"]
    version: str


class Checks(Struct, frozen=True):
    """What the server needs; each is `ok` or says what is wrong."""

    database: str
    supervisor: Annotated[str, Meta(description="Whether somebody is there who starts runs.")]
    data_dir: str


class Ready(Struct, frozen=True):
    """Whether the server can do its work."""

    status: Literal["ok", "unavailable"]
    checks: Checks


_RETRY = {"Retry-After": "5"}
_A_BLOCK = bytes(4096)


def _ready_answers() -> dict[int, ResponseSpec]:
    broken = Checks("the sqlite database does not answer (database is locked); try again in a moment", OK, OK)
    return {
        200: answer(Ready, Ready("ok", Checks(OK, OK, OK)), "Everything is there."),
        **documented(database=False),
        503: answer(Ready, Ready("unavailable", broken), "Something is missing; the checks say what."),
    }


class HealthController(Controller):
    """For monitoring."""

    path = "/health"
    tags = ("health",)
    opt = {UNTRACED: True}  # noqa: RUF012 - Litestar's own way

    @get(
        "/live",
        sync_to_thread=False,
        opt={OPEN: True},
        operation_id="get_live",
        summary="Whether the server answers",
        responses={200: answer(Live, Live("ok", __version__)), **documented(database=False)},
    )
    def live(self) -> Live:
        """Always ok; needs no token."""
        return Live("ok", __version__)

    @get(
        "/ready",
        sync_to_thread=True,
        operation_id="get_ready",
        summary="Whether the server can do its work",
        responses=_ready_answers(),
    )
    def ready(self, reads: TheReads, settings: TheSettings) -> Response[Ready]:
        """Whether changes can be stored, a supervisor was seen lately, and files can be written where the runs are."""
        checks = _checks(reads, settings)
        good = checks == Checks(OK, OK, OK)
        return Response(
            Ready("ok" if good else "unavailable", checks),
            status_code=200 if good else 503,
            headers={} if good else _RETRY,
        )


def _checks(reads: Reads, settings: Settings) -> Checks:
    database = OK
    try:
        reads.check_database()
        supervisor = OK if reads.supervisors_alive() else "no supervisor has been seen lately: queued runs wait"
    except Unavailable as error:
        database, supervisor = error.detail, "not known"
    return Checks(database, supervisor, _data_dir(settings.data_dir))


def _data_dir(data_dir: Path) -> str:
    runs = data_dir / "runs"
    folder = runs if os.path.lexists(runs) else data_dir
    try:
        check_writable(folder, _A_BLOCK)
    except OSError as error:
        return f"{folder} is not a folder that can be written to ({error.strerror})"
    return OK


class MetricsController(Controller):
    """For Prometheus."""

    path = "/metrics"
    tags = ("health",)
    opt = {UNTRACED: True}  # noqa: RUF012 - Litestar's own way

    @get(
        sync_to_thread=True,
        media_type="text/plain",
        operation_id="get_metrics",
        summary="Metrics in Prometheus' text format",
        responses={
            200: answer(str, "snakeway_runs_active 3\n", "The metrics of this process.", "text/plain"),
            **documented(NotFound, database=False),
        },
    )
    def one(self, metrics: TheMetrics) -> Response[bytes]:
        """Counters, gauges and histograms."""
        if metrics is None:
            raise NotFound("this server keeps no metrics")
        from snakeway.telemetry.metrics import PROMETHEUS_TYPE

        return Response(metrics.prometheus(), media_type=PROMETHEUS_TYPE)
