"""As many a signed message as there are: submitted together, pushed, and closed together."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from bench.report import Chapter, Table, rate
from bench.world import TYPE, Hub, World
from colonies import Colonies, Conditions, Process, ProcessSpec, connect

MANY = 1000
CREDIT = 1000

SPEC = ProcessSpec(func="noop", conditions=Conditions(runtime_type=TYPE))

CONDITIONS = f"""\
One client submits {MANY:,} a signed message. One runtime has them pushed, credit {CREDIT:,}, and
closes each; its client puts closes that meet into one message."""


async def measure(world: World) -> Chapter:
    """Measure how many live a second."""
    async with world.hub() as hub:
        found = await processed(hub, world.scale.bulk)
    tables = [Table(("what", "figure"), [("whole lives in bulk", rate(found))])]
    return Chapter("Bulk", CONDITIONS, tables, figures={"bulk/rate": found})


async def processed(hub: Hub, most: int, seconds: float = float("inf")) -> float:
    """Submit so many, or for so long, what a runtime closes; gives how many a second."""
    async with AsyncExitStack() as stack:
        submitter = await stack.enter_async_context(connect(hub.settings, key=hub.people.runtime))
        runtime = await stack.enter_async_context(connect(hub.settings, key=hub.people.runtime))
        work = await stack.enter_async_context(await runtime.subscribe_assignments(credit=CREDIT))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        ended = 0
        one_ended = asyncio.Event()

        async def close(process: Process) -> None:
            nonlocal ended
            await runtime.close_successful(process.process_id)
            ended += 1
            one_ended.set()

        async def take() -> None:
            async for process in work:
                tasks.create_task(close(process))

        started = time.perf_counter()
        taking = tasks.create_task(take())
        submitted = await submit(submitter, most, seconds)
        while ended < submitted:
            one_ended.clear()
            await one_ended.wait()
        taking.cancel()
        return ended / (time.perf_counter() - started)


async def submit(submitter: Colonies, most: int, seconds: float) -> int:
    """Submit so many, or for so long; gives how many."""
    end = time.perf_counter() + seconds
    submitted = 0
    while submitted < most and time.perf_counter() < end:
        specs = [SPEC] * min(MANY, most - submitted)
        submitted += len(await submitter.submit_processes(specs))
    return submitted
