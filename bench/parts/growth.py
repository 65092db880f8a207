"""Whether a hub grows with what has gone through it."""

from __future__ import annotations

from bench.parts.bulk import processed
from bench.report import Chapter, Figures, Plot, Points, Table
from bench.world import World

STEPS = 20
MIB = 2**20

CONDITIONS = """\
Processes in bulk through one hub, from submit to close; its memory (RSS) is read in between, when
all of those so far have ended."""


async def measure(world: World) -> Chapter:
    """Measure the memory of a hub after few and after many."""
    few, many = world.scale.growth
    points: Points = []
    async with world.new_hub() as hub:
        through = 0
        for upto in (few, *(few + (many - few) * step // STEPS for step in range(1, STEPS + 1))):
            await processed(hub, upto - through)
            through = upto
            points.append((float(through), hub.resident_bytes() / MIB))
    first, last = points[0][1], points[-1][1]
    figures: Figures = {"growth/first": first, "growth/last": last}
    rows = [
        (f"after {few:,}", f"{first:.1f} MiB"),
        (f"after {many:,}", f"{last:.1f} MiB"),
        ("grown by", f"{last - first:.1f} MiB"),
    ]
    plot = Plot("growth", "A hub's memory", "processes", "MiB", {"RSS": points})
    return Chapter("Growth", CONDITIONS, [Table(("hub", "memory"), rows)], [plot], figures)
