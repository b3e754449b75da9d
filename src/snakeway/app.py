"""The web application, made from its parts."""

import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide

from snakeway import telemetry
from snakeway.api import problems
from snakeway.api.access import Access
from snakeway.api.archive import ArchiveController
from snakeway.api.artifact import ArtifactController
from snakeway.api.attempt import AttemptController
from snakeway.api.audit import AuditController
from snakeway.api.body import SLOW_LANE, SUBMISSIONS, TRANSFER_LANE, ApiRequest
from snakeway.api.bundle import BundleController
from snakeway.api.cost import CostController, RunCostController
from snakeway.api.delivery import DeliveryController
from snakeway.api.document import openapi_config
from snakeway.api.efficiency import EfficiencyController
from snakeway.api.events import EventController
from snakeway.api.gate import GateController, RunGateController
from snakeway.api.grouped import Grouped
from snakeway.api.headers import add_security_headers
from snakeway.api.health import HealthController, MetricsController, Prometheus
from snakeway.api.input import InputController
from snakeway.api.job import JobController
from snakeway.api.lanes import SLOW_THREADS, SUBMIT_THREADS, TRANSFER_THREADS, Lane, set_common_pool
from snakeway.api.log import LogController
from snakeway.api.outside import OutsideController
from snakeway.api.prune import PruneController
from snakeway.api.query import RefuseUnknown
from snakeway.api.reference import ReferenceController
from snakeway.api.run import BASE, RunController
from snakeway.api.target import TargetController
from snakeway.api.tracing import RequestSpans
from snakeway.api.workflow import WorkflowController
from snakeway.auth import Authenticator
from snakeway.service import Commands, Reads
from snakeway.service.submissions import Asked, Made
from snakeway.settings import Settings

_CONTROLLERS = (
    RunController,
    AttemptController,
    JobController,
    EfficiencyController,
    RunCostController,
    CostController,
    LogController,
    EventController,
    ArtifactController,
    ArchiveController,
    InputController,
    GateController,
    RunGateController,
    OutsideController,
    WorkflowController,
    BundleController,
    TargetController,
    DeliveryController,
    PruneController,
    AuditController,
    HealthController,
)


@dataclass(frozen=True)
class Parts:
    """What an application is made of.

    ``on_startup`` is called in order before the first request, ``on_shutdown`` after the last, both on the loop's
    thread. Whoever runs the server sets ``stopping`` when it is told to end, so that open streams end too; else they
    keep it until its own patience is over.
    """

    settings: Settings
    commands: Commands
    reads: Reads
    metrics: Prometheus | None = None
    on_startup: Sequence[Callable[[], object]] = ()
    on_shutdown: Sequence[Callable[[], object]] = ()
    stopping: threading.Event = field(default_factory=threading.Event)


def create_app(parts: Parts) -> Litestar:
    """Return the application. Nothing is opened or started before its lifespan begins."""
    token = parts.settings.token
    authenticator = Authenticator(None if token is None else token.get_secret_value())
    spans = RequestSpans() if telemetry.configured() else None
    slow_lane, transfer_lane = Lane(SLOW_THREADS, "snakeway-slow"), Lane(TRANSFER_THREADS, "snakeway-transfer")
    submit_lane = Lane(SUBMIT_THREADS, "snakeway-submit")

    def make(group: Sequence[Asked]) -> list[Made | Exception]:
        return parts.commands.submissions.make_all(group)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None, None]:
        with ExitStack() as stack:  # every part is closed, whatever the others raise
            if spans is not None:
                stack.callback(spans.close)
                spans.open()
            set_common_pool()
            for lane in (slow_lane, transfer_lane, submit_lane):
                stack.callback(lane.close)
                lane.open()
            for stop in reversed(parts.on_shutdown):
                stack.callback(stop)
            stack.callback(parts.stopping.set)
            for start in parts.on_startup:
                start()
            yield

    return Litestar(
        route_handlers=[Router(BASE, route_handlers=_CONTROLLERS), MetricsController, ReferenceController],
        dependencies={
            "settings": _given(parts.settings),
            "commands": _given(parts.commands),
            "reads": _given(parts.reads),
            "metrics": _given(parts.metrics),
            "stopping": _given(parts.stopping),
        },
        middleware=[*([spans] if spans is not None else []), Access(authenticator)],
        before_request=RefuseUnknown(),
        before_send=[add_security_headers],
        exception_handlers=problems.HANDLERS,
        request_class=ApiRequest,
        state=State({SLOW_LANE: slow_lane, TRANSFER_LANE: transfer_lane, SUBMISSIONS: Grouped(make, submit_lane)}),
        request_max_body_size=parts.settings.max_body_bytes,
        openapi_config=openapi_config(),
        logging_config=None,
        lifespan=[lifespan],
    )


def _given(part: Any) -> Provide:
    return Provide(lambda: part, sync_to_thread=False)
