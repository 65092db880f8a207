"""What a client can ask about workflows: one short method an RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from colonies.client.asking import Asking, after_last
from colonies.core.process import Process, ProcessSpec, State
from colonies.core.process_graph import ProcessGraph
from colonies.core.workflow import Edit, WorkflowSpec


class _CanWait(Protocol):
    """What waiting for a workflow is made of."""

    async def wait_for(self, process_id: str, timeout: float | None = None) -> Process: ...

    async def get_process_graph(self, process_graph_id: str) -> ProcessGraph: ...


class Workflows(Asking):
    """The part of `Colonies` that is about workflows."""

    async def submit_workflow_spec(self, spec: WorkflowSpec) -> ProcessGraph:
        """Submit a workflow, all of it or nothing.

        Raises Malformed, naming the process at fault, when it cannot be run.
        """
        return await self._call(ProcessGraph, "submitworkflowspecmsg", spec=spec)

    async def wait_for_process_graph(
        self: _CanWait, process_graph_id: str, timeout: float | None = None
    ) -> ProcessGraph:
        """Wait until a graph has ended; raise TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while True:
                graph = await self.get_process_graph(process_graph_id)
                if graph.state.is_final:
                    return graph
                # Whoever is lowest ends last, or nearly so; then there is little left to look at.
                open_ = [node for node in graph.nodes if not node.data.state.is_final]
                if open_:
                    await self.wait_for(max(open_, key=lambda node: node.position.y).id)

    async def add_child(
        self,
        process_id: str,
        spec: ProcessSpec,
        *,
        attempt_token: str = "",
        wait_for_parents: bool = False,
        process_graph_id: str = "",
    ) -> Process:
        """Add a process below one that the caller runs, to the same workflow.

        It can start at once, or if it shall wait, when its parent has succeeded; then what that
        gave is its input.
        """
        return await self._call(
            Process,
            "addchildmsg",
            process_id=process_id,
            spec=spec,
            attempt_token=attempt_token,
            wait_for_parents=wait_for_parents,
            process_graph_id=process_graph_id,
        )

    async def cancel_process_graph(self, process_graph_id: str, reason: str = "") -> ProcessGraph:
        """Cancel all of a graph that has not ended; what runs is told to stop."""
        return await self._call(
            ProcessGraph,
            "cancelprocessgraphmsg",
            process_graph_id=process_graph_id,
            reason=reason,
        )

    async def rescue_process_graph(
        self, process_graph_id: str, edits: Mapping[str, Edit] | None = None
    ) -> ProcessGraph:
        """Try again what has failed or was cancelled in a graph that has ended, and only that.

        ``edits`` are other arguments, by the names of processes. Raises Conflict when the graph has
        not ended, or ended well.
        """
        return await self._call(
            ProcessGraph,
            "rescueprocessgraphmsg",
            process_graph_id=process_graph_id,
            edits=edits or {},
        )

    async def delete_process_graph(self, process_graph_id: str) -> None:
        """Delete a graph with its processes."""
        await self._call(msgspec.Raw, "deleteprocessgraphmsg", process_graph_id=process_graph_id)

    async def delete_all_process_graphs(self, colony_id: str = "") -> None:
        """Delete all graphs of a colony with their processes."""
        await self._call(
            msgspec.Raw, "deleteallprocessgraphsmsg", colony_id=self._colony(colony_id)
        )

    async def get_process_graph(self, process_graph_id: str) -> ProcessGraph:
        """Give a graph with its nodes and edges."""
        return await self._call(
            ProcessGraph, "getprocessgraphmsg", process_graph_id=process_graph_id
        )

    async def get_process_graphs(
        self,
        *,
        state: State = State.WAITING,
        count: int = 100,
        colony_id: str = "",
        after: Sequence[ProcessGraph] = (),
        beginning: str = "",
    ) -> list[ProcessGraph]:
        """List graphs in one state, at most 100, those ``after`` the ones listed.

        Those submitted last come first. With a ``beginning`` of ids, four characters or more, it is
        those of any state, by their ids.
        """
        return await self._call(
            list[ProcessGraph],
            "getprocessgraphsmsg",
            colony_id=self._colony(colony_id),
            count=count,
            state=state,
            beginning=beginning,
            **after_last(after, attrgetter("submission_time")),
        )
