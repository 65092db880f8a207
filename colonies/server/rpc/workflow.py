"""Workflows: submitted, read and deleted; what happens to their processes is in `process`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.process import State
from colonies.core.process_graph import Member, ProcessGraph, drawn
from colonies.core.runtime import Runtime
from colonies.core.workflow import WorkflowSpec
from colonies.server import workflow
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rules import find_graph, member, member_or_owner, reader_of_graph

MAX_COUNT = 100
"""Graphs that one list gives at most."""

MOST_LISTED_IDS = 10_000
"""Ids of processes that one list of graphs gives at most."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class SubmitWorkflowSpec(Request):
    """Processes that depend on each other by name."""

    spec: WorkflowSpec


async def _submitted(call: Call, _msg: SubmitWorkflowSpec, seen: Seen) -> ProcessGraph:
    return await find_graph(call, seen.process_id)


@rpc("submitworkflowspecmsg", rule=member("spec.colony_id"), again=_submitted)
async def submit_workflow_spec(
    call: Call, msg: SubmitWorkflowSpec, _member: Runtime
) -> ProcessGraph:
    """Submit a workflow, all of it or nothing; its roots are in the queue from then on."""
    async with call.quotas.submitting(call.caller, msg.spec.colony_id, len(msg.spec.process_specs)):
        submitted = await workflow.submit(call.db, msg.spec, call.intent)
    call.publish(*submitted.roots)
    return submitted.graph


class GetProcessGraph(Request):
    """The graph asked for."""

    process_graph_id: str


@rpc("getprocessgraphmsg", rule=reader_of_graph("process_graph_id"))
async def get_process_graph(call: Call, _msg: GetProcessGraph, graph: ProcessGraph) -> ProcessGraph:
    """Give a graph with a picture of it: its processes, their states, and what waits for what."""
    members = await call.db.fetch_all(
        Member,
        "list_members",
        process_graph_id=graph.process_graph_id,
    )
    return drawn(graph, members)


class GetProcessGraphs(Request):
    """Which graphs: by state, at most ``count``."""

    colony_id: str
    count: Count = 0
    state: State = State.WAITING


@rpc("getprocessgraphsmsg", rule=member_or_owner("colony_id"))
async def get_process_graphs(call: Call, msg: GetProcessGraphs, _: None) -> list[ProcessGraph]:
    """List graphs, those submitted last first; with process ids as long as these are few."""
    return await call.db.fetch_all(
        ProcessGraph,
        "list_process_graphs",
        colony_id=msg.colony_id,
        state=msg.state,
        count=msg.count,
        most_ids=MOST_LISTED_IDS,
    )
