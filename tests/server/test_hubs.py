"""Two hubs on one database: under load nothing runs twice, and one may be killed."""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from colonies.core.identity import PrivateKey
from colonies.core.process import State
from colonies.server.app import Server
from tests.conftest import add_runtime
from tests.programs import Program, python
from tests.server.doors import until
from tests.server.hubs import acquainted, reaching

RUNTIMES = 30
PROCESSES = 500


@pytest.fixture
async def other(settings, server, colony):
    async with Server(settings) as other:
        await acquainted(server, other)
        yield other


async def work(hub, credit: int, ran: Counter) -> None:
    """Do what is pushed until the socket goes."""
    async with await hub.subscribe_assignments(credit=credit) as pushed:
        async for process in pushed:
            if process.state is not State.RUNNING:
                continue
            ran[process.process_id] += 1
            await hub.close_successful(
                process.process_id, [process.spec.args[0]], attempt_token=process.attempt_token
            )


async def test_each_process_runs_once_whichever_hub_it_came_to(
    *, client, server, other, people, sql
):
    """No ticker runs: all that happens, happens by news of the other hub."""
    ran: Counter = Counter()
    keys = [PrivateKey.generate() for _ in range(RUNTIMES)]
    for key in keys:
        await add_runtime(client, people.colony_owner, key)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(reaching(server, people.runtime))
        there = await stack.enter_async_context(reaching(other, people.runtime))
        hubs = [
            await stack.enter_async_context(reaching(hub, key))
            for key, hub in zip(keys, [server, other] * RUNTIMES, strict=False)
        ]
        tasks = [
            asyncio.ensure_future(work(hub, 1 + number % 3, ran)) for number, hub in enumerate(hubs)
        ]
        submitted = await asyncio.gather(
            *(
                (here, there)[number % 2].submit("work", number, runtime_type="cli")
                for number in range(PROCESSES)
            )
        )
        # Each is waited for at the hub that it was not submitted to.
        ended = await asyncio.gather(
            *(
                (there, here)[number % 2].wait_for(process.id, timeout=60)
                for number, process in enumerate(submitted)
            )
        )
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert {one.state for one in ended} == {State.SUCCESS}
    assert [one.output for one in ended] == [[str(number)] for number in range(PROCESSES)]
    assert ran == Counter(process.id for process in submitted)
    assert await sql.fetchval("SELECT max(attempt) FROM processes") == 1


@pytest.fixture
def hub(settings, database_url):
    """Make a hub in a process of its own."""

    def hub() -> Program:
        words = ("server", "start", "--port", "0", "--bind", "127.0.0.1")
        flags = ("--serverid", settings.server_id, "--database-url", database_url)
        return python("-m", "colonies.cli", *words, *flags)

    return hub


async def test_when_the_leading_hub_is_killed_another_leads(*, hub, settings, people, sql):
    """Killed, it cannot say goodbye; PostgreSQL notices that its connection has ended."""
    async with hub() as leader:
        await leader.line_with("leader gained")
        await leader.line_with("listening on")
        async with Server(settings) as heir, reaching(heir, people.server_owner) as asking:
            led_by = (await asking.get_cluster()).leader.hub_id
            assert not heir.leader.is_leading
            leader.send(signal.SIGKILL)
            await until(lambda: heir.leader.is_leading)
            cluster = await asking.get_cluster()
            assert cluster.leader.hub_id == heir.hub.id != led_by
            await sql.execute(
                "UPDATE hubs SET last_seen = last_seen - interval '10 s' WHERE hub_id = $1", led_by
            )
            await until(lambda: not heir.peers._others)


async def test_a_leading_hub_that_is_frozen_is_cut_off(*, hub, settings, sql):
    """Its connection lives, but it does not: last seen long ago, it must not lead for ever."""
    async with hub() as leader:
        await leader.line_with("leader gained")
        await leader.line_with("listening on")
        async with Server(settings) as heir:
            leader.send(signal.SIGSTOP)
            await sql.execute(
                "UPDATE hubs SET last_seen = last_seen - interval '20 s' WHERE hub_id <> $1",
                heir.hub.id,
            )
            await until(lambda: heir.leader.is_leading)
            leader.send(signal.SIGCONT)
            await leader.line_with("leader lost")


async def test_a_hub_that_is_told_to_stop_leaves_the_registry(*, hub, settings, sql, db):
    async with hub() as program:
        await program.line_with("listening on")
        assert await sql.fetchval("SELECT count(*) FROM hubs") == 1
        program.send(signal.SIGTERM)
        assert await program.finish() == 0
    assert await sql.fetchval("SELECT count(*) FROM hubs") == 0
