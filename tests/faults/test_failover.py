"""The primary dies or freezes under load, and its synchronous standby takes its place."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonies.client.connection import Connection
from colonies.core.envelope import open_reply
from colonies.core.errors import Failure
from tests.faults.drivers import Station
from tests.faults.world import (
    TIMES,
    HubProgram,
    World,
    explain,
    pause,
    report,
    schedule,
    world_on,
)
from tests.faults.writers import open_submitters, write_on
from tests.faults.yardstick import yardstick
from tests.pair import Pair

ROUNDS = 2 * TIMES
WRITERS = 8
RUNTIMES = 4
LISTENS_WITHIN = 10.0
WORKS_WITHIN = 10.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 * TIMES)]


async def test_nothing_is_lost_when_a_standby_is_promoted(tmp_path):
    dice = schedule("failover")
    work = schedule("failover, the work")  # its own: who draws when depends on the hub
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Pair(tmp_path))
        colony = await stack.enter_async_context(world_on(servers.url, tmp_path, runtimes=RUNTIMES))
        ruler = await stack.enter_async_context(yardstick(tmp_path))
        other = HubProgram(servers.url, colony.server_owner.id, tmp_path / "other.log")
        await stack.enter_async_context(other)
        hubs = [colony.settings, replace(colony.settings, server_port=other.port)]
        logs = [tmp_path / "hub.log", tmp_path / "other.log"]
        stations = [
            Station(
                hubs[number % 2], key, histories=colony.folder, state=tmp_path / "state", slots=4
            )
            for number, key in enumerate(colony.runtimes)
        ]
        working = [asyncio.create_task(station.run()) for station in stations]
        is_over = asyncio.Event()
        writers = await open_submitters(stack, colony, [colony.runtimes[0]] * WRITERS)
        writing = [asyncio.create_task(write_on(one, work, is_over)) for one in writers]
        said: Counter[str] = Counter()
        asking = asyncio.create_task(ask_on(colony, is_over, said))
        times = []
        for number in range(ROUNDS):
            await pause(dice.uniform(1, 2))
            times.append(await failover(colony, servers, logs, is_frozen=bool(number % 2)))
            if number + 1 < ROUNDS:
                await servers.follow()
        await pause(1)
        is_over.set()
        await asyncio.gather(*writing, asking)
        await colony.quiet(within=120)
        for station in stations:
            station.stop()
        await asyncio.gather(*working)
        violations = await colony.judge()
    hearing = max(heard - promoted for promoted, heard, _ in times)
    working = max(worked - promoted for promoted, _, worked in times)
    report(
        f"{sum(one.submitted for one in writers)} processes, {ROUNDS} promotions: both hubs heard "
        f"again {hearing:.1f} s after, and worked {working:.1f} s after, at most; one who "
        f"does not insist was told {dict(said)}, in {time.monotonic() - started:.0f} s"
    )
    assert not violations, explain(violations)
    assert [error for one in writers for error in one.errors] == []
    for promoted, heard, worked in times:
        assert heard - promoted <= ruler.stretched(LISTENS_WITHIN, promoted, heard)
        assert worked - promoted <= ruler.stretched(WORKS_WITHIN, promoted, worked)
    assert set(said) <= {"done", "unavailable"}
    assert said["unavailable"]


async def failover(
    colony: World, servers: Pair, logs: list[Path], *, is_frozen: bool
) -> tuple[float, float, float]:
    """Take the primary away; give when the other was promoted, when both hear, and one works."""
    before = [heard_again(log) for log in logs]
    old = servers.primary
    if is_frozen:
        old.freeze()
    else:
        old.kill()
    await servers.promote()
    promoted = time.time()
    working = asyncio.create_task(works(colony))
    async with asyncio.timeout(60):
        while any(heard_again(log) <= count for log, count in zip(logs, before, strict=True)):
            await pause(0.02)
    heard = time.time()
    worked = await working
    old.kill()
    return promoted, heard, worked


async def works(colony: World) -> float:
    """Give when the hub first does what it is asked for."""
    async with Connection(colony.settings) as connection:
        while await ask(colony, connection) != "done":
            pass
        return time.time()


def heard_again(log: Path) -> int:
    return log.read_text().count("hub hears again")


async def ask_on(colony: World, is_over: asyncio.Event, said: Counter[str]) -> None:
    """Ask again and again, and count what is said."""
    async with Connection(colony.settings) as connection:
        while not is_over.is_set():
            said[await ask(colony, connection)] += 1
            await pause(0.05)


async def ask(colony: World, connection: Connection) -> str:
    """Ask once, without the insistence of a client; give what is said."""
    fields = {"colonyid": colony.colony_id}
    reply = await connection.call("getcolonystatsmsg", fields, colony.colony_owner, 20)
    try:
        open_reply(reply, dict)
    except Failure as failure:
        return failure.code
    return "done"
