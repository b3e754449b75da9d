"""Calls that are carried out together: what waits makes one group, and no call is lost by another's fault."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from snakeway.api import grouped
from snakeway.api.grouped import Grouped
from snakeway.api.lanes import Lane
from snakeway.errors import Unavailable


class Doubling:
    """Doubles numbers once it may go on; words are refused, and a group with zero in it fails as a whole."""

    def __init__(self) -> None:
        self.groups: list[list[int | str]] = []
        self.may_go_on = threading.Event()

    def __call__(self, items: Sequence[int | str]) -> list[int | Exception]:
        self.groups.append(list(items))
        assert self.may_go_on.wait(10)
        if 0 in items:
            raise LookupError("zero")
        return [2 * item if isinstance(item, int) else ValueError(item) for item in items]


@asynccontextmanager
async def grouping(function: Doubling) -> AsyncGenerator[Grouped[int | str, int], None]:
    lane = Lane(1, "test")
    lane.open()
    yield Grouped(function, lane)
    lane.close()


async def started(group: Grouped[int | str, int], *items: int | str) -> list[asyncio.Task[int]]:
    """Start a call for each item, as far as they come before they wait."""
    tasks = [asyncio.create_task(group.run(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_what_comes_while_a_call_is_under_way_is_one_call() -> None:
    double = Doubling()

    async def scenario() -> None:
        async with grouping(double) as group:
            first = await started(group, 1)
            others = await started(group, 2, 3, 4)
            double.may_go_on.set()
            assert await asyncio.gather(*first, *others) == [2, 4, 6, 8]
            assert double.groups == [[1], [2, 3, 4]]
            assert await group.run(5) == 10  # nothing waits, and the next begins anew

    asyncio.run(scenario())
    assert double.groups[2:] == [[5]]


def test_an_error_is_of_its_own_item_only() -> None:
    double = Doubling()
    double.may_go_on.set()

    async def scenario() -> list[int | BaseException]:
        async with grouping(double) as group:
            return await asyncio.gather(*(group.run(item) for item in (1, "x", 3)), return_exceptions=True)

    one, error, three = asyncio.run(scenario())
    assert (one, str(error), three) == (2, "x", 6)


def test_after_a_call_that_fails_as_a_whole_each_item_has_its_own() -> None:
    double = Doubling()

    async def scenario() -> list[int | BaseException]:
        async with grouping(double) as group:
            first = await started(group, 1)
            others = await started(group, 2, 0, 3)
            double.may_go_on.set()
            return await asyncio.gather(*first, *others, return_exceptions=True)

    one, two, error, three = asyncio.run(scenario())
    assert (one, two, three) == (2, 4, 6)
    assert isinstance(error, LookupError)
    assert double.groups == [[1], [2, 0, 3], [2], [0], [3]]


def test_who_goes_away_keeps_nobody_from_an_answer() -> None:
    double = Doubling()

    async def scenario() -> int:
        async with grouping(double) as group:
            [gone] = await started(group, 1)
            [also_gone, stays] = await started(group, 2, 3)
            gone.cancel()
            also_gone.cancel()
            double.may_go_on.set()
            return await stays

    assert asyncio.run(scenario()) == 6
    assert double.groups == [[1], [2, 3]]


def test_a_group_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_MOST", 2)
    double = Doubling()

    async def scenario() -> list[int]:
        async with grouping(double) as group:
            first = await started(group, 1)
            others = await started(group, 2, 3, 4)
            double.may_go_on.set()
            return await asyncio.gather(*first, *others)

    assert asyncio.run(scenario()) == [2, 4, 6, 8]
    assert double.groups == [[1], [2, 3], [4]]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was answered is waited for longer than any test takes."""
    monkeypatch.setattr(grouped, "_JOIN_S", 3600)


@pytest.mark.usefixtures("patience")
def test_who_was_answered_and_asks_again_joins_those_that_came_meanwhile() -> None:
    double = Doubling()

    async def scenario() -> None:
        async with asyncio.timeout(60), grouping(double) as group:
            first = await started(group, 1)
            other = await started(group, 2)
            double.may_go_on.set()
            assert await asyncio.gather(*first) == [2]
            assert await asyncio.gather(group.run(3), *other) == [6, 4]

    asyncio.run(scenario())
    assert double.groups == [[1], [2, 3]]


@pytest.mark.usefixtures("patience")
def test_who_asks_alone_waits_for_nobody() -> None:
    double = Doubling()
    double.may_go_on.set()

    async def scenario() -> None:
        async with asyncio.timeout(60), grouping(double) as group:
            for number in (1, 2, 3):
                assert await group.run(number) == 2 * number

    asyncio.run(scenario())
    assert double.groups == [[1], [2], [3]]


@pytest.mark.usefixtures("patience")
def test_a_full_group_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_MOST", 2)
    double = Doubling()

    async def scenario() -> None:
        async with asyncio.timeout(60), grouping(double) as group:
            first = await started(group, 1)
            others = await started(group, 2, 3)
            double.may_go_on.set()
            assert await asyncio.gather(*first, *others) == [2, 4, 6]

    asyncio.run(scenario())
    assert double.groups == [[1], [2, 3]]


def test_too_many_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_MOST_WAITING", 2)
    double = Doubling()

    async def scenario() -> None:
        async with grouping(double) as group:
            first = await started(group, 1)
            others = await started(group, 2, 3)
            with pytest.raises(Unavailable):
                await group.run(4)
            double.may_go_on.set()
            assert await asyncio.gather(*first, *others) == [2, 4, 6]

    asyncio.run(scenario())


class Halt(BaseException):
    """What no call catches."""


def halting(_: Sequence[int]) -> list[int | Exception]:
    raise Halt


def miscounting(_: Sequence[int]) -> list[int | Exception]:
    return []


@pytest.mark.parametrize("function", [halting, miscounting])
def test_nobody_waits_for_ever_and_the_next_begins_anew(
    function: Callable[[Sequence[int]], list[int | Exception]],
) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        lane = Lane(1, "test")
        lane.open()
        group = Grouped(function, lane)
        for _ in range(2):
            answers = await asyncio.gather(group.run(1), group.run(2), return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable] * 2
        lane.close()

    asyncio.run(scenario())


def test_the_end_of_the_lane_is_an_answer() -> None:
    double = Doubling()

    async def scenario() -> list[int | BaseException]:
        lane = Lane(1, "test")
        lane.open()
        group = Grouped(double, lane)
        other = asyncio.create_task(lane.run(double.may_go_on.wait, 10))  # keeps the lane's thread
        waiting = await started(group, 1, 2)
        await asyncio.sleep(0)  # the call is in the lane's queue
        lane.close()
        double.may_go_on.set()
        await other
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(scenario())] == [Unavailable] * 2
    assert double.groups == []
