"""Whole lives of processes, also with a statement of its own for each call."""

from __future__ import annotations

from bench.load import Crowded, cycles
from bench.report import Chapter, Figures, Plot, Table, number, rate
from bench.world import World
from colonies.core.process import State

BEFORE = 100_000
"""Processes that wait already, for the last row; fewer at a glance."""

CONDITIONS = """\
A client submits a process, is assigned one, and closes it: three signed messages over a socket of
its own. *Shared* is the hub as it comes: calls that meet share a statement. *Naive* is the same
code with `COLONIES_DATABASE_BATCH=1`: each call has a statement of its own, tuned as well (generic
plans, no reset of connections). Turn by turn, with as many clients. Costs are processor time a
cycle, by side; *commits* are writing transactions a cycle."""

HEAD = ("clients", "cycles", "to naive", "hub", "PostgreSQL", "clients' side", "commits")


async def measure(world: World) -> Chapter:
    """Measure both ways, by more and more clients, and beside a long queue."""
    seconds = world.scale.seconds
    figures: Figures = {}
    rows = []
    async with world.hub() as shared, world.hub(database_batch=1) as naive:
        for count in world.scale.clients:
            plain = await cycles(naive, count, seconds)
            found = await cycles(shared, count, seconds)
            rows += [
                row(f"{count}, naive", plain, plain),
                row(f"{count}, shared", found, plain),
            ]
            figures |= figures_of(f"cycles/naive/{count}", plain)
            figures |= figures_of(f"cycles/{count}", found)
        busy = 50 if 50 in world.scale.clients else world.scale.clients[-1]
        before = min(BEFORE, world.scale.backlogs[-1])
        await shared.fill(State.WAITING, before)
        beside = await cycles(shared, busy, seconds)
        rows.append(row(f"{busy}, shared, {before:,} waiting", beside, plain))
        figures |= figures_of("cycles/waiting", beside)
    lines = {
        how: [(float(count), figures[f"{name}/{count}/rate"]) for count in world.scale.clients]
        for how, name in (("shared statements", "cycles"), ("naive", "cycles/naive"))
    }
    plot = Plot("cycles", "Whole lives of processes", "clients", "cycles/s", lines, is_log_x=True)
    return Chapter("Cycles", CONDITIONS, [Table(HEAD, rows)], [plot], figures)


def figures_of(name: str, found: Crowded) -> Figures:
    """Give what was found under its names."""
    return {
        f"{name}/rate": found.rate,
        f"{name}/hub": found.cost.hub * 1e6,
        f"{name}/postgres": found.cost.postgres * 1e6,
        f"{name}/client": found.cost.client * 1e6,
        f"{name}/commits": found.cost.writes,
    }


def row(what: str, found: Crowded, naive: Crowded) -> tuple[str, ...]:
    """Show what was found."""
    return (
        what,
        rate(found.rate),
        number(found.rate / naive.rate),
        *costs(found),
    )


def costs(found: Crowded) -> tuple[str, str, str, str]:
    """Show what a cycle has cost."""
    sides = (found.cost.hub, found.cost.postgres, found.cost.client)
    hub, postgres, client = (f"{side * 1e6:,.0f} µs" for side in sides)
    return hub, postgres, client, number(found.cost.writes)
