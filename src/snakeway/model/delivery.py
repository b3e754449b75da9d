"""A delivery is one message to one webhook; this is when it is tried again, and when no more."""

from dataclasses import dataclass
from enum import StrEnum

LONGEST_PAUSE_S = 6 * 3600
_GROWTH = 4.0
_SPREAD = 0.2  # of a pause, to both sides: a receiver that comes back is not met by all at once
_GONE = 410
_SUCCESS = range(200, 300)


class DeliveryState(StrEnum):
    """Where a delivery stands.

    PENDING    stored in the transaction that changed the run; to be sent, or to be tried again. A crash in the middle
               of a try leaves it pending, so the receiver may get it twice, with the same id.
    DELIVERED  the receiver has answered with success.
    FAILED     given up: too many tries, or the address is not to be used any more.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try."""

    status: int | None = None  # of the receiver's answer; None if there was none
    error: str | None = None  # why there was no success
    retry_after_s: float | None = None  # the receiver asked to be left alone for so long

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.status in _SUCCESS

    @property
    def hopeless(self) -> bool:
        """Whether the receiver wants no message at this address, ever."""
        return self.status == _GONE


def judge(answer: Answer, tries: int, max_tries: int) -> DeliveryState:
    """Return the state of a delivery after its try number ``tries``."""
    if answer.delivered:
        return DeliveryState.DELIVERED
    return DeliveryState.FAILED if answer.hopeless or tries >= max_tries else DeliveryState.PENDING


def pause_s(tries: int, first_s: float, chance: float, retry_after_s: float | None = None) -> float:
    """Return the pause after try number ``tries``: it grows by four each time; ``chance`` (0 to 1) spreads it.

    A receiver's own wish counts if it is longer, up to the longest pause.
    """
    pause = min(first_s * _GROWTH ** min(tries - 1, 100), LONGEST_PAUSE_S) * (1 + _SPREAD * (2 * chance - 1))
    return max(pause, min(retry_after_s or 0, LONGEST_PAUSE_S))
