"""Those who submit work while something is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from random import Random

from colonies.core.identity import PrivateKey
from tests.faults.drivers import Submitter
from tests.faults.world import TYPE, World, pause


async def open_submitters(
    stack: AsyncExitStack, colony: World, keys: Iterable[PrivateKey]
) -> list[Submitter]:
    """Connect a submitter for each key, as long as the stack lasts."""
    return [
        stack.enter_context(
            Submitter(
                f"s{number}",
                await stack.enter_async_context(colony.connect(key)),
                colony.folder,
            )
        )
        for number, key in enumerate(keys)
    ]


async def write_on(writer: Submitter, work: Random, is_over: asyncio.Event) -> None:
    """Submit short work, now and then, that is tried until it is done."""
    while not is_over.is_set():
        options = {"runtime_type": TYPE, "max_retries": -1, "lease": 10}
        await writer.submit(work.uniform(0, 0.05), **options)
        await pause(work.uniform(0, 0.1))
