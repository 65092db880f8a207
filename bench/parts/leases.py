"""What it costs to say that one is still working on what one holds."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.load import per_second
from bench.report import Chapter, Figures, Table, ms
from bench.world import TYPE, World
from colonies import connect
from colonies.core.process import Held

CONDITIONS = "One runtime holds them all; one signed message renews one of them, or all."


async def measure(world: World) -> Chapter:
    """Measure what it takes to renew one lease, and many at once."""
    figures: Figures = {}
    rows = []
    count = world.scale.leases
    async with world.hub() as hub, AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(connect(hub.settings, key=hub.people.runtime))
        work = await stack.enter_async_context(await runtime.subscribe_assignments(credit=count))
        for _ in range(count):
            await runtime.submit("noop", runtime_type=TYPE)
        processes = [await anext(work) for _ in range(count)]
        held = [
            Held(process_id=one.process_id, attempt_token=one.attempt_token) for one in processes
        ]
        for holding in (held[:1], held):

            async def renew(_number: int, holding: list[Held] = holding) -> None:
                await runtime.renew(holding)

            took = 1000 / await per_second(1, world.scale.seconds, renew)
            figures[f"leases/{len(holding)}"] = took
            rows.append((f"{len(holding):,} of {count:,}", ms(took)))
    tables = [Table(("renewed", "a message takes"), rows)]
    return Chapter("Leases", CONDITIONS, tables, figures=figures)
