"""What a client can ask about workflows: one short method an RPC."""

from __future__ import annotations

from colonies.client.asking import Asking
from colonies.core.process import State
from colonies.core.process_graph import ProcessGraph
from colonies.core.workflow import WorkflowSpec


class Workflows(Asking):
    """The part of `Colonies` that is about workflows."""

    async def submit_workflow_spec(self, spec: WorkflowSpec) -> ProcessGraph:
        """Submit a workflow, all of it or nothing.

        Raises Malformed, naming the process at fault, when it cannot be run.
        """
        return await self._call(ProcessGraph, "submitworkflowspecmsg", spec=spec)

    async def get_process_graph(self, process_graph_id: str) -> ProcessGraph:
        """Give a graph with its nodes and edges."""
        return await self._call(
            ProcessGraph, "getprocessgraphmsg", process_graph_id=process_graph_id
        )

    async def get_process_graphs(
        self, *, state: State = State.WAITING, count: int = 100, colony_id: str = ""
    ) -> list[ProcessGraph]:
        """List graphs in one state, at most 100, those submitted last first."""
        return await self._call(
            list[ProcessGraph],
            "getprocessgraphsmsg",
            colony_id=self._colony(colony_id),
            count=count,
            state=state,
        )
