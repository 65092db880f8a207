"""What is done on a bad day of whatever runs processes: many of them, some cancelled."""

import asyncio
import os
import random
import time
from dataclasses import dataclass

import msgspec
import pytest

from colonies.core.process import new_id
from runtimes.base import Job

CANCELLED_EVERY = 10
CANCELLED_WITHIN = 2.0
"""Seconds in which those that are cancelled are, wherever they are at."""

long = [pytest.mark.faults, pytest.mark.skipif("FAULTS" not in os.environ, reason="long")]
"""How what takes minutes is marked."""


@dataclass
class Bad:
    """What came of a bad day."""

    results: list
    """Each process that was not cancelled, and its outcome."""
    seconds: float


def many(process, count):
    """Make a process many."""
    return [
        msgspec.structs.replace(process, process_id=new_id(), attempt=1, attempt_token=new_id())
        for _ in range(count)
    ]


async def spend(plugin, processes, *, slots=0):
    """Execute all, so many at once, and cancel every tenth; nothing may raise, and none hang."""
    room = asyncio.Semaphore(slots or len(processes))

    async def execute(process):
        async with room:
            task = asyncio.create_task(plugin.execute(process, Job(None)))
            cancelling = asyncio.create_task(cancel(process, task))
            await asyncio.wait({task})
            cancelling.cancel()
        return None if task.cancelled() else task.result()

    async def cancel(process, task):
        if process in cancelled:
            await asyncio.sleep(random.uniform(0, CANCELLED_WITHIN))
            if not await plugin.cancel(process):
                task.cancel()

    cancelled = processes[::CANCELLED_EVERY]
    started = time.monotonic()
    outcomes = await asyncio.gather(*map(execute, processes))
    pairs = zip(processes, outcomes, strict=True)
    results = [(process, outcome) for process, outcome in pairs if process not in cancelled]
    assert all(outcome for _, outcome in results)
    return Bad(results, time.monotonic() - started)
