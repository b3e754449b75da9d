"""Wait for something to become true, with a deadline and without fixed pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.25
_GROWTH = 1.5


def wait_until(condition: Callable[[], T | None], *, timeout_s: float, what: str) -> T:
    """Call `condition` until it holds and return what it gave.

    `None` and `False` mean "not yet", as does an `AssertionError` raised by the condition; every other
    value, 0 and empty collections included, means that it holds. The condition is called at least once,
    and once more at the deadline. `what` completes the sentence "waited ... s for ...".

    Raises AssertionError, which names `what` and the last value (or the last failed assertion), if the
    condition does not hold within `timeout_s` seconds. Any other exception of the condition goes
    through at once.
    """
    started = time.monotonic()
    deadline = started + timeout_s
    pause = _FIRST_PAUSE_S
    calls = 0
    while True:
        last_call = time.monotonic() >= deadline
        calls += 1
        failed: AssertionError | None = None
        value: T | None = None
        try:
            value = condition()
        except AssertionError as error:
            failed = error
        if failed is None and value is not None and value is not False:
            return value
        if last_call:
            seen = f"last failed assertion: {failed}" if failed else f"last value: {value!r}"
            waited = time.monotonic() - started
            raise AssertionError(f"waited {waited:.1f} s for {what} ({calls} tries); {seen}") from failed
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE_S)
