"""Nobody waits for others, unless there are some and statements are slow."""

import asyncio

import pytest

from colonies.batch import Batch
from colonies.server.pace import DOUBLED_IN, LONGEST, ROW, STALE, STUCK, Lane, Pace

QUICK, SLOW = 0.0015, 0.010


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock) -> Pace:
    """One that knows how quick a statement can be."""
    pace = Pace(clock)
    pace.note(QUICK, calls=1, rows=1)
    return pace


def note(pace: Pace, seconds: float, *, calls: int = 5, rows: int = 5) -> None:
    for _ in range(20):
        pace.note(seconds, calls=calls, rows=rows)


def test_nobody_waits_at_first(clock):
    assert Pace(clock).pause() == 0


def test_nobody_waits_while_statements_are_as_quick_as_ever(pace):
    note(pace, 2 * QUICK)
    assert pace.pause() == 0


def test_where_statements_are_slow_others_are_waited_for_but_not_long(pace):
    note(pace, SLOW)
    assert 0 < pace.pause() <= LONGEST
    note(pace, 100 * SLOW)
    assert pace.pause() == LONGEST


def test_who_is_alone_does_not_wait(pace):
    note(pace, SLOW, calls=1, rows=1)
    assert pace.pause() == 0


def test_who_comes_after_a_while_does_not_wait(pace, clock):
    note(pace, SLOW)
    clock.now += STALE * 1.1
    assert pace.pause() == 0
    pace.note(QUICK, calls=5, rows=5)
    assert pace.pause() == 0


def test_what_takes_long_because_it_is_much_is_not_slow(pace):
    note(pace, QUICK + 200 * ROW, calls=2, rows=200)
    assert pace.pause() == 0


def test_what_found_nothing_to_do_is_no_measure(pace):
    note(pace, 0.0001)
    note(pace, 2 * QUICK)
    assert pace.pause() == 0


def test_what_has_become_slower_for_good_is_got_used_to(pace, clock):
    for _ in range(30):
        clock.now += DOUBLED_IN / 10
        note(pace, SLOW)
    assert pace.pause() == 0


@pytest.fixture
def lane() -> Lane:
    """One of a hub that is not alone."""
    lane = Lane()
    lane.others = 1
    return lane


def test_a_hub_that_is_alone_has_as_many_under_way_as_come():
    lane = Lane()
    lane.begin()
    assert lane.is_clear


async def test_beside_other_hubs_the_longest_line_is_next(lane):
    lane.begin()
    assert not lane.is_clear
    turns: list[str] = []

    async def take(name: str, length: int) -> None:
        await lane.clear(lambda: length)
        turns.append(name)
        lane.begin()

    async with asyncio.TaskGroup() as tasks:
        for name, length in (("short", 1), ("long", 3), ("middling", 2)):
            tasks.create_task(take(name, length))
        for there in range(1, 4):
            await asyncio.sleep(0)
            lane.end()
            while len(turns) < there:
                await asyncio.sleep(0)
    assert turns == ["long", "middling", "short"]
    lane.end()
    assert lane.is_clear


async def test_nobody_is_held_up_for_long_by_a_statement_that_is_stuck(lane):
    lane.begin()
    started = asyncio.get_running_loop().time()
    await lane.clear(lambda: 1)
    assert asyncio.get_running_loop().time() - started >= STUCK * 0.9
    lane.begin()
    lane.end()
    assert not lane.is_clear


async def test_whose_turn_it_is_goes_before_whoever_comes_just_then(lane):
    lane.begin()
    turn = asyncio.ensure_future(lane.clear(lambda: 1))
    await asyncio.sleep(0)
    lane.end()
    assert not lane.is_clear
    await turn
    assert lane.is_clear


@pytest.mark.parametrize(("calls", "is_waited_for"), [(1, False), (5, True)])
def test_beside_other_hubs_others_are_waited_for_as_long_as_a_statement_takes(
    clock, lane, calls, is_waited_for
):
    pace = Pace(clock, lane=lane)
    note(pace, QUICK, calls=calls, rows=1)
    assert pace.pause() == (pytest.approx(QUICK, rel=0.1) if is_waited_for else 0)


async def test_who_comes_first_goes_at_once_unless_another_kind_is_under_way(clock, lane):
    """Two lines in front of one lane: what comes to the second meanwhile is done together."""
    done: list[list[int]] = []
    is_held = asyncio.Event()

    async def first(items: list[int]) -> list[int]:
        await is_held.wait()
        return items

    async def second(items: list[int]) -> list[int]:
        done.append(items)
        return items

    one = Batch(first, most=10, pace=Pace(clock, lane=lane), lane=lane)
    other = Batch(second, most=10, pace=Pace(clock, lane=lane), lane=lane)
    under_way = asyncio.ensure_future(one.add(0))
    await asyncio.sleep(0)
    waiting = asyncio.gather(*(other.add(number) for number in range(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == []
    is_held.set()
    assert await under_way == 0
    assert await waiting == [0, 1, 2]
    assert done == [[0, 1, 2]]
