"""Whether the others notice somebody who does not read what is pushed to them."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.crowd import followers
from bench.load import cycles, steady_load
from bench.parts.latency import named, pushed, watched
from bench.report import Chapter, Figures, Table, ms, number
from bench.world import TYPE, World

CLIENTS = 50

CONDITIONS = f"""\
From a submit to the process at an idle runtime, as above at half load by {CLIENTS} others, while
one more socket is subscribed to all that happens: first one that reads, then one that has stopped
reading (and answers no ping). Turn by turn."""


async def measure(world: World) -> Chapter:
    """Measure the others' latency beside either."""
    took: dict[str, list[float]] = {"reads": [], "silent": []}
    count = min(CLIENTS, world.scale.clients[-1])
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(world.hub())
        submitter, runtime = await stack.enter_async_context(watched(hub))
        most = await cycles(hub, count, world.scale.seconds)
        for _ in range(world.scale.rounds):
            for how in took:
                async with (
                    followers(hub, [hub.people.runtime], TYPE, is_deaf=how == "silent"),
                    steady_load(hub, count, most.rate / 2),
                ):
                    took[how] += await pushed(submitter, runtime, world.scale.samples)
    figures: Figures = named("slow/reads", took["reads"]) | named("slow/silent", took["silent"])
    rows = []
    for what, name in (("one that reads", "reads"), ("one that is silent", "silent")):
        half, late = figures[f"slow/{name}/p50"], figures[f"slow/{name}/p99"]
        ratio = number(late / figures["slow/reads/p99"])
        rows.append((what, ms(half), ms(late), ratio))
    table = Table(("beside", "p50", "p99", "p99, ratio"), rows)
    return Chapter("A silent reader", CONDITIONS, [table], figures=figures)
