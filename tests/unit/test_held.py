"""Jobs that wait until Slurm accepts them: how often it is asked."""

import threading
from typing import Any

import pytest

from snakemake_executor_plugin_snakeway_slurm.held import Held

PAUSE_S = 15.0


class Timer:
    """A timer whose time is over when the test says so."""

    def __init__(self, pause_s: float, call: Any, args: tuple[Any, ...]) -> None:
        self.pause_s, self._call, self._args, self.daemon, self.over = pause_s, call, args, False, False

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        self.over = True

    def ring(self) -> None:
        if not self.over:
            self.over = True
            self._call(*self._args)


@pytest.fixture
def timers() -> list[Timer]:
    """The timers that were started."""
    return []


@pytest.fixture
def asked() -> list[str]:
    """The jobs that were submitted again."""
    return []


@pytest.fixture
def waiting(timers: list[Timer], asked: list[str]) -> Held[str]:
    """Three jobs in one line."""

    def timer(*args: Any) -> Any:
        timers.append(Timer(*args))
        return timers[-1]

    found: Held[str] = Held(asked.append, timer)
    assert [found.refused(job, "full", PAUSE_S) for job in ("a", "b", "c")] == [True, True, True]
    return found


def test_a_line_has_one_timer_and_its_first_job_is_tried(
    waiting: Held[str], timers: list[Timer], asked: list[str]
) -> None:
    assert [timer.pause_s for timer in timers] == [PAUSE_S]
    timers[0].ring()
    assert asked == ["a"]


def test_the_first_that_is_refused_again_stays_the_first(
    waiting: Held[str], timers: list[Timer], asked: list[str]
) -> None:
    timers[0].ring()
    assert not waiting.refused("a", "full", PAUSE_S)
    timers[1].ring()
    assert asked == ["a", "a"]


def test_the_next_follows_at_once_when_one_is_accepted(
    waiting: Held[str], timers: list[Timer], asked: list[str]
) -> None:
    timers[0].ring()
    waiting.accepted("a")
    waiting.accepted("b")
    assert asked == ["a", "b", "c"]
    waiting.accepted("c")
    assert len(timers) == 1


def test_lines_do_not_wait_for_each_other(waiting: Held[str], timers: list[Timer], asked: list[str]) -> None:
    waiting.refused("x", "away", PAUSE_S)
    timers[1].ring()
    assert asked == ["x"]


def test_a_job_that_never_waited_lets_nobody_follow(waiting: Held[str], asked: list[str]) -> None:
    waiting.accepted("z")
    assert asked == []


def test_after_the_end_nothing_is_submitted(waiting: Held[str], timers: list[Timer], asked: list[str]) -> None:
    waiting.close()
    timers[0].ring()
    waiting.refused("d", "full", PAUSE_S)
    assert (asked, len(timers)) == ([], 1)


def test_with_a_real_clock() -> None:
    done = threading.Event()
    found: Held[str] = Held(lambda _: done.set())
    found.refused("a", "full", 0.01)
    assert done.wait(10)
