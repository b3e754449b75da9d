"""The live stream of a run as server-sent events."""

import asyncio
import logging
import re
import threading
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Annotated, Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter, SkipValidation
from litestar.response import Stream

from snakeway import errors
from snakeway.api.body import ApiRequest
from snakeway.api.document import answer
from snakeway.api.problems import documented
from snakeway.api.run import Run
from snakeway.api.shared import RunId, TheReads
from snakeway.errors import Invalid, RunNotFound, Unavailable
from snakeway.model.run import RESTING
from snakeway.model.user import User
from snakeway.rows import RunRow
from snakeway.service import Reads
from snakeway.service.stream import Position, events_after, following

log = logging.getLogger(__name__)

POLL_S = 0.3  # between two looks while nothing happens
HEARTBEAT_S = 15.0  # of silence, after which a comment keeps proxies from closing the connection
ATTEMPTS_S = 1.0  # between two looks for further attempts

_LARGEST_OFFSET = 2**53
_OWN_TYPES = frozenset({"run", "end"})
_PLAIN_NAME = re.compile(r"[a-z_]{1,64}", re.ASCII)
_encoder = msgspec.json.Encoder()

Stopping = NamedDependency[SkipValidation[threading.Event]]

_EXAMPLE = (
    "id: 1:187\nevent: job_finished\n"
    'data: {"seq":9,"t":1772443800.1,"type":"job_finished","job":3,"try":1,"attempt":1}\n\n'
)


class Feed:
    """What one client has been sent of a run. Called from one thread at a time; keeps no more than one look's bytes."""

    def __init__(self, reads: Reads, user: User, run_id: str, after: str | None, sent_as: str = "after") -> None:
        """Begin behind ``after``, which was ``sent_as``, or at the first attempt; raises RunNotFound, Invalid."""
        self._reads = reads
        self._user = user
        self._run_id = run_id
        self._directory = reads.directory(run_id)
        self._numbers = self._attempts()
        self._position = _begin(after, sent_as, self._numbers)
        self._shown: tuple[object, ...] = ()
        self._numbers_read_at = monotonic()
        self.ended = False
        self.idle = False

    def look(self) -> bytes:
        """Return the frames of what is new, and note whether that is nothing (``idle``) or the ``ended`` stream's last.

        What is there to be sent is asked in this order: run, attempts, events. So when the run has ended and has no
        further attempt, the events that are read after that are all there are. Raises RunNotFound, Unavailable.
        """
        run = self._reads.run(self._user, self._run_id)
        over = run.state in RESTING
        if over or monotonic() - self._numbers_read_at > ATTEMPTS_S:
            self._numbers = self._attempts()
            self._numbers_read_at = monotonic()
        events, position = events_after(self._directory, self._position)
        frames = [frame for each, event in events if (frame := _event_frame(each, event))]
        self.idle = position == self._position
        self._position = position
        further = following(self._numbers, position.attempt) if self.idle else None
        last = self.idle and further is None
        shown = (run.state, run.jobs_total, run.jobs_done, run.jobs_failed)
        if shown != self._shown and (last or not over):  # the state of a run that rests comes behind all its events
            self._shown = shown
            frames.append(_run_frame("run", run))
        if further is not None:
            self._position = Position(further, 0)
            self.idle = False
        elif last and over:
            self.ended = True
            frames.append(_run_frame("end", run))
        return b"".join(frames)

    def _attempts(self) -> list[int]:
        return [attempt.number for attempt in self._reads.attempts(self._user, self._run_id)]


def _begin(after: str | None, sent_as: str, numbers: list[int]) -> Position:
    if not after:
        return Position(min(numbers, default=1), 0)
    position = Position.parse(after)
    if position is None or position.attempt not in numbers or position.offset > _LARGEST_OFFSET:
        raise Invalid(
            f"{sent_as}: {after!r} is not the id of an event of this run; leave it out to start from the first event",
            field=sent_as,
        )
    return position


def _event_frame(position: Position, event: dict[str, Any]) -> bytes:
    """Return one event as a frame, or nothing for a type that is not a plain name or is one of the stream's own.

    The file lies where the workflow's own jobs can write, so a type may hold anything, line breaks for instance.
    """
    type_ = event["type"]
    if not _PLAIN_NAME.fullmatch(type_) or type_ in _OWN_TYPES:
        return b""
    event["attempt"] = position.attempt
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(position).encode(), type_.encode(), _encoder.encode(event))


def _run_frame(type_: str, run: RunRow) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type_.encode(), _encoder.encode(Run.of(run)))


async def frames(feed: Feed, stopping: threading.Event, poll_s: float = POLL_S) -> AsyncGenerator[bytes, None]:
    """Yield the stream until the run has ended and everything was sent, the run is gone, or the server stops.

    When the client goes away the generator is cancelled where it waits.
    """
    sent_at = monotonic()
    trouble = ""
    while not stopping.is_set():
        idle, chunk = True, b""
        try:
            chunk = await asyncio.to_thread(feed.look)
            idle, trouble = feed.idle, ""
        except RunNotFound:
            return
        except Unavailable as error:
            if error.detail != trouble:  # once, not at every look
                trouble = error.detail
                log.warning("the stream of a run waits: %s", trouble)
        if not chunk and monotonic() - sent_at >= HEARTBEAT_S:
            chunk = b":\n\n"
        if chunk:
            sent_at = monotonic()
            yield chunk
        if feed.ended:
            return
        if idle:
            await asyncio.sleep(poll_s)


class EventController(Controller):
    """The live stream of a run."""

    path = "/runs/{run_id:str}"
    tags = ("events",)

    @get(
        "/events",
        sync_to_thread=True,
        media_type="text/event-stream",
        operation_id="stream_events",
        summary="Follow a run",
        responses={
            200: answer(str, _EXAMPLE, "A stream of server-sent events.", "text/event-stream"),
            **documented(errors.RunNotFound),
        },
    )
    def stream(
        self,
        request: ApiRequest,
        reads: TheReads,
        stopping: Stopping,
        run_id: RunId,
        last_event_id: Annotated[
            str | None,
            HeaderParameter(
                name="Last-Event-ID", description="Go on behind this event; browsers send it by themselves."
            ),
        ] = None,
        after: Annotated[
            str | None, QueryParameter(description="The same for clients that cannot set headers.")
        ] = None,
    ) -> Stream:
        """What has happened since the first attempt began, then what happens, as server-sent events.

        An event of snakemake has an `id` to resume from. `run` carries the run whenever its state or job counts have
        changed; `end` carries it when the run has ended and everything was sent, and closes the stream. While nothing
        happens a comment comes every 15 seconds.
        """
        feed = Feed(reads, request.user, run_id, last_event_id or after, "Last-Event-ID" if last_event_id else "after")
        headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
        return Stream(frames(feed, stopping), media_type="text/event-stream", headers=headers)
