"""The effects of the RPCs about logs; see `effects` for what a story is."""

from __future__ import annotations

import asyncio

from colonies.core.log import Append, NewEntry
from tests.faults.effects import MANY, QUICKLY, Story, World
from tests.server.doors import until

SAID = "said\n"


def _append(process, number: int) -> Append:
    offset = (number - 1) * len(SAID)
    entry = NewEntry(stream="stdout", offset=offset, size=len(SAID), text=SAID)
    return Append(process.process_id, number, process.attempt_token, [entry])


async def add_logs(world: World) -> Story:
    process = await world.start()
    append = _append(process, 1)

    async def meanwhile() -> None:
        await world.sql.execute("DELETE FROM log_entries")

    assert (yield world.faulty().add_logs([append]), meanwhile) == [None]
    assert await world.count("log_entries") == 0
    assert (await world.runtime.get_logs(process.process_id)).length == len(SAID)


async def get_logs(world: World) -> Story:
    process = await world.start()
    await world.runtime.add_logs([_append(process, 1)])
    expected = await world.runtime.get_logs(process.process_id)
    assert (yield world.faulty().get_logs(process.process_id)) == expected


async def subscribe_logs(world: World) -> Story:
    """All is pushed once, and the end of the process is the end of it."""
    process = await world.start()
    following = yield world.faulty().subscribe_logs(process.process_id)
    for number in range(1, MANY + 1):
        await world.runtime.add_logs([_append(process, number)])
    token = process.attempt_token
    await world.runtime.close_successful(process.process_id, attempt_token=token)
    async with asyncio.timeout(QUICKLY), following:
        pages = [page async for page in following]
    assert "".join(one.text for page in pages for one in page.entries) == SAID * MANY
    await until(lambda: world.live() == 0, QUICKLY)
