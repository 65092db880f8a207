"""How long the submit of a large workflow takes, and whether its completions stay the same."""

from __future__ import annotations

from math import isqrt
from statistics import median, quantiles

import msgspec

from bench.queue import COLONY, Queue, nobodys_twice, open_queue
from bench.report import Chapter, Figures, Table, ms, number
from bench.world import TYPE, World, stopwatch
from colonies.core.process import Conditions, ProcessSpec
from colonies.core.process_graph import Member, ProcessGraph, drawn
from colonies.core.workflow import MAX_MEMBERS, WorkflowSpec
from colonies.server import workflow

SUBMITS = 3
COMPLETIONS = 1_100
WINDOW = 100
"""Completions that are looked at together."""

CONDITIONS = """\
The hub's own statements, without the hub around them. A completion is a claim and a close, one
after the other; the first of the second shape puts all but two of its processes into the queue.
Ratios are of lower quartiles of a hundred, to the completions after the first."""

Parents = list[list[int]]


class Took(msgspec.Struct, frozen=True):
    """What one shape took, in milliseconds."""

    edges: int
    submit: float
    picture: float
    completions: list[float]

    def window(self, start: int) -> float:
        """Give what some completions take while nothing else disturbs: their lower quartile.

        What disturbs only adds to them: beside it medians were from 0.7 to 2.6 of the first, where
        the least of each hundred stayed within 1.05 over two thousand.
        """
        return quantiles(self.completions[start:][:WINDOW])[0]


async def measure(world: World) -> Chapter:
    """Submit workflows of several shapes, and complete a part of each."""
    members = min(MAX_MEMBERS, world.scale.bulk)
    completions = min(COMPLETIONS, members)
    async with open_queue(world) as queue:
        found = {
            what: await take(queue, parents, completions)
            for what, parents in shapes(members).items()
        }
    figures: Figures = {
        "workflow/submit": max(one.submit for one in found.values()),
        "workflow/completion": max(one.window(-WINDOW) / one.window(1) for one in found.values()),
    }
    return Chapter("Workflows", CONDITIONS, [table(found, members, completions)], [], figures)


def shapes(members: int) -> dict[str, Parents]:
    """Give the parents of each process, by number: deep, wide, and both."""
    layer = isqrt(members)
    return {
        "a chain": [[number - 1] if number else [] for number in range(members)],
        "one, all but two, one": [
            [], *([0] for _ in range(members - 2)), list(range(1, members - 1)),
        ],
        f"layers of {layer}, each for 4 above": [
            [
                (number // layer - 1) * layer + (number + step) % layer
                for step in range(min(4, layer) if number >= layer else 0)
            ]
            for number in range(members)
        ],
    }  # fmt: skip


def spec_of(parents: Parents) -> WorkflowSpec:
    """Make a workflow of who depends on whom."""
    return WorkflowSpec(
        colony_id=COLONY,
        process_specs=[
            ProcessSpec(
                name=f"n{number}",
                func="noop",
                args=["one", "two"],
                conditions=Conditions(
                    runtime_type=TYPE, dependencies=[f"n{parent}" for parent in some]
                ),
            )
            for number, some in enumerate(parents)
        ],
    )


async def take(queue: Queue, parents: Parents, completions: int) -> Took:
    """Submit a shape some times, draw the last, and complete a part of it."""
    spec = spec_of(parents)
    submits: list[float] = []
    for _ in range(SUBMITS):
        await queue.clear()
        await queue.sql.execute("TRUNCATE process_graphs")
        with stopwatch(submits):
            submitted = await workflow.submit(queue.db, spec, nobodys_twice())
    await queue.settle()
    pictures: list[float] = []
    with stopwatch(pictures):
        await draw(queue, submitted.graph)
    took: list[float] = []
    for _ in range(completions):
        with stopwatch(took):
            (process,) = await queue.claim()
            await queue.close(process)
    return Took(sum(map(len, parents)), median(submits), pictures[0], took)


async def draw(queue: Queue, graph: ProcessGraph) -> ProcessGraph:
    """Give a graph as the hub gives it to whoever asks."""
    members = await queue.db.fetch_all(
        Member, "list_members", process_graph_id=graph.process_graph_id
    )
    return drawn(graph, members)


def table(found: dict[str, Took], members: int, completions: int) -> Table:
    """Show them, with ratios."""
    half = completions // 2
    rows = [
        (
            what,
            f"{one.edges:,}",
            *(ms(one.submit), ms(one.picture), ms(one.completions[0]), ms(one.window(1))),
            *(number(one.window(at) / one.window(1)) for at in (half, -WINDOW)),
        )
        for what, one in found.items()
    ]
    head = ("edges", "submit", "draw", "first", "then", f"from {half:,}, ratio")
    return Table((f"{members:,} processes", *head, f"to {completions:,}, ratio"), rows)
