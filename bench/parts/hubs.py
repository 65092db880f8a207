"""What it costs to have more hubs on one PostgreSQL for the same work."""

from __future__ import annotations

from bench.load import cycles
from bench.parts.cycles import costs, figures_of
from bench.report import Chapter, Figures, Table, number, rate
from bench.world import World

CLIENTS = 50

CONDITIONS = f"""\
`colonies server start --workers N`: equal hubs on one port and one PostgreSQL, which tell each
other of what somebody there waits for. {CLIENTS} clients, spread over them by the kernel. Where
hubs, PostgreSQL and clients share a few cores more hubs cannot do more; what counts is what a cycle
costs."""


async def measure(world: World) -> Chapter:
    """Measure cycles with one, two, four hubs."""
    figures: Figures = {}
    rows = []
    count = min(CLIENTS, world.scale.clients[-1])
    for hubs in world.scale.hubs:
        async with world.hub(workers=hubs) as hub:
            found = await cycles(hub, count, world.scale.seconds)
        figures |= figures_of(f"hubs/{hubs}", found)
        first = figures[f"hubs/{world.scale.hubs[0]}/rate"]
        rows.append((f"{hubs}", rate(found.rate), number(found.rate / first), *costs(found)))
    head = ("hubs", "cycles", "to one", "hubs' side", "PostgreSQL", "clients' side", "commits")
    return Chapter("Several hubs", CONDITIONS, [Table(head, rows)], figures=figures)
