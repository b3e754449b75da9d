"""Recording runs that were started by hand."""

from typing import cast
from urllib.parse import quote

from snakeway.client.nouns import Recording
from snakeway.client.transport import Transport


class OutsideRuns:
    """What can be told about runs by hand: the bytes of their events, at offsets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def recorded(self, run_id: str, attempt_id: str) -> Recording:
        """Return how far an attempt is recorded: at offset 0, if it is not known."""
        return cast("Recording", self._transport.ask("GET", _path(run_id, attempt_id)))

    def append(self, run_id: str, attempt_id: str, offset: int, data: bytes, *, gone: bool = False) -> Recording:
        """Record the whole lines of ``data``, which begin at byte ``offset`` of the attempt's events.

        ``gone`` says that its process has ended. Raises OffsetConflict, which names the offset to go on from.
        """
        answer = self._transport.ask(
            "POST",
            f"{_path(run_id, attempt_id)}/events",
            params={"offset": offset, "gone": "true" if gone else None},
            content=data,
            headers={"Content-Type": "application/x-ndjson"},
        )
        return cast("Recording", answer)

    def put_log(self, run_id: str, attempt_id: str, data: bytes) -> None:
        """Record the end of what snakemake printed."""
        headers = {"Content-Type": "text/plain"}
        self._transport.send("PUT", f"{_path(run_id, attempt_id)}/log", content=data, headers=headers, repeatable=True)


def _path(run_id: str, attempt_id: str) -> str:
    return f"/outside/{quote(run_id, safe='')}/{quote(attempt_id, safe='')}"
