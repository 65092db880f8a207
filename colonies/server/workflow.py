"""Every change of a workflow as a whole, whoever asks for it.

What happens to one of its processes happens in `lifecycle`, like to any other, and what follows
from that for the rest in `graph`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches

import msgspec

from colonies.core import wire
from colonies.core.errors import Conflict, Malformed, NotFound
from colonies.core.process import (
    Process,
    ProcessSpec,
    State,
    environment_of,
    new_id,
)
from colonies.core.process_graph import Member, ProcessGraph
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import MAX_MEMBERS, Edit, Planned, WorkflowSpec, plan
from colonies.server import graph as graphs
from colonies.server.db import Database, Statements, Transaction
from colonies.server.intent import NOBODY, NOBODYS, Intent, Submitter
from colonies.server.lifecycle import Assignment
from colonies.server.moves import environment_columns, spec_columns


class Submitted(msgspec.Struct, frozen=True):
    """A graph that was submitted, and those of its processes that can start: to be published."""

    graph: ProcessGraph
    roots: list[Process]


async def submit(
    db: Statements,
    workflow: WorkflowSpec,
    intent: Intent = NOBODYS,
    *,
    submitter: Submitter = NOBODY,
    graph_id: str = "",
    root_args: Sequence[str] | None = None,
    root_input: Sequence[str] = (),
) -> Submitted:
    """Submit a workflow that `core.workflow.check` has passed: all of it or nothing, at once.

    ``db`` may be a transaction, for what shall happen together with it; publish the roots after its
    commit. ``graph_id`` is its id, if not a new one; ``root_args`` replaces the arguments of the
    roots, ``root_input`` is their input.
    """
    graph_id = graph_id or new_id()
    planned = plan(workflow, graph_id, root_args)
    environment = [
        attribute
        for one in planned
        for attribute in environment_of(one.process_id, one.spec, graph_id)
    ]
    (graph,) = await db.fetch_all(
        ProcessGraph,
        "submit_process_graph",
        colony_id=workflow.colony_id,
        process_graph_id=graph_id,
        on_failure=workflow.on_failure,
        root_input=list(root_input),
        **_columns(planned),
        **environment_columns(environment),
        **submitter.parameters,
        **intent.parameters,
    )
    return Submitted(graph, _roots(graph, planned, list(root_input), submitter.submitted_by))


async def add_child(
    db: Database,
    assignment: Assignment,
    parent: Process,
    kept: ProcessSpec,
    *,
    wait_for_parents: bool,
    submitter: Submitter,
    intent: Intent,
) -> Process | None:
    """Add a process below one that is running, for the runtime that has it; None if it has not.

    Also None if the parent is to stop. ``kept`` is what `child_spec` gives. The child can start at
    once, or when its parent has succeeded. Raises Conflict when the graph is full.
    """
    child = new_id()
    environment = environment_of(child, kept, parent.process_graph_id)
    async with db.transaction() as tx:
        await graphs.lock_graphs_of(tx, [(parent.colony_id, parent.process_id)])
        members = await tx.fetch_rows(
            "add_child",
            **msgspec.structs.asdict(assignment),
            process_graph_id=parent.process_graph_id,
            child_id=child,
            wait_for_parents=wait_for_parents,
            **spec_columns([kept]),
            **environment_columns(environment),
            **submitter.parameters,
            **intent.parameters,
        )
        if not members:
            return None
        if members[0][0] > MAX_MEMBERS:
            raise Conflict(f"workflow <{parent.process_graph_id}> has {MAX_MEMBERS} processes")
        key = graphs.keys_of([(parent.colony_id, child)])
        return await tx.fetch_maybe(Process, "list_processes", **key)


async def cancel(
    db: Database, graph: ProcessGraph, *, by: str, reason: str, intent: Intent
) -> list[Process]:
    """Cancel all that has not ended; gives what has changed, nothing when there was nothing."""
    async with db.transaction() as tx:
        state = await _lock(tx, graph, intent)
        if state.is_final:
            raise Conflict(f"workflow <{graph.process_graph_id}> has ended: {state.name.lower()}")
        changed = await tx.fetch_all(
            Process,
            "cancel_members",
            process_graph_ids=[graph.process_graph_id],
            cancelled_by=[by],
            reasons=[reason],
        )
        await graphs.count_ended(tx, [one for one in changed if one.state.is_final])
        return changed


async def rescue(
    db: Database, graph: ProcessGraph, edits: Mapping[str, Edit], intent: Intent
) -> list[Process]:
    """Try again what has failed or was cancelled in a graph that has ended; gives what changed.

    ``edits`` are other arguments by the names of processes. What has succeeded stays as it is.
    Raises Conflict when the graph has not ended, or well, and Malformed for an unknown name.
    """
    graph_id = graph.process_graph_id
    async with db.transaction() as tx:
        state = await _lock(tx, graph, intent)
        if not state.is_final:
            raise Conflict(f"workflow <{graph_id}> has not ended: {state.name.lower()}")
        if state is State.SUCCESS:
            raise Conflict(f"workflow <{graph_id}> has nothing to try again: it was successful")
        members = await tx.fetch_all(Member, "list_members", process_graph_id=graph_id)
        _check_edits(edits, {one.name for one in members if one.state is not State.SUCCESS})
        return await tx.fetch_all(
            Process,
            "return_members",
            process_graph_id=graph_id,
            names=list(edits),
            changes=[_json(edit) for edit in edits.values()],
        )


async def members_named(
    db: Statements, graph: ProcessGraph, names: Collection[str]
) -> list[Process]:
    """Give the processes of a graph that have these names, as far as there are such."""
    if not names:
        return []
    members = await db.fetch_all(Member, "list_members", process_graph_id=graph.process_graph_id)
    keys = [(graph.colony_id, one.process_id) for one in members if one.name in names]
    return await db.fetch_all(Process, "list_processes", **graphs.keys_of(keys))


def _check_edits(edits: Mapping[str, Edit], names: set[str]) -> None:
    for name in edits:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Malformed(
                f"edits: expected names of processes to try again, not {name!r}{hint}",
                field=f"edits.{name}",
            )


async def delete(db: Database, graph: ProcessGraph, intent: Intent) -> list[str]:
    """Delete a graph with its processes, whose ids it gives."""
    async with db.transaction() as tx:
        await _lock(tx, graph, intent)
        await tx.execute("lock_members", process_graph_id=graph.process_graph_id)
        gone = await tx.fetch_rows("delete_process_graph", process_graph_id=graph.process_graph_id)
    return [process_id for (process_id,) in gone]


async def delete_all(db: Database, colony_id: str, intent: Intent) -> list[str]:
    """Delete all graphs of a colony with their processes, whose ids it gives."""
    async with db.transaction() as tx:
        await tx.execute("lock_graphs_of_colony", colony_id=colony_id)
        await tx.execute("lock_members_of_colony", colony_id=colony_id)
        gone = await tx.fetch_rows(
            "delete_all_process_graphs", colony_id=colony_id, **intent.parameters
        )
    return [process_id for (process_id,) in gone]


async def delete_all_processes(db: Database, colony_id: str, intent: Intent) -> list[str]:
    """Delete all processes of a colony, and so its graphs; gives the ids of what was running."""
    async with db.transaction() as tx:
        await lock_colony(tx, colony_id)
        running = await tx.fetch_rows(
            "delete_all_processes", colony_id=colony_id, **intent.parameters
        )
    return [process_id for (process_id,) in running]


async def lock_colony(tx: Transaction, colony_id: str) -> None:
    """Lock all graphs and processes of a colony, which are about to be deleted."""
    await tx.execute("lock_graphs_of_colony", colony_id=colony_id)
    await tx.execute("lock_processes_of_colony", colony_id=colony_id)


async def _lock(tx: Transaction, graph: ProcessGraph, intent: Intent) -> State:
    """Lock a graph and remember who asks for it; give its state, as it is now."""
    rows = await tx.fetch_rows(
        "lock_process_graph", process_graph_id=graph.process_graph_id, **intent.parameters
    )
    if not rows:
        raise NotFound(f"there is no workflow <{graph.process_graph_id}>")
    return State(rows[0][0])


def _columns(planned: Sequence[Planned]) -> dict[str, list[object]]:
    return {
        "process_ids": [one.process_id for one in planned],
        "parents": [_json(one.parents) for one in planned],
        "children": [_json(one.children) for one in planned],
        "missing": [len(one.parents) for one in planned],
        **spec_columns([one.spec for one in planned]),
    }


def _roots(
    graph: ProcessGraph, planned: Sequence[Planned], root_input: list[str], submitted_by: str
) -> list[Process]:
    roots = []
    for place, one in enumerate(planned, start=1):
        if one.parents:
            continue
        submitted = graph.submission_time + timedelta(microseconds=place)
        wait = timedelta(seconds=one.spec.max_wait_time)
        roots.append(
            Process(
                process_id=one.process_id,
                submission_time=submitted,
                wait_deadline=submitted + wait if one.spec.max_wait_time > 0 else ZERO_TIME,
                attributes=environment_of(one.process_id, one.spec, graph.process_graph_id),
                spec=one.spec,
                children=one.children,
                process_graph_id=graph.process_graph_id,
                input=root_input,
                submitted_by=submitted_by,
            )
        )
    return roots


def _json(value: object) -> str:
    return wire.encode(value).decode()
