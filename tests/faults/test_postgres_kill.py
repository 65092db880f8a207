"""PostgreSQL is killed, postmaster and children, while sixteen write."""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from colonies.client.connection import Connection
from colonies.core.envelope import open_reply
from colonies.core.errors import Unavailable
from tests.faults.drivers import Station
from tests.faults.world import TIMES, World, explain, pause, report, schedule, world
from tests.faults.writers import open_submitters, write_on
from tests.faults.yardstick import yardstick
from tests.programs import processes_in

KILLS = 10 * TIMES
WRITERS = 16
RUNTIMES = 8
REFUSES_WITHIN = 1.0
WORKS_WITHIN = 5.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 * TIMES)]


async def test_nothing_is_lost_when_postgresql_is_killed(tmp_path):
    dice = schedule("postgres kill")
    work = schedule("postgres kill, the work")  # its own: who draws when depends on the hub
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=RUNTIMES))
        ruler = await stack.enter_async_context(yardstick(tmp_path))
        stations = [
            Station(
                colony.settings, key, histories=colony.folder, state=tmp_path / "state", slots=4
            )
            for key in colony.runtimes
        ]
        working = [asyncio.create_task(station.run()) for station in stations]
        is_over = asyncio.Event()
        writers = await open_submitters(stack, colony, [colony.runtimes[0]] * WRITERS)
        writing = [asyncio.create_task(write_on(one, work, is_over)) for one in writers]
        times = []
        for _ in range(KILLS):
            await pause(dice.uniform(1, 3))
            times.append(await outage(colony, tmp_path / "postgres"))
        is_over.set()
        await asyncio.gather(*writing)
        await colony.quiet(within=120)
        for station in stations:
            station.stop()
        await asyncio.gather(*working)
        violations = await colony.judge()
    refusals, returns = ([one[1] - one[0] for one in some] for some in zip(*times, strict=True))
    report(
        f"{sum(one.submitted for one in writers)} processes, {KILLS} kills of PostgreSQL: refused "
        f"after {max(refusals):.2f} s, worked again {max(returns):.2f} s after it accepted, at "
        f"most, in {time.monotonic() - started:.0f} s"
    )
    assert not violations, explain(violations)
    assert [error for one in writers for error in one.errors] == []
    for refusal, back in times:
        assert refusal[1] - refusal[0] <= ruler.stretched(REFUSES_WITHIN, *refusal)
        assert back[1] - back[0] <= ruler.stretched(WORKS_WITHIN, *back)


Span = tuple[float, float]
"""From when to when, by the time of day."""


async def outage(colony: World, data: Path) -> tuple[Span, Span]:
    """Kill the database; give the time to the first refusal, and from its return to ours."""
    async with Connection(colony.settings) as connection:
        await ask(colony, connection)
        killed = time.time()
        for pid in processes_in(data):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        accepting = asyncio.create_task(accepted(colony.database_url))
        refused = 0.0
        while True:
            try:
                await ask(colony, connection)
            except Unavailable:
                refused = refused or time.time()
            else:
                if refused:
                    break
        worked = time.time()
        return (killed, refused), (min(await accepting, worked), worked)


async def ask(colony: World, connection: Connection) -> None:
    """Ask once, without the insistence of a client, for what the database must be there for."""
    fields = {"colonyid": colony.colony_id}
    reply = await connection.call("getcolonystatsmsg", fields, colony.colony_owner, 20)
    open_reply(reply, dict)


async def accepted(url: str) -> float:
    """Give when PostgreSQL first accepts a connection."""
    while True:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
            connection = await asyncpg.connect(url)
            await connection.close()
            return time.time()
        await pause(0.01)
