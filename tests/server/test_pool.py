"""Connections to the database: shared in the order of coming, and never handed on unfit."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from colonies.core.errors import Unavailable
from colonies.server.pool import Pool
from colonies.server.primary import Connection, connect

SECONDS = 30.0


class Opener:
    """Opens real connections, and counts them; some tries may be made to fail."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened = 0
        self.failure: Exception | None = None

    async def __call__(self) -> Connection:
        if self.failure is not None:
            raise self.failure
        self.opened += 1
        return await connect(self.url)


@pytest.fixture
def opener(database_url) -> Opener:
    return Opener(database_url)


@pytest.fixture
async def pool(opener) -> AsyncIterator[Pool]:
    pool = Pool(opener, most=2, timeout=SECONDS)
    yield pool
    pool.close()


async def started(work) -> asyncio.Task:
    """Begin something and let it go as far as it can without waiting."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    return task


async def test_what_was_given_back_last_is_taken_next(pool, opener):
    one, other = await pool.take(), await pool.take()
    pool.give_back(one)
    pool.give_back(other)
    assert await pool.take() is other
    assert await pool.take() is one
    assert opener.opened == 2


async def test_who_waits_is_served_in_the_order_of_coming(pool):
    one, other = await pool.take(), await pool.take()
    first, gone, second = [await started(pool.take()) for _ in range(3)]
    gone.cancel()
    pool.give_back(one)
    assert await first is one
    pool.give_back(other)
    assert await second is other
    assert gone.cancelled()


async def test_a_connection_that_came_too_late_goes_to_the_next(pool):
    one, _ = await pool.take(), await pool.take()
    late, next_ = await started(pool.take()), await started(pool.take())
    pool.give_back(one)
    late.cancel()  # it has its turn already, and does not know
    assert await next_ is one


async def test_waiting_ends_after_a_while(opener):
    pool = Pool(opener, most=1, timeout=0.05)
    one = await pool.take()
    with pytest.raises(TimeoutError):
        await pool.take()
    pool.give_back(one)
    assert await pool.take() is one
    pool.close()


async def test_one_that_was_closed_is_replaced(pool, opener):
    one = await pool.take()
    pool.give_back(one)
    one.terminate()
    other = await pool.take()
    assert other is not one
    other.terminate()
    pool.give_back(other)
    assert await (await pool.take()).fetchval("SELECT 1") == 1
    assert opener.opened == 3


async def test_one_in_a_transaction_is_not_handed_on(pool):
    one = await pool.take()
    await one.execute("BEGIN")
    pool.give_back(one)
    assert one.is_closed()
    assert not (await pool.take()).is_in_transaction()


async def test_a_failure_to_open_takes_no_room(pool, opener):
    opener.failure = OSError("no way")
    for _ in range(3):
        with pytest.raises(OSError, match="no way"):
            await pool.take()
    opener.failure = None
    await pool.take()
    await pool.take()


async def test_all_can_be_dropped_and_are_opened_anew(pool):
    used, idle = await pool.take(), await pool.take()
    pool.give_back(idle)
    pool.drop_all()
    assert used.is_closed()
    assert idle.is_closed()
    pool.give_back(used)
    assert await (await pool.take()).fetchval("SELECT 1") == 1


async def test_after_the_end_nobody_gets_any(pool):
    used, idle = await pool.take(), await pool.take()
    waiting = await started(pool.take())
    pool.give_back(idle)
    assert await waiting is idle
    waiting = await started(pool.take())
    pool.close()
    for work in (waiting, pool.take()):
        with pytest.raises(Unavailable, match="stopping"):
            await work
    assert used.is_closed()
    pool.give_back(used)
    pool.close()


async def test_one_opened_at_the_end_is_closed(opener):
    reached, go_on = asyncio.Event(), asyncio.Event()
    made: list[Connection] = []

    async def open_slowly() -> Connection:
        reached.set()
        await go_on.wait()
        made.append(await opener())
        return made[0]

    pool = Pool(open_slowly, most=1, timeout=SECONDS)
    taking = await started(pool.take())
    await reached.wait()
    pool.close()
    go_on.set()
    with pytest.raises(Unavailable, match="stopping"):
        await taking
    assert made[0].is_closed()


async def test_one_dropped_between_two_steps_of_a_statement_says_so(pool, monkeypatch):
    one = await pool.take()

    async def prepare_and_be_dropped(*_arguments, **_options):
        pool.drop_all()
        return await one._protocol.prepare()

    monkeypatch.setattr(one, "_get_statement", prepare_and_be_dropped)
    with pytest.raises(asyncpg.InterfaceError, match="dropped"):
        await one.fetch("SELECT 1")
    pool.give_back(one)
