"""Two hubs are killed in turn: each tick of a cron is run once, each packed argument used once."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from colonies.client import Colonies, connect
from colonies.core.cron import Cron, graph_id_of
from colonies.core.generator import Generator
from tests.faults.world import TIMES, HubProgram, World, pause, report, schedule, world
from tests.server.recurring import ONE

CRONS = 50 if TIMES == 1 else 1000
ROUNDS = 3 if TIMES == 1 else 10
PACKS = 2000 if TIMES == 1 else 100_000
PACKERS = 8
TRIGGER = 10
WITHIN = 60.0 * TIMES
TOGETHER = 20
PERIOD = 30
"""Seconds from a tick to the next, where the clock decides: longer than a change of the leader."""


class Pair:
    """Two hubs on one database, of which at any time one may be dead."""

    def __init__(self, colony: World, other: HubProgram, sql: asyncpg.Connection) -> None:
        self.colony = colony
        self.hubs = (colony.hub, other)
        self.sql = sql

    def at(self, number: int) -> Colonies:
        """Give our first runtime, at one of the hubs."""
        settings = replace(self.colony.settings, server_port=self.hubs[number % 2].port)
        return connect(settings, key=self.colony.runtimes[0])

    async def kill_leader(self) -> None:
        """Kill whichever leads, and start it again: then the other leads."""
        await self._restart(await self._leader())

    async def kill(self, number: int) -> None:
        """Kill one of them, and start it again."""
        await self._restart(self.hubs[number % 2])

    async def _restart(self, hub: HubProgram) -> None:
        await hub.kill()
        await hub.start()

    async def _leader(self) -> HubProgram:
        async with connect(self.colony.settings, key=self.colony.server_owner) as owner:
            while True:
                leader = (await owner.get_cluster()).leader
                for hub in self.hubs:
                    if hub.port == leader.api_port:
                        return hub
                await pause(0.1)

    async def graphs(self) -> list[str]:
        """Give the ids of all workflows that there are."""
        rows = await self.sql.fetch("SELECT process_graph_id FROM process_graphs")
        return [graph_id for (graph_id,) in rows]


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """Give two hubs that know of each other, and a colony with a runtime."""
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(folder, runtimes=1))
        other = HubProgram(colony.database_url, colony.server_owner.id, folder / "other.log")
        await stack.enter_async_context(other)
        sql = await asyncpg.connect(colony.database_url)
        stack.push_async_callback(sql.close)
        yield Pair(colony, other, sql)


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    """Look until something is so that nothing tells of."""
    async with asyncio.timeout(WITHIN):
        while not await claim():
            await pause(0.05)


async def add_crons(hubs: Pair, expression: str) -> list[str]:
    """Add as many crons as there shall be, and give their ids."""
    async with hubs.at(0) as runtime:

        async def add(number: int) -> str:
            cron = await runtime.add_cron(
                Cron(
                    colony_id=hubs.colony.colony_id,
                    name=f"cron {number}",
                    cron_expression=expression,
                    workflow_spec=ONE,
                )
            )
            return cron.cron_id

        ids: list[str] = []
        for start in range(0, CRONS, TOGETHER):
            numbers = range(start, min(CRONS, start + TOGETHER))
            ids += await asyncio.gather(*(add(number) for number in numbers))
        return ids


@pytest.mark.faults
@pytest.mark.timeout(600 * TIMES)
async def test_each_tick_is_run_once_when_hubs_are_killed(tmp_path):
    """All crons are due at once, again and again, and the leader is killed in the middle."""
    dice = schedule("crons, killed")
    started = time.monotonic()
    async with pair(tmp_path) as hubs:
        await add_crons(hubs, "@yearly")
        expected: set[str] = set()
        for _ in range(ROUNDS):
            rows = await hubs.sql.fetch(
                "UPDATE crons SET next_run = now() - interval '1 s' RETURNING cron_id, next_run"
            )
            expected |= {graph_id_of(*row) for row in rows}
            enough = dice.randrange(CRONS)

            async def some_have_run(enough: int = enough) -> bool:
                return await due(hubs) <= CRONS - enough

            await until(some_have_run)
            await asyncio.gather(hubs.kill_leader(), until(lambda: all_have_run(hubs)))
        found = await hubs.graphs()
    report(
        f"{len(found)} ticks of {CRONS} crons, {ROUNDS} kills of the leader "
        f"in {time.monotonic() - started:.0f} s"
    )
    assert len(expected) == CRONS * ROUNDS
    assert sorted(found) == sorted(expected)


async def due(hubs: Pair) -> int:
    count: int = await hubs.sql.fetchval("SELECT count(*) FROM crons WHERE next_run <= now()")
    return count


async def all_have_run(hubs: Pair) -> bool:
    return not await due(hubs)


@pytest.mark.faults
@pytest.mark.skipif(TIMES == 1, reason="takes minutes: make faults")
@pytest.mark.timeout(900)
async def test_no_tick_of_the_clock_is_missed_when_hubs_are_killed(tmp_path):
    """Every half a minute for three; the leader is killed once or twice in between."""
    dice = schedule("crons, by the clock")
    async with pair(tmp_path) as hubs:
        ids = await add_crons(hubs, f"*/{PERIOD} * * * * *")
        added = await hubs.sql.fetchval("SELECT now()")
        until_then = await hubs.sql.fetchval("SELECT now() + interval '3 minutes'")
        kills = 0
        while await hubs.sql.fetchval("SELECT now()") < until_then:
            await pause(dice.uniform(0.3 * PERIOD, 0.9 * PERIOD))
            await hubs.kill_leader()
            kills += 1
        await until(lambda: all_are_stopped(hubs))
        found = await hubs.graphs()
        last = await hubs.sql.fetchval("SELECT max(submission_time) FROM process_graphs")
        first = await hubs.sql.fetchval("SELECT min(submission_time) FROM process_graphs")
    report(f"{len(found)} ticks of {CRONS} crons by the clock, {kills} kills of the leader")
    ticks = marks(first, last)
    every = [graph_id_of(one, tick) for one in ids for tick in ticks]
    assert len(found) == len(set(found))
    # Before, not all of them were there.
    later = {graph_id_of(one, tick) for one in ids for tick in ticks if tick > added}
    assert later <= set(found) <= set(every)


async def all_are_stopped(hubs: Pair) -> bool:
    """Stop all crons at once, in a moment when none is due."""
    done = await hubs.sql.execute(
        """
        UPDATE crons SET next_run = NULL
        WHERE NOT EXISTS (SELECT FROM crons WHERE next_run <= now())
        """
    )
    return done != "UPDATE 0"


def marks(first: datetime, last: datetime) -> list[datetime]:
    """Give the ticks from one time to another."""
    start = first.replace(microsecond=0, second=first.second // PERIOD * PERIOD)
    count = int((last - start).total_seconds() // PERIOD) + 1
    return [start + timedelta(seconds=PERIOD * number) for number in range(count)]


@pytest.mark.faults
@pytest.mark.timeout(600 * TIMES)
async def test_each_argument_is_used_once_in_order_when_hubs_are_killed(tmp_path):
    """Packed at both hubs, which are killed in turn, by clients that ask again and again."""
    dice = schedule("generators, killed")
    started = time.monotonic()
    kills = 0
    async with pair(tmp_path) as hubs, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(hubs.at(number)) for number in range(PACKERS)]
        generator = await clients[0].add_generator(
            Generator(
                colony_id=hubs.colony.colony_id,
                name="words",
                workflow_spec=ONE,
                trigger=TRIGGER,
                timeout=1,
            )
        )
        streams = [
            [f"{packer} {number}" for number in range(PACKS // PACKERS)]
            for packer in range(PACKERS)
        ]

        async def pack(client: Colonies, stream: list[str]) -> None:
            for arg in stream:
                await client.pack_generator(generator.generator_id, arg)

        packing = asyncio.gather(
            *(pack(client, stream) for client, stream in zip(clients, streams, strict=True))
        )
        while not packing.done() or kills < 2:
            await pause(dice.uniform(0.2, 2))
            await (hubs.kill_leader() if kills % 2 else hubs.kill(kills // 2))
            kills += 1
        await packing

        async def is_used_up() -> bool:
            return not await hubs.sql.fetchval("SELECT sum(queue_size) FROM generators")

        await until(is_used_up)
        rows = await hubs.sql.fetch("SELECT spec->'args' FROM processes ORDER BY submission_time")
        left = await hubs.sql.fetchval("SELECT count(*) FROM generator_args")
    used = defaultdict(list)
    for (args,) in rows:
        for arg in msgspec.json.decode(args):
            used[arg.split()[0]].append(arg)
    report(f"{PACKS} arguments, {kills} kills in {time.monotonic() - started:.0f} s")
    assert left == 0
    assert used == {str(number): stream for number, stream in enumerate(streams)}
