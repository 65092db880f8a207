"""What clients do: whole lives of processes, as fast as they go or so many a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)

import msgspec

from bench.world import TYPE, Cpu, Hub
from colonies import Colonies, NothingToAssign, PrivateKey, Settings, connect

Work = Callable[[int], Awaitable[None]]

LONGEST_POLL = 10
"""Seconds that a client waits for a process; another's may be given to it."""


class Crowded(msgspec.Struct, frozen=True):
    """What so many clients did."""

    rate: float
    cost: Cpu
    """What one thing done has cost."""


@asynccontextmanager
async def opened(settings: Settings, key: PrivateKey, number: int) -> AsyncIterator[list[Colonies]]:
    """Open sockets, all of the same identity."""
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect(settings, key=key)) for _ in range(number)
        ]
        for one in sockets:
            await one.get_caller()  # a hub takes few sockets at once from whom it does not know
        yield sockets


def clients(hub: Hub, number: int) -> AbstractAsyncContextManager[list[Colonies]]:
    """Open sockets, all of the hub's runtime."""
    return opened(hub.settings, hub.people.runtime, number)


async def count_done(number: int, seconds: float, work: Work) -> tuple[int, float]:
    """Let so many go on working; gives how often it was done, and in how many seconds."""
    done = 0
    end = time.perf_counter() + seconds

    async def go_on(one: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work(one)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(go_on(one) for one in range(number)))
    return done, time.perf_counter() - started


async def per_second(number: int, seconds: float, work: Work) -> float:
    """How often ``work`` is done by so many at once."""
    done, took = await count_done(number, seconds, work)
    return done / took


async def cycles(hub: Hub, number: int, seconds: float) -> Crowded:
    """Whole lives: submit, assign, close, each signed, each durable; a socket a client."""
    async with clients(hub, number) as sockets:
        before = await hub.cpu()
        done, took = await count_done(number, seconds, lambda one: live(sockets[one]))
        used = await hub.cpu() - before
    return Crowded(
        done / took,
        Cpu(used.hub / done, used.postgres / done, used.client / done, used.writes / done),
    )


async def live(colonies: Colonies) -> None:
    """Submit a process, take one, and end it."""
    await colonies.submit("noop", runtime_type=TYPE)
    with suppress(NothingToAssign):
        process = await colonies.assign_process(timeout=LONGEST_POLL)
        await colonies.close_successful(process.process_id)


@asynccontextmanager
async def steady_load(hub: Hub, number: int, rate: float) -> AsyncIterator[None]:
    """Have so many clients live ``rate`` lives a second while the block lasts.

    Lives begin on time, whether or not those before have ended; who is late catches up.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    begun = 0

    async def go_on(colonies: Colonies) -> None:
        nonlocal begun
        while True:
            due = started + begun / rate
            begun += 1
            await asyncio.sleep(max(0.0, due - loop.time()))
            await live(colonies)

    async with clients(hub, number) as sockets:
        started = loop.time()
        loads = [asyncio.ensure_future(go_on(one)) for one in sockets]
        try:
            yield
        finally:
            for one in loads:
                one.cancel()
            results = await asyncio.gather(*loads, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
