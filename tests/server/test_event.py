"""An event lets on who waits, as asyncio's does."""

import asyncio

import pytest

from colonies.server.event import Event


@pytest.fixture(params=[Event, asyncio.Event], ids=["ours", "asyncio's"])
def event(request):
    return request.param()


async def waiting(event, count: int) -> list[asyncio.Task]:
    tasks = [asyncio.ensure_future(event.wait()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_everybody_goes_on_who_waits(event):
    tasks = await waiting(event, 3)
    assert not any(one.done() for one in tasks)
    event.set()
    await asyncio.gather(*tasks)


async def test_nobody_waits_while_it_is_set(event):
    event.set()
    await event.wait()
    event.clear()
    (task,) = await waiting(event, 1)
    assert not task.done()
    event.set()
    await task


async def test_who_was_let_on_goes_on_though_it_was_cleared_since(event):
    (task,) = await waiting(event, 1)
    event.set()
    event.clear()
    await task


async def test_who_gives_up_is_forgotten(event):
    given_up, patient = await waiting(event, 2)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert len(event._waiters) == 1
    event.set()
    await patient
    assert len(event._waiters) == 0
