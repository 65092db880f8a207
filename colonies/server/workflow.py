"""Every change of a process graph as a whole, whoever asks for it.

What happens to one of its processes happens in `lifecycle`, like to any other; what follows from
that for the rest of the graph happens here, in the same transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import msgspec

from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.errors import Unavailable
from colonies.core.process import USUAL_LEASE, Process, State, environment_of, new_id
from colonies.core.process_graph import ProcessGraph
from colonies.core.runtime import Runtime
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import OnFailure, Planned, WorkflowSpec, plan
from colonies.server.db import Statements, Transaction
from colonies.server.intent import NOBODYS, Intent
from colonies.server.moves import Ending, close_all

ENDINGS = (
    "cancel_processes_not_stopped",
    "fail_processes_not_started",
    "fail_processes_overrun",
    "fail_processes_lost",
)
"""What ends processes whose time is over: of locked graphs, or of none."""

Locked = Mapping[str, OnFailure]
"""Graphs that are locked, and what becomes of the rest of each after a failure."""


class Submitted(msgspec.Struct, frozen=True):
    """A graph that was submitted, and those of its processes that can start: to be published."""

    graph: ProcessGraph
    roots: list[Process]


async def submit(
    db: Statements,
    workflow: WorkflowSpec,
    intent: Intent = NOBODYS,
    *,
    root_args: Sequence[str] | None = None,
    root_input: Sequence[str] = (),
) -> Submitted:
    """Check a workflow and submit it: all of it or nothing, by one statement.

    ``db`` may be a transaction, for what shall happen together with it; publish the roots after its
    commit. ``root_args`` replaces the arguments of the roots, ``root_input`` is their input. Raises
    Malformed, naming the process at fault, before anything is written.
    """
    graph_id = new_id()
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
        **_environment_columns(environment),
        **intent.parameters,
    )
    return Submitted(graph, _roots(graph, planned, list(root_input)))


async def note_started(db: Statements, claimed: Sequence[Process]) -> None:
    """Note that graphs have started, if these are the first of their processes that have.

    A statement after the claim: one that holds a process must not wait for its graph. What is not
    noted because the database is away is made good by the first of the graph that ends.
    """
    roots = [one for one in claimed if one.process_graph_id and not one.parents]
    if roots:
        with suppress(Unavailable):
            await db.execute(
                "set_graphs_started",
                process_graph_ids=[one.process_graph_id for one in roots],
                start_times=[one.start_time for one in roots],
            )


async def close_members(db: Statements, asked: Sequence[Ending]) -> list[list[Process]]:
    """End running processes of graphs, with all that follows from it for others of theirs.

    Gives, for each that is of a graph and that runtime's, the process and then those others.
    """
    keys = [(colony_id, one.process_id) for one in asked for colony_id in one.colony_ids]
    async with db.transaction() as tx:
        locked = await lock_graphs_of(tx, keys)
        if not locked:
            return [[] for _ in asked]
        closed = await close_all(tx, asked, of_graphs=True)
        others = await settle(tx, [one for one in closed if one], locked)
    result = [[one] if one else [] for one in closed]
    # Each with the first that may be the reason for it.
    of_graph = {some[0].process_graph_id: some for some in reversed(result) if some}
    for other in others:
        of_graph[other.process_graph_id].append(other)
    return result


async def lock_graphs_of(tx: Transaction, keys: Iterable[tuple[str, str]]) -> Locked:
    """Lock the graphs of processes, given by colony and id, before anything of them changes."""
    return _locked(await tx.fetch_rows("lock_graphs_of_processes", **_keys(keys)))


async def lock_graphs_of_runtime(tx: Transaction, runtime: Runtime) -> Locked:
    """Lock the graphs in which a runtime that is about to be deleted is stopping something."""
    rows = await tx.fetch_rows(
        "lock_graphs_of_runtime", colony_id=runtime.colony_id, runtime_id=runtime.runtime_id
    )
    return _locked(rows)


async def expire(
    db: Statements, endings: Mapping[str, Mapping[str, float]], *, count: int, **patience: float
) -> AsyncIterator[dict[str, list[Process]]]:
    """End the processes of graphs whose time is over, by the statements that end others.

    Gives what has ended by each, and under no name what has changed with them, batch by batch.
    """
    is_behind = True
    while is_behind:
        async with db.transaction() as tx:
            rows = await tx.fetch_rows("lock_due_graphs", count=count, **patience)
            if not rows:
                return
            locked = _locked(rows)
            changed = {
                statement: await tx.fetch_all(
                    Process, statement, count=count, process_graph_ids=list(locked), **given
                )
                for statement, given in endings.items()
            }
            ended = [one for some in changed.values() for one in some]
            changed[""] = await settle(tx, ended, locked)
        is_behind = bool(ended)
        yield changed


def _locked(rows: Iterable[tuple[str, str]]) -> Locked:
    return {graph_id: OnFailure(on_failure) for graph_id, on_failure in rows}


async def settle(tx: Transaction, ended: Sequence[Process], locked: Locked) -> list[Process]:
    """Do what follows from the ends of processes of graphs, which must be locked.

    Gives the other processes that have changed by it.
    """
    others: list[Process] = []
    for state, word in ((State.FAILED, "failed"), (State.CANCELLED, "was cancelled")):
        others += await _close_descendants(tx, ended, state, word)
    others += await _cancel_rest(tx, ended, locked)
    await _count(tx, [*ended, *(one for one in others if one.state.is_final)])
    return others + await _release_children(tx, ended)


async def _close_descendants(
    tx: Transaction, ended: Iterable[Process], state: State, word: str
) -> list[Process]:
    edges = [
        (one.colony_id, child, one.process_id)
        for one in ended
        if one.state is state
        for child in one.children
    ]
    if not edges:
        return []
    colony_ids, child_ids, parent_ids = zip(*edges, strict=True)
    return await tx.fetch_all(
        Process,
        "close_descendants",
        colony_ids=colony_ids,
        child_ids=child_ids,
        parent_ids=parent_ids,
        state=state,
        ended=word,
    )


async def _cancel_rest(tx: Transaction, ended: Iterable[Process], locked: Locked) -> list[Process]:
    """Cancel what is left of graphs that shall not go on after a failure."""
    failed = {
        one.process_graph_id: one
        for one in ended
        if one.state is State.FAILED and locked.get(one.process_graph_id) is OnFailure.CANCEL
    }
    if not failed:
        return []
    return await tx.fetch_all(
        Process,
        "cancel_members",
        process_graph_ids=list(failed),
        cancelled_by=[f"workflow {graph_id}" for graph_id in failed],
        reasons=[f"{one.spec.name or one.process_id} failed" for one in failed.values()],
    )


async def _release_children(tx: Transaction, ended: Iterable[Process]) -> list[Process]:
    """Count one parent less for each child of what has succeeded; give those with none left."""
    counts = Counter(
        (one.colony_id, child)
        for one in ended
        if one.state is State.SUCCESS
        for child in one.children
    )
    if not counts:
        return []
    rows = await tx.fetch_rows("release_children", **_keys(counts), counts=list(counts.values()))
    ready = [
        (colony_id, process_id) for colony_id, process_id, is_waiting in rows if not is_waiting
    ]
    return await tx.fetch_all(Process, "list_processes", **_keys(ready)) if ready else []


async def _count(tx: Transaction, ended: Iterable[Process]) -> None:
    """Count what has ended in the graphs."""
    by_graph: dict[str, list[Process]] = defaultdict(list)
    for one in ended:
        by_graph[one.process_graph_id].append(one)
    if not by_graph:
        return
    states = [Counter(one.state for one in some) for some in by_graph.values()]
    starts = [
        [one.start_time for one in some if one.start_time > ZERO_TIME] for some in by_graph.values()
    ]
    await tx.execute(
        "set_graph_progress",
        process_graph_ids=list(by_graph),
        start_times=[min(some, default=None) for some in starts],
        successful=[each[State.SUCCESS] for each in states],
        failed=[each[State.FAILED] for each in states],
        cancelled=[each[State.CANCELLED] for each in states],
    )


def _keys(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    pairs = list(keys)
    return {
        "colony_ids": [colony_id for colony_id, _ in pairs],
        "process_ids": [process_id for _, process_id in pairs],
    }


def _columns(planned: Sequence[Planned]) -> dict[str, list[object]]:
    specs = [one.spec for one in planned]
    conditions = [spec.conditions for spec in specs]
    return {
        "process_ids": [one.process_id for one in planned],
        "specs": [_json(spec) for spec in specs],
        "runtime_types": [each.runtime_type for each in conditions],
        "runtime_ids": [_json(each.runtime_ids) for each in conditions],
        "cores": [each.cores for each in conditions],
        "mem": [each.mem for each in conditions],
        "gpus": [each.gpus for each in conditions],
        "priorities": [spec.priority for spec in specs],
        "max_wait_times": [spec.max_wait_time for spec in specs],
        "max_exec_times": [spec.max_exec_time for spec in specs],
        "max_retries": [spec.max_retries for spec in specs],
        "leases": [spec.lease or USUAL_LEASE for spec in specs],
        "parents": [_json(one.parents) for one in planned],
        "children": [_json(one.children) for one in planned],
        "missing": [len(one.parents) for one in planned],
    }


def _environment_columns(environment: Sequence[Attribute]) -> dict[str, list[str]]:
    return {
        "env_process_ids": [one.target_id for one in environment],
        "env_ids": [one.attribute_id for one in environment],
        "env_keys": [one.key for one in environment],
        "env_values": [one.value for one in environment],
    }


def _roots(graph: ProcessGraph, planned: Sequence[Planned], root_input: list[str]) -> list[Process]:
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
            )
        )
    return roots


def _json(value: object) -> str:
    return wire.encode(value).decode()
