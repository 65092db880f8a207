"""How often containers are looked at."""

import asyncio
import time

from runtimes.container.looks import Period

SECONDS = 0.1


async def test_those_who_begin_at_once_begin_a_period_apart():
    period = Period(SECONDS)
    started, begun = time.monotonic(), []

    async def begin():
        await period.begin()
        begun.append(time.monotonic() - started)

    await asyncio.gather(*(begin() for _ in range(4)))
    assert all(at >= number * SECONDS for number, at in enumerate(begun))
