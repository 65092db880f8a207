"""Who submits workflows, works on them, extends and cancels them, as the dice say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from colonies.client import Colonies
from colonies.core.errors import Conflict, Forbidden, NotFound, NothingToAssign
from colonies.core.process import Conditions, Process, ProcessSpec
from colonies.core.workflow import OnFailure, WorkflowSpec
from tests.faults.graphs import BESIDE

FAILS = 0.06
ADDS = 0.1
MOST_PARENTS = 4
NEAR = 20
"""Parents are among so many before: graphs are deep as well as wide."""


def random_workflow(dice: Random, colony_id: str, runtime_type: str, count: int) -> WorkflowSpec:
    """Make a workflow of so many processes, in an order that has nothing to do with the edges."""
    specs = []
    for number in range(count):
        near = range(max(0, number - NEAR), number)
        parents = dice.sample(near, min(len(near), dice.randrange(MOST_PARENTS)))
        conditions = Conditions(
            runtime_type=runtime_type, dependencies=[f"n{parent}" for parent in parents]
        )
        specs.append(ProcessSpec(name=f"n{number}", conditions=conditions))
    dice.shuffle(specs)
    on_failure = OnFailure.CANCEL if dice.random() < 0.2 else OnFailure.CONTINUE
    return WorkflowSpec(colony_id=colony_id, process_specs=specs, on_failure=on_failure)


class Worker:
    """A runtime by hand: it takes what comes, and fails or adds to some of it."""

    def __init__(self, member: Colonies, dice: Random) -> None:
        self._member = member
        self._dice = dice
        self._added = 0
        self.is_over = False

    async def run(self, *, patience: int = 1) -> None:
        """Work until told that it is over; ``patience`` is how long to wait for more, in s."""
        while not self.is_over:
            try:
                process = await self._member.assign_process(timeout=patience)
            except NothingToAssign:
                continue
            # It may have been deleted, or be told to stop meanwhile.
            with suppress(Conflict, Forbidden, NotFound):
                await self._do(process)

    async def _do(self, process: Process) -> None:
        while self._dice.random() < ADDS:
            await self._add(process)
        if self._dice.random() < FAILS:
            await self._member.close_failed(process.process_id, ["by the dice"])
        else:
            output = [process.spec.name] * self._dice.randrange(3)
            await self._member.close_successful(process.process_id, output)

    async def _add(self, process: Process) -> None:
        self._added += 1
        waits = self._dice.random() < 0.5
        name = f"{'after' if waits else BESIDE}{self._added}"
        conditions = Conditions(runtime_type=process.spec.conditions.runtime_type)
        with suppress(Conflict):
            await self._member.add_child(
                process.process_id,
                ProcessSpec(name=name, conditions=conditions),
                wait_for_parents=waits,
            )


class Spoiler:
    """Cancels some of the processes, and now and then a whole graph."""

    def __init__(self, member: Colonies, dice: Random) -> None:
        self._member = member
        self._dice = dice

    async def spoil(self, graph_id: str) -> None:
        """Cancel something of a graph that is under way, if the dice say so."""
        if self._dice.random() < 0.5:
            return
        graph = await self._member.get_process_graph(graph_id)
        with suppress(Conflict):
            if self._dice.random() < 0.1:
                await self._member.cancel_process_graph(graph_id)
            else:
                await self._member.cancel_process(self._dice.choice(graph.process_ids))


async def until_ended(member: Colonies, graph_ids: list[str], *, within: float) -> None:
    """Wait until all of these have ended."""
    async with asyncio.timeout(within):
        for graph_id in graph_ids:
            await member.wait_for_process_graph(graph_id)
