"""What a transaction costs that is held open elsewhere and still sees all that was."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import asyncpg

from bench.load import per_second
from bench.queue import Queue, open_queue
from bench.report import Chapter, Figures, Plot, Points, Table, number, rate
from bench.world import World
from colonies.core.process import State

AT_ONCE = 50
PARTS = 6

CONDITIONS = f"""\
The hub's own statements, {AT_ONCE} at once, without the hub around them; without and with a
REPEATABLE READ transaction beside them that saw the table before. The same time is measured in
{PARTS} parts, and the ratio is that of their last."""


async def measure(world: World) -> Chapter:
    """Move processes with and without it, beside little and much that waits."""
    few, many = world.scale.backlogs[0], world.scale.backlogs[-1] // 2
    length = world.scale.snapshot / PARTS
    figures: Figures = {}
    rows = []
    lines: dict[str, Points] = {}
    async with open_queue(world) as queue:
        for what, waiting, is_submitting in (
            ("submit, claim, close", few, True),
            ("claim, close", many, False),
        ):
            last = []
            for beside in ("alone", "beside an old snapshot"):
                await queue.fill(State.WAITING, waiting)
                async with nullcontext() if beside == "alone" else old_snapshot(queue.url):
                    moved = [
                        await moves(queue, length, is_submitting=is_submitting)
                        for _ in range(PARTS)
                    ]
                await queue.clear()
                last.append(moved[-1])
                name = f"{what}, {waiting:,} waiting, {beside}"
                rows.append((name, *map(rate, moved), number(moved[-1] / last[0])))
                lines[name] = [((part + 1) * length, one) for part, one in enumerate(moved)]
            figures[f"snapshot/{'few' if is_submitting else 'many'}"] = last[1] / last[0]
    head = ("moved", *(f"to {(part + 1) * length:.0f} s" for part in range(PARTS)), "last, ratio")
    plot = Plot("snapshot", "Beside an old snapshot", "seconds", "moved/s", lines)
    return Chapter("An old snapshot", CONDITIONS, [Table(head, rows)], [plot], figures)


async def moves(queue: Queue, seconds: float, *, is_submitting: bool) -> float:
    """Claim and close; gives how many a second."""
    moved = 0

    async def work(_number: int) -> None:
        nonlocal moved
        if is_submitting:
            await queue.submit()
        for process in await queue.claim():
            await queue.close(process)
            moved += 1

    started = time.perf_counter()
    await per_second(AT_ONCE, seconds, work)
    return moved / (time.perf_counter() - started)


@asynccontextmanager
async def old_snapshot(url: str) -> AsyncIterator[None]:
    """Hold a transaction open that sees all as it was when it began."""
    other = await asyncpg.connect(url)
    async with other.transaction(isolation="repeatable_read"):
        await other.execute("SELECT FROM processes LIMIT 1")
        yield
    await other.close()
