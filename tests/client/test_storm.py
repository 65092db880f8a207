"""Many who come back at once: the hub lets in a few strangers at a time, and nobody gives up."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from itertools import islice

import pytest
from msgspec.structs import replace
from websockets.exceptions import InvalidStatus

from colonies.client import connect
from colonies.client.insistence import pauses
from colonies.server.app import Server
from tests.server.doors import talk, until

RUNTIMES = 100
STRANGERS = 8


def test_pauses_spread_those_who_began_together():
    """From none to twice an average that doubles up to the longest."""
    many = [list(islice(pauses(0.5, 4.0), 5)) for _ in range(2000)]
    for number, average in enumerate((0.5, 1, 2, 4, 4)):
        seconds = [one[number] for one in many]
        assert 0 <= min(seconds) < 0.1 * average
        assert 1.9 * average < max(seconds) <= 2 * average


async def full(stack: AsyncExitStack, server: Server) -> None:
    """Let an address have all the strangers that it may have, for as long as the stack."""
    silent = 0
    while silent < STRANGERS:
        with suppress(InvalidStatus):  # those who come back are strangers for a moment, too
            await stack.enter_async_context(talk(server))
            silent += 1


@pytest.mark.settings(max_strangers=STRANGERS)
async def test_all_runtimes_of_an_address_come_back_and_none_hears_of_it(
    *, settings, db, people, client, colony, caplog
):
    caplog.set_level(logging.DEBUG, "colonies.client")
    async with AsyncExitStack() as stack:
        async with Server(settings) as first:
            there = replace(settings, server_port=first.port)
            members = [
                await stack.enter_async_context(connect(there, key=people.runtime))
                for _ in range(RUNTIMES)
            ]
            works = [await one.subscribe_assignments(credit=1) for one in members]
        async with Server(there) as second, AsyncExitStack() as strangers:
            await full(strangers, second)
            await until(lambda: "too much to do" in caplog.text)
            await strangers.aclose()
            await until(lambda: len(second.hub.lines) == RUNTIMES, 60)
            submitted = [await members[0].submit("w", runtime_type="cli") for _ in range(RUNTIMES)]
            async with asyncio.timeout(60):
                given = await asyncio.gather(*(anext(work) for work in works))
            assert {one.process_id for one in given} == {one.id for one in submitted}


@pytest.mark.settings(max_strangers=STRANGERS)
async def test_who_calls_for_the_first_time_waits_for_a_hub_that_has_too_much_to_do(
    server, settings, people, colony, caplog
):
    caplog.set_level(logging.DEBUG, "colonies.client")
    there = replace(settings, server_port=server.port)
    async with connect(there, key=people.runtime) as member, AsyncExitStack() as strangers:
        await full(strangers, server)
        asking = asyncio.ensure_future(member.get_caller())
        await until(lambda: "too much to do" in caplog.text)
        await strangers.aclose()
        assert (await asking).id == people.runtime.id
