"""Workflows: submitted, extended, cancelled, tried again, read and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from colonies.core.colony import Colony
from colonies.core.errors import Conflict, Malformed
from colonies.core.process import Process, ProcessSpec, State
from colonies.core.process_graph import Member, ProcessGraph, drawn
from colonies.core.runtime import Runtime
from colonies.core.wire import LAST_TIME, ZERO_TIME, Beginning, Time
from colonies.core.workflow import Edit, WorkflowSpec, check, child_spec
from colonies.server import workflow
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.lifecycle import Assignment
from colonies.server.rpc import Reason, Request, rpc
from colonies.server.rules import (
    assignee,
    colony_owner,
    find_graph,
    find_process,
    member,
    member_of_graph,
    member_or_owner,
    reader_of_graph,
    refuse_assignee,
)

MAX_SKIPPED = 1_000_000
MAX_COUNT = 100
"""Graphs that one list gives at most."""

MOST_LISTED_IDS = 10_000
"""Ids of processes that one list of graphs gives at most."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=MAX_SKIPPED)]


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
    check(msg.spec)
    spec = await call.functions.settled_workflow(msg.spec, "spec.processspecs")
    count = len(spec.process_specs)
    async with call.quotas.submitting(call.caller, spec.colony_id, count) as submitter:
        submitted = await workflow.submit(call.db, spec, call.intent, submitter=submitter)
    call.publish(*submitted.roots)
    return submitted.graph


class AddChild(Request):
    """What shall be done below ``processid``, which the caller runs: at once, or after it.

    The graph is that of the process, named or not.
    """

    process_id: str
    spec: ProcessSpec
    process_graph_id: str = ""
    attempt_token: str = ""
    wait_for_parents: bool = False


async def _added(call: Call, _msg: AddChild, seen: Seen) -> Process:
    return await find_process(call, seen.process_id)


@rpc("addchildmsg", rule=assignee("process_id"), again=_added)
async def add_child(call: Call, msg: AddChild, assignment: Assignment) -> Process:
    """Add a process to the workflow of the one that the caller runs, as its child."""
    parent = await find_process(call, msg.process_id)
    if not parent.process_graph_id:
        raise Conflict(f"process <{parent.process_id}> is of no workflow")
    if msg.process_graph_id not in ("", parent.process_graph_id):
        field = "processgraphid"
        raise Malformed(f"{field}: expected <{parent.process_graph_id}>", field=field)
    spec = await call.functions.settled(child_spec(msg.spec, parent.spec), "spec")
    async with call.quotas.submitting(call.caller, parent.colony_id, 1) as submitter:
        child = await workflow.add_child(
            call.db,
            assignment,
            parent,
            spec,
            wait_for_parents=msg.wait_for_parents,
            submitter=submitter,
            intent=call.intent,
        )
    if child is None:
        parent = await find_process(call, msg.process_id)
        if parent.is_cancelling and parent.assigned_runtime_id == call.caller:
            raise Conflict(f"process <{parent.process_id}> is to stop")
        raise await refuse_assignee(call, assignment)
    if not child.wait_for_parents:
        call.publish(child)
    return child


class CancelProcessGraph(Request):
    """The graph to cancel, and why, in words for people."""

    process_graph_id: str
    reason: Reason = ""


async def _cancelled(call: Call, msg: CancelProcessGraph, _seen: Seen) -> ProcessGraph:
    return await find_graph(call, msg.process_graph_id)


@rpc("cancelprocessgraphmsg", rule=reader_of_graph("process_graph_id"), again=_cancelled)
async def cancel_process_graph(
    call: Call, msg: CancelProcessGraph, graph: ProcessGraph
) -> ProcessGraph:
    """Cancel all of a graph that has not ended; what runs is told to stop."""
    changed = await workflow.cancel(
        call.db, graph, by=call.caller, reason=msg.reason, intent=call.intent
    )
    call.publish(*changed)
    return await find_graph(call, graph.process_graph_id)


class RescueProcessGraph(Request):
    """The graph to try again, and other arguments by the names of processes."""

    process_graph_id: str
    edits: dict[str, Edit] = {}


async def _rescued(call: Call, msg: RescueProcessGraph, _seen: Seen) -> ProcessGraph:
    return await find_graph(call, msg.process_graph_id)


@rpc("rescueprocessgraphmsg", rule=reader_of_graph("process_graph_id"), again=_rescued)
async def rescue_process_graph(
    call: Call, msg: RescueProcessGraph, graph: ProcessGraph
) -> ProcessGraph:
    """Try again what has failed or was cancelled in a graph that has ended, and only that."""
    await _check_arguments(call, msg.edits, graph)
    async with call.quotas.submitting(call.caller, graph.colony_id, graph.failed + graph.cancelled):
        returned = await workflow.rescue(call.db, graph, msg.edits, call.intent)
    call.publish(*returned)
    return await find_graph(call, graph.process_graph_id)


async def _check_arguments(call: Call, edits: Mapping[str, Edit], graph: ProcessGraph) -> None:
    """Refuse arguments that do not fit the functions of those whom they are for."""
    for process in await workflow.members_named(call.db, graph, edits):
        name = process.spec.name
        await call.functions.settled(edits[name].applied(process.spec), f"edits.{name}")


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
    """Which graphs, at most ``count``: of a state, or of any if ids have a ``beginning``.

    A list goes on from a time of submission, after so many that had it.
    """

    colony_id: str
    count: Count = 0
    state: State = State.WAITING
    from_time: Time = ZERO_TIME
    skip: Skip = 0
    beginning: Beginning = ""


@rpc("getprocessgraphsmsg", rule=member_or_owner("colony_id"))
async def get_process_graphs(call: Call, msg: GetProcessGraphs, _: None) -> list[ProcessGraph]:
    """List graphs, those submitted last first; with process ids as long as these are few."""
    of_colony = {"colony_id": msg.colony_id, "count": msg.count}
    if msg.beginning:
        beginning = {**of_colony, "beginning": msg.beginning}
        return await call.db.fetch_all(ProcessGraph, "list_process_graphs_beginning", **beginning)
    return await call.db.fetch_all(
        ProcessGraph,
        "list_process_graphs",
        **of_colony,
        state=msg.state,
        most_ids=MOST_LISTED_IDS,
        from_time=LAST_TIME if msg.from_time == ZERO_TIME else msg.from_time,
        skip=msg.skip,
    )


class DeleteProcessGraph(Request):
    """The graph to delete."""

    process_graph_id: str


@rpc("deleteprocessgraphmsg", rule=member_of_graph("process_graph_id"))
async def delete_process_graph(call: Call, _msg: DeleteProcessGraph, graph: ProcessGraph) -> None:
    """Delete a graph with all its processes, in any state."""
    for process_id in await workflow.delete(call.db, graph, call.intent):
        call.hub.remove(graph.colony_id, process_id)


class DeleteAllProcessGraphs(Request):
    """The colony whose graphs go."""

    colony_id: str


@rpc("deleteallprocessgraphsmsg", rule=colony_owner("colony_id"))
async def delete_all_process_graphs(
    call: Call, msg: DeleteAllProcessGraphs, _colony: Colony
) -> None:
    """Delete all graphs of a colony with all their processes; other processes stay."""
    for process_id in await workflow.delete_all(call.db, msg.colony_id, call.intent):
        call.hub.remove(msg.colony_id, process_id)
