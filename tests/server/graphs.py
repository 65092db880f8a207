"""Workflows under way, as tests of several kinds see them."""

from __future__ import annotations

from typing import Any

import asyncpg

from colonies.client import Colonies
from colonies.core.errors import NothingToAssign
from colonies.core.process import Conditions, Process, ProcessSpec
from colonies.core.process_graph import ProcessGraph
from colonies.core.workflow import OnFailure
from tests.server.doors import refused
from tests.server.rpc.test_workflow import workflow


class Graph:
    """A workflow under way, by the names of its processes."""

    def __init__(self, member: Colonies, graph: ProcessGraph, ids: dict[str, str]) -> None:
        self.member = member
        self.id = graph.process_graph_id
        self.ids = ids

    async def get(self, name: str) -> Process:
        return await self.member.get_process(self.ids[name])

    async def now(self) -> ProcessGraph:
        return await self.member.get_process_graph(self.id)

    async def states(self) -> str:
        """Give a letter a process: w, r, s, f or c."""
        names = {node.data.label: node.data.state for node in (await self.now()).nodes}
        return " ".join(f"{name}{state.name[0].lower()}" for name, state in sorted(names.items()))

    async def take(self, *names: str) -> None:
        """Be assigned exactly these, in any order."""
        taken = {(await self.member.assign_process(timeout=-1)).spec.name for _ in names}
        assert taken == set(names)

    async def nothing_to_take(self) -> None:
        assert isinstance(await refused(self.member.assign_process(timeout=-1)), NothingToAssign)

    async def succeed(self, name: str, *output: str) -> None:
        await self.member.close_successful(self.ids[name], output)

    async def fail(self, name: str) -> None:
        await self.member.close_failed(self.ids[name], ["broken"])

    async def add(self, parent: str, name: str, **options: Any) -> Process:
        """Add a child, as the runtime that runs the parent."""
        spec = ProcessSpec(name=name, conditions=Conditions(runtime_type="cli"))
        child = await self.member.add_child(self.ids[parent], spec, **options)
        self.ids[name] = child.process_id
        return child


async def change(sql: asyncpg.Connection, graph: Graph, name: str, what: str) -> None:
    """Change a process of a graph behind the back of its hub."""
    await sql.execute(f"UPDATE processes SET {what} WHERE process_id = $1", graph.ids[name])


async def started(
    member: Colonies,
    on_failure: OnFailure = OnFailure.CONTINUE,
    **dependencies: str,
) -> Graph:
    """Submit ``a="", b="a"`` as a workflow."""
    spec = workflow(member.settings.colony_id, on_failure=on_failure, **dependencies)
    graph = await member.submit_workflow_spec(spec)
    drawn = await member.get_process_graph(graph.process_graph_id)
    return Graph(member, graph, {one.data.label: one.id for one in drawn.nodes})
