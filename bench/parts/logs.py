"""How many lines of log a runtime can say, and how many of them are followed by a hundred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bench.report import Chapter, Figures, Table, ms, percentiles, rate
from bench.world import TYPE, Hub, World
from colonies import Colonies, Process, connect
from runtimes.logs import AttemptLog, Logs

MOST_FOLLOWERS = 100
LINE = b"x" * 99 + b"\n"
LINES_AT_ONCE = 40
"""As many as fit into what is read from a pipe at once, more or less."""

CONDITIONS = f"""\
One runtime's logs, as `colonies-run` sends them: lines of {len(LINE)} bytes, as fast as they are
taken, until the hub has them. Then the same beside followers with a socket each, in the program of
the runtime, until the last has read them; and a line now and then, until one follower has it."""


async def measure(world: World) -> Chapter:
    """Measure lines a second, without followers and with, and how late a line is."""
    count = min(MOST_FOLLOWERS, world.scale.followers)
    seconds, samples = world.scale.seconds, min(100, world.scale.samples)
    async with world.hub(COLONIES_MAX_LOG_BYTES=2**40) as hub:
        alone = await said(hub, 0, seconds)
        followed = await said(hub, count, seconds)
        late = await lateness(hub, samples)
    figures: Figures = {
        "logs/alone": alone,
        f"logs/{count}": followed,
        "logs/late/p50": percentiles(late)[0],
    }
    rows = [
        ("lines from one runtime", rate(alone)),
        (f"lines from one runtime, read by {count}", rate(followed)),
        ("lines read by all of these", rate(followed * count)),
        ("a line, until it is read, p50", ms(percentiles(late)[0])),
        ("the same, p99", ms(percentiles(late)[1])),
    ]
    return Chapter("Logs", CONDITIONS, [Table(("what", "figure"), rows)], figures=figures)


async def said(hub: Hub, followers: int, seconds: float) -> float:
    """Say lines for so long beside so many who read them; gives how many a second."""
    async with speaking(hub) as (runtime, log, process), AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(connect(hub.settings, key=hub.people.runtime))
            for _ in range(followers)
        ]
        async with asyncio.TaskGroup() as reading:
            for reader in readers:
                reading.create_task(read(reader, process.process_id))
            started = time.perf_counter()
            lines = 0
            while time.perf_counter() < started + seconds:
                await log.write(LINE * LINES_AT_ONCE, "stdout", None)
                lines += LINES_AT_ONCE
            await log.finish()
            heard = time.perf_counter()
            token = process.attempt_token
            await runtime.close_successful(process.process_id, attempt_token=token)
        ended = time.perf_counter() if followers else heard
    return lines / (ended - started)


async def read(reader: Colonies, process_id: str) -> None:
    """Follow a log to its end."""
    async with await reader.subscribe_logs(process_id) as pages:
        async for _ in pages:
            pass


async def lateness(hub: Hub, samples: int) -> list[float]:
    """Say one line after the other; gives the milliseconds until each was read."""
    late = []
    async with (
        speaking(hub) as (_, log, process),
        connect(hub.settings, key=hub.people.runtime) as reader,
        await reader.subscribe_logs(process.process_id) as pages,
    ):
        await anext(pages)
        for _ in range(samples):
            started = time.perf_counter()
            await log.write(LINE, "stdout", None)
            await anext(pages)
            late.append((time.perf_counter() - started) * 1000)
    return late


@asynccontextmanager
async def speaking(hub: Hub) -> AsyncIterator[tuple[Colonies, AttemptLog, Process]]:
    """Have a process run, and its log sent."""
    async with connect(hub.settings, key=hub.people.runtime) as runtime:
        await runtime.submit("noop", runtime_type=TYPE)
        process = await runtime.assign_process()
        logs = Logs(runtime)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(logs.run())
            yield runtime, logs.open(process), process
            sending.cancel()
