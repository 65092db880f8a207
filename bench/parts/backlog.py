"""Whether a claim costs the same however much waits, or has ended."""

from __future__ import annotations

import asyncio
from statistics import median

import msgspec

from bench.queue import Queue, open_queue
from bench.report import Chapter, Figures, Plot, Table, ms, number, percentiles
from bench.world import World, stopwatch
from colonies.core.process import State

MANY = 100

CONDITIONS = f"""\
The hub's own statement, without the hub around it: claims of one and of {MANY}, one after another;
what was claimed is submitted again. Ratios are to the first row."""


class Latency(msgspec.Struct, frozen=True):
    """What claims took, in milliseconds."""

    p50: float
    p99: float
    of_many: float


async def measure(world: World) -> Chapter:
    """Claim beside more and more that waits, and beside what has ended."""
    found: dict[str, Latency] = {}
    figures: Figures = {}
    backlogs, ended = world.scale.backlogs, world.scale.ended
    async with open_queue(world) as queue:
        there = 0
        for backlog in backlogs:
            await queue.fill(State.WAITING, backlog - there)
            there = backlog
            latency = found[f"{backlog:,} waiting"] = await claims(queue, world.scale.samples)
            figures[f"backlog/{backlog}"] = latency.p50
        beside = f"beside {ended:,} that have ended"
        await queue.fill(State.SUCCESS, ended)
        found[f"{there:,} waiting, {beside}"] = await claims(queue, world.scale.samples)
        await queue.clear()
        await queue.fill(State.SUCCESS, ended)
        await queue.fill(State.WAITING, backlogs[0])
        found[f"{backlogs[0]:,} waiting, {beside}"] = await claims(queue, world.scale.samples)
    return Chapter("Backlog and history", CONDITIONS, [table(found)], [plot(figures)], figures)


async def claims(queue: Queue, samples: int) -> Latency:
    """Claim one at a time, then many."""
    of_one: list[float] = []
    for _ in range(samples):
        with stopwatch(of_one):
            processes = await queue.claim()
        assert len(processes) == 1
        await queue.submit()
    await queue.settle()
    of_many: list[float] = []
    for _ in range(max(samples // 20, 5)):
        with stopwatch(of_many):
            processes = await queue.claim(MANY)
        assert len(processes) == MANY
        await asyncio.gather(*(queue.submit() for _ in processes))
    return Latency(*percentiles(of_one), median(of_many))


def table(found: dict[str, Latency]) -> Table:
    """Show them, with ratios."""
    first = next(iter(found.values()))
    rows = [
        (
            what,
            *(ms(one.p50), ms(one.p99), ms(one.of_many)),
            *(number(one.p50 / first.p50), number(one.of_many / first.of_many)),
        )
        for what, one in found.items()
    ]
    head = ("a claim with", "p50 of 1", "p99 of 1", f"p50 of {MANY}", "of 1, ratio")
    return Table((*head, f"of {MANY}, ratio"), rows)


def plot(figures: Figures) -> Plot:
    """Draw what a claim takes, by what waits."""
    points = [(float(name.rpartition("/")[2]), took) for name, took in figures.items()]
    lines = {"p50": points}
    return Plot("backlog", "A claim of one", "waiting", "ms", lines, is_log_x=True)
