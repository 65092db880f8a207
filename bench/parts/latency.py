"""How soon work reaches a runtime that is idle: alone, and while the hub is half busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bench.crowd import Crowd, runtimes
from bench.load import cycles, steady_load
from bench.report import Chapter, Figures, Table, ms, percentiles, rate
from bench.world import Hub, World
from colonies import Colonies, PrivateKey, connect

CLIENTS = 50
APART = "apart"
"""The type of the runtime that is watched, so that the others' work is not for it."""

PAUSE = 0.01
"""Seconds between one submit and the next, so that the runtime is idle again."""

CONDITIONS = f"""\
From before a client signs a submit until the process is at the runtime, in another program, which
holds a subscription and is idle. At half load {CLIENTS} others live half as many lives a second as
they could just before."""


async def measure(world: World) -> Chapter:
    """Measure both."""
    figures: Figures = {}
    async with world.hub() as hub, watched(hub) as (submitter, crowd):
        figures |= named("latency/idle", await pushed(submitter, crowd, world.scale.samples))
        count = min(CLIENTS, world.scale.clients[-1])
        most = await cycles(hub, count, world.scale.seconds)
        async with steady_load(hub, count, most.rate / 2):
            took = await pushed(submitter, crowd, world.scale.samples)
        figures |= named("latency/half", took)
    rows = [
        (what, ms(figures[f"latency/{name}/p50"]), ms(figures[f"latency/{name}/p99"]))
        for what, name in (("idle", "idle"), (f"at {rate(most.rate / 2)}", "half"))
    ]
    tables = [Table(("submit to pushed", "p50", "p99"), rows)]
    return Chapter("Latency of a push", CONDITIONS, tables, figures=figures)


@asynccontextmanager
async def watched(hub: Hub) -> AsyncIterator[tuple[Colonies, Crowd]]:
    """Have one runtime of a type of its own, and who submits for it."""
    key = PrivateKey.generate()
    await hub.add_runtimes([key], APART)
    async with AsyncExitStack() as stack:
        crowd = await stack.enter_async_context(runtimes(hub, [key]))
        yield await stack.enter_async_context(connect(hub.settings, key=hub.people.runtime)), crowd


async def pushed(
    submitter: Colonies, crowd: Crowd, samples: int, runtime_type: str = APART
) -> list[float]:
    """Submit one after the other; gives the milliseconds until each was at its runtime."""
    took = []
    for _ in range(samples):
        started = time.monotonic()
        submitting = asyncio.create_task(submitter.submit("noop", runtime_type=runtime_type))
        push = await crowd.next_push()
        took.append((push.at - started) * 1000)
        await submitting
        await asyncio.sleep(PAUSE)
    return took


def named(name: str, took: list[float]) -> Figures:
    """Give the percentiles under their names."""
    half, most = percentiles(took)
    return {f"{name}/p50": half, f"{name}/p99": most}
