"""What follows for a graph from what happens to its processes, in the same transaction.

The graph is locked first: whoever holds a process of a graph never waits for that graph. A process
is ready when none of its parents is missing any more; that is a number in its row, and nobody walks
through the graph to find out. Only a failure is followed downwards.

Renewals lock processes and no graph, in the order of their ids. Where the end of one may cancel
others that run, all of them are locked in that order first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress

from colonies.core.errors import Unavailable
from colonies.core.process import Process, State
from colonies.core.runtime import Runtime
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import OnFailure
from colonies.server.db import Database, Statements, Transaction
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


async def close_members(db: Database, asked: Sequence[Ending]) -> list[list[Process]]:
    """End running processes of graphs, with all that follows from it for others of theirs.

    Gives, for each that is of a graph and that runtime's, the process and then those others.
    """
    keys = [(colony_id, one.process_id) for one in asked for colony_id in one.colony_ids]
    async with db.transaction() as tx:
        locked = await lock_graphs_of(tx, keys)
        if not locked:
            return [[] for _ in asked]
        if any(one.state is State.FAILED for one in asked):
            await _lock_running(tx, locked)
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
    return _locked(await tx.fetch_rows("lock_graphs_of_processes", **keys_of(keys)))


async def lock_graphs_of_runtime(tx: Transaction, runtime: Runtime) -> Locked:
    """Lock the graphs in which a runtime that is about to be deleted is stopping something."""
    rows = await tx.fetch_rows(
        "lock_graphs_of_runtime", colony_id=runtime.colony_id, runtime_id=runtime.runtime_id
    )
    return _locked(rows)


async def expire(
    db: Database, endings: Mapping[str, Mapping[str, float]], *, count: int, **patience: float
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
            await _lock_running(tx, locked)
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


async def _lock_running(tx: Transaction, locked: Locked) -> None:
    """Lock what a failure in these graphs would cancel, before anything of them ends."""
    ids = [graph_id for graph_id, on_failure in locked.items() if on_failure is OnFailure.CANCEL]
    if ids:
        await tx.execute("lock_running_members", process_graph_ids=ids)


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
    await count_ended(tx, [*ended, *(one for one in others if one.state.is_final)])
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
    rows = await tx.fetch_rows("release_children", **keys_of(counts), counts=list(counts.values()))
    ready = [
        (colony_id, process_id) for colony_id, process_id, is_waiting in rows if not is_waiting
    ]
    return await tx.fetch_all(Process, "list_processes", **keys_of(ready)) if ready else []


async def count_ended(tx: Transaction, ended: Iterable[Process]) -> None:
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


def keys_of(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Give colonies and ids as the parameters of a statement."""
    pairs = list(keys)
    return {
        "colony_ids": [colony_id for colony_id, _ in pairs],
        "process_ids": [process_id for _, process_id in pairs],
    }
