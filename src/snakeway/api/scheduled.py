"""What a scheduler says of a job, as the API shows it."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from snakeway.api.times import moment
from snakeway.model.scheduled import Phase
from snakeway.model.scheduled import Scheduled as Known


class Scheduled(Struct, frozen=True):
    """A job as its scheduler sees it."""

    state: Annotated[str, Meta(description="In the scheduler's own words.", examples=["PENDING", "OUT_OF_MEMORY"])]
    phase: Annotated[Phase, Meta(description="What the state comes to.")]
    reason: Annotated[str, Meta(description="Why it waits, or who ended it.", examples=["Resources", "by alice"])]
    host: Annotated[str | None, Meta(description="The node, or nodes.")]
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: Annotated[
        int | None, Meta(description="Of what the scheduler started, which is snakemake and not the job's command.")
    ]
    signal: int | None
    cpus: Annotated[int | None, Meta(description="Processors that it was given.")]
    mem_mb: Annotated[float | None, Meta(description="Memory that it was given.")]
    cpu_s: Annotated[float | None, Meta(description="Processor time that it used.")]
    max_rss_mb: Annotated[float | None, Meta(description="Most memory that was seen in use.")]
    final: Annotated[bool, Meta(description="From the scheduler's closed books: nothing more will be known.")]

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> "Scheduled | None":
        """Make the one shape of it from what was stored."""
        known = Known.from_json(data)
        if known is None:
            return None
        return cls(
            state=known.state,
            phase=known.phase,
            reason=known.reason,
            host=known.host,
            queued_at=moment(known.queued_at),
            started_at=moment(known.started_at),
            ended_at=moment(known.ended_at),
            exit_code=known.exit_code,
            signal=known.signal,
            cpus=known.cpus,
            mem_mb=known.mem_mb,
            cpu_s=known.cpu_s,
            max_rss_mb=known.max_rss_mb,
            final=known.final,
        )


EXAMPLE = Scheduled.of(
    Known(
        "FAILED",
        host="node7",
        queued_at=1_790_000_000,
        started_at=1_790_000_042,
        ended_at=1_790_000_100,
        exit_code=1,
        cpus=1,
        mem_mb=2000,
        cpu_s=50,
        max_rss_mb=1210,
        final=True,
    ).to_json()
)
