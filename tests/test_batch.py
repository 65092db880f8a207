"""Group commit: what arrives while something is under way goes into the next one."""

import asyncio

import pytest

from colonies.batch import Batch
from colonies.core.errors import Conflict, Unavailable


class Statement:
    """Something to run, whose ends are in the hands of the test."""

    def __init__(self, *, bad: frozenset[int] = frozenset(), is_held: bool = True) -> None:
        self.runs: list[list[int]] = []
        self._bad = bad
        self._is_held = is_held
        self._may_end = asyncio.Semaphore(0 if is_held else 1000)
        self._has_begun = asyncio.Semaphore(0)

    async def __call__(self, items: list[int]) -> list[int]:
        self.runs.append(items)
        self._has_begun.release()
        if not self._is_held:
            await asyncio.sleep(0)
        await self._may_end.acquire()
        if self._bad & set(items):
            raise Conflict(f"bad: {self._bad & set(items)}")
        return [item * 10 for item in items]

    async def begun(self) -> None:
        await self._has_begun.acquire()

    def end(self) -> None:
        self._may_end.release()


def add(batch: Batch, item: int, **how: int) -> asyncio.Task:
    """Ask for an item at once."""
    return asyncio.ensure_future(batch.add(item, **how))


async def test_who_comes_first_goes_at_once_and_the_others_together():
    statement = Statement()
    batch = Batch(statement, most=100)
    first = add(batch, 1)
    await statement.begun()
    others = [add(batch, number) for number in (2, 3, 4)]
    statement.end()
    await statement.begun()
    statement.end()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert statement.runs == [[1], [2, 3, 4]]
    assert batch.is_idle


async def test_those_who_come_at_once_go_together():
    statement = Statement(bad=frozenset({3}), is_held=False)
    batch = Batch(statement, most=3)
    results = await batch.add_all(range(5))
    assert [results[:3], results[4]] == [[0, 10, 20], 40]
    assert isinstance(results[3], Conflict)
    assert statement.runs == [[0, 1, 2], [3, 4], [3], [4]]
    assert await batch.add_all([]) == []
    assert batch.is_idle


async def test_those_who_come_at_once_and_give_up_have_asked_for_nothing():
    statement = Statement()
    batch = Batch(statement, most=10)
    first = add(batch, 1)
    await statement.begun()
    gone = asyncio.ensure_future(batch.add_all([2, 3]))
    await asyncio.sleep(0)
    last = add(batch, 4)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    statement.end()
    await statement.begun()
    statement.end()
    assert await asyncio.gather(first, last) == [10, 40]
    assert statement.runs == [[1], [4]]


async def test_a_statement_has_so_many_rows_at_most():
    statement = Statement(is_held=False)
    batch = Batch(statement, most=3)
    await asyncio.gather(*(batch.add(number) for number in range(8)))
    assert statement.runs == [[0], [1, 2, 3], [4, 5, 6], [7]]


async def test_rows_are_counted_and_one_item_always_goes():
    statement = Statement(is_held=False)
    batch = Batch(statement, most=10)
    weights = {0: 1, 1: 4, 2: 6, 3: 1, 4: 50, 5: 1}
    await asyncio.gather(*(batch.add(item, rows=rows) for item, rows in weights.items()))
    assert statement.runs == [[0], [1, 2], [3], [4], [5]]


async def test_a_bad_one_harms_nobody_else():
    statement = Statement(bad=frozenset({2}), is_held=False)
    batch = Batch(statement, most=10)
    asked = [batch.add(number) for number in (0, 1, 2, 3)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [results[0], results[1], results[3]] == [0, 10, 30]
    assert isinstance(results[2], Conflict)
    assert statement.runs == [[0], [1, 2, 3], [1], [2], [3]]


async def test_an_outage_is_everybodys_and_not_tried_again_for_each():
    runs = []

    async def outage(items: list[int]) -> list[int]:
        runs.append(items)
        await asyncio.sleep(0)
        raise Unavailable("away")

    batch = Batch(outage, most=10)
    asked = [batch.add(number) for number in (0, 1, 2)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    assert runs == [[0], [1, 2]]


async def test_who_gave_up_before_their_turn_has_asked_for_nothing():
    statement = Statement()
    batch = Batch(statement, most=10)
    first = add(batch, 1)
    await statement.begun()
    gone, last = add(batch, 2), add(batch, 3)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    statement.end()
    await statement.begun()
    statement.end()
    assert await asyncio.gather(first, last) == [10, 30]
    assert statement.runs == [[1], [3]]


async def test_who_gives_up_during_their_turn_leaves_the_others_their_results():
    statement = Statement()
    batch = Batch(statement, most=10)
    first, gone, last = (add(batch, number) for number in (1, 2, 3))
    await statement.begun()
    statement.end()
    await statement.begun()
    gone.cancel()
    statement.end()
    assert await asyncio.gather(first, last) == [10, 30]


async def test_who_comes_first_and_gives_up_leaves_the_others_their_turn():
    statement = Statement()
    batch = Batch(statement, most=10)
    first, last = add(batch, 1), add(batch, 2)
    await statement.begun()
    first.cancel()
    await statement.begun()
    statement.end()
    assert await last == 20
    assert statement.runs == [[1], [2]]
    assert batch.is_idle


async def test_closing_tells_everybody_who_is_still_in_line():
    statement = Statement()
    batch = Batch(statement, most=1)
    first, *asked = [add(batch, number) for number in range(4)]
    await statement.begun()
    statement.end()
    await statement.begun()
    await batch.close()
    assert await first == 0
    for one in asked:
        with pytest.raises(Unavailable, match="stopping"):
            await one
    assert batch.is_idle
    await batch.close()


async def test_it_runs_again_after_a_pause():
    statement = Statement(is_held=False)
    batch = Batch(statement, most=10)
    assert [await batch.add(number) for number in (1, 2)] == [10, 20]
    assert statement.runs == [[1], [2]]


class Slow:
    """A pace that others are waited for by, as long as nobody says otherwise."""

    def __init__(self) -> None:
        self.seconds = 0.001
        self.noted: list[tuple[int, int]] = []

    def note(self, seconds: float, *, calls: int, rows: int) -> None:
        assert seconds >= 0
        self.noted.append((calls, rows))

    def pause(self) -> float:
        return self.seconds


async def test_where_it_is_worth_while_even_who_comes_first_waits_for_others():
    statement = Statement(is_held=False)
    pace = Slow()
    batch = Batch(statement, most=100, pace=pace)
    first = add(batch, 1)
    await asyncio.sleep(0)  # it has come, and waits
    assert await asyncio.gather(first, add(batch, 2, rows=3), add(batch, 3)) == [10, 20, 30]
    assert statement.runs == [[1, 2, 3]]
    assert pace.noted == [(3, 5)]
    assert batch.is_idle


async def test_those_who_come_at_once_are_one_call_to_the_pace():
    pace = Slow()
    batch = Batch(Statement(is_held=False), most=100, pace=pace)
    assert await batch.add_all(range(3)) == [0, 10, 20]
    assert pace.noted == [(1, 3)]


async def test_nobody_waits_where_there_is_enough_for_a_statement():
    statement = Statement(is_held=False)
    pace = Slow()
    pace.seconds = 1e6
    batch = Batch(statement, most=4, pace=pace)
    await asyncio.gather(*(batch.add(number) for number in range(4)))
    assert statement.runs == [[0, 1, 2, 3]]


async def test_who_waits_for_others_hears_that_it_stops():
    pace = Slow()
    pace.seconds = 1e6
    batch = Batch(Statement(), most=100, pace=pace)
    waiting = add(batch, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await batch.close()
    with pytest.raises(Unavailable):
        await waiting
