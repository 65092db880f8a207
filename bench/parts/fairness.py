"""Whether the flood of one colony delays another's single process."""

from __future__ import annotations

import msgspec

from bench.flood import flooded
from bench.parts.latency import named, pushed, watched
from bench.report import Chapter, Figures, Table, ms, number, rate
from bench.world import Hub, World, settle_in
from colonies import PrivateKey
from colonies.core.process import State

SOCKETS = 50
AT_ONCE = (1, 20)
WAITING = 100_000

CONDITIONS = f"""\
From a submit to the process at an idle runtime, as above, in a colony that has only that. Beside it
another has much waiting; then it also submits and claims by {SOCKETS} sockets, with so many calls
under way on each, from a program of its own."""


async def measure(world: World) -> Chapter:
    """Measure the single process alone, and beside more and more of the other colony."""
    samples, sockets = world.scale.samples, min(SOCKETS, world.scale.clients[-1])
    waiting = min(WAITING, world.scale.backlogs[-1])
    figures: Figures = {}
    floods = {"alone": "", "waiting": ""}
    async with world.hub() as many, watched(await _apart(many)) as (submitter, runtime):
        figures |= named("fairness/alone", await pushed(submitter, runtime, samples))
        await many.fill(State.WAITING, waiting)
        figures |= named("fairness/waiting", await pushed(submitter, runtime, samples))
        for at_once in AT_ONCE:
            async with flooded(many, sockets, at_once) as calls:
                took = await pushed(submitter, runtime, samples)
            figures |= named(f"fairness/{at_once}", took)
            floods[f"{at_once}"] = rate(calls[0])
    beside = {"alone": "alone", "waiting": f"{waiting:,} waiting"}
    rows = [
        (
            beside.get(name, f"{sockets} sockets, {name} at once"),
            calls,
            ms(figures[f"fairness/{name}/p50"]),
            ms(figures[f"fairness/{name}/p99"]),
            number(figures[f"fairness/{name}/p50"] / figures["fairness/alone/p50"]),
            number(figures[f"fairness/{name}/p99"] / figures["fairness/alone/p99"]),
        )
        for name, calls in floods.items()
    ]
    head = ("beside", "its calls", "p50", "p99", "p50, ratio", "p99, ratio")
    return Chapter("Another's flood", CONDITIONS, [Table(head, rows)], figures=figures)


async def _apart(hub: Hub) -> Hub:
    """Make another colony, and give the hub as seen from there."""
    colony, runtime = PrivateKey.generate(), PrivateKey.generate()
    people = msgspec.structs.replace(hub.people, colony=colony, runtime=runtime)
    settings = msgspec.structs.replace(hub.settings, colony_id=colony.id)
    await settle_in(settings, people)
    return msgspec.structs.replace(hub, people=people, settings=settings)
