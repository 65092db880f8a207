"""Every change of a process: one statement each, whoever asks for it.

What is asked most often is done together with what else is asked meanwhile (`moves`). Each function
gives the processes as they are after the change; publishing them is the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import chain, repeat

import msgspec

from colonies.core.identity import sha3
from colonies.core.process import (
    AttemptEnd,
    Held,
    Process,
    ProcessSpec,
    State,
    environment_of,
    new_id,
)
from colonies.core.runtime import Runtime
from colonies.server import graph
from colonies.server.db import Database, Statements
from colonies.server.intent import NOBODY, NOBODYS, Intent, Seen, Submitter
from colonies.server.moves import (
    Claim,
    Ending,
    Planned,
    Submission,
    Takers,
    close_all,
    submit_all,
)
from colonies.server.outages import seen_before
from colonies.server.queue import Bookmarks, Queue
from colonies.server.running import UNLIMITED, Limits, claim_alone, claim_within

EXPIRY_BATCH = 500
"""Rows that one statement of the deadline pass changes; more take further statements."""

FORGET_PAGES = 64
"""Pages of the table that one statement looks at for old requests: some 5,000 of them."""


async def submit(
    db: Statements,
    spec: ProcessSpec,
    intent: Intent,
    takers: Takers | None = None,
    *,
    submitter: Submitter = NOBODY,
) -> Process:
    """Put a new process in the queue of its colony, or give it to somebody idle at once."""
    (process,) = await submit_many(db, [spec], new_id(), intent, takers, submitter=submitter)
    return process


async def submit_many(
    db: Statements,
    specs: Sequence[ProcessSpec],
    first_id: str,
    intent: Intent,
    takers: Takers | None = None,
    *,
    submitter: Submitter = NOBODY,
) -> list[Process]:
    """Put new processes in the queue of their colony: all of them, or none.

    The ids of all follow from the first, see `ids_from`. Those that are running already were handed
    to their runtimes, who publish them.
    """
    planned = [
        Planned(process_id, spec, environment_of(process_id, spec))
        for process_id, spec in zip(
            ids_from(first_id, len(specs)), (spec.normalised() for spec in specs), strict=True
        )
    ]
    submission = Submission(planned, intent, submitter)
    submitted = await db.batched(submit_all, submission, takers, rows=len(planned))
    if submitted is None:
        raise seen_before()
    return submitted


def ids_from(first_id: str, count: int) -> list[str]:
    """Give the ids of processes that were submitted together, of which the first is remembered."""
    return [first_id, *(sha3(f"{first_id}:{number}") for number in range(1, count))]


async def claim(
    db: Database,
    runtime: Runtime,
    bookmarks: Bookmarks,
    *,
    limits: Limits = UNLIMITED,
    count: int = 1,
    latest: bool = False,
    is_leased: bool = False,
    pushed_over: str = "",
    intent: Intent = NOBODYS,
) -> list[Process]:
    """Assign up to ``count`` waiting processes to a runtime; they are no one else's from then on.

    Each comes with the token of its attempt. Unless ``is_leased`` the lease has no end, for those
    who cannot renew it. ``pushed_over`` is the request of the subscription that it is for. Where
    the ``limits`` leave no room, there is nothing to have.

    What the runtime has and whether it is approved is read by the statement itself.
    """
    queue = Queue(
        runtime.colony_id,
        runtime.runtime_type,
        max(runtime.cores, 0),
        max(runtime.mem, 0),
        max(runtime.gpus, 0),
        latest,
    )
    asked = Claim(runtime.runtime_id, count, is_leased, pushed_over, intent)
    claimed = await db.batched(claim_within, asked, queue, bookmarks, limits, rows=count)
    if claimed is None:
        claimed = await claim_alone(db, asked, queue, limits)
    await graph.note_started(db, claimed)
    claimed.sort(key=lambda process: process.submission_time, reverse=latest)
    claimed.sort(key=lambda process: process.spec.priority, reverse=True)
    return claimed


class Assignment(msgspec.Struct, frozen=True):
    """An attempt as its runtime knows it, in one of the colonies that the runtime is in.

    v1 clients know no token: theirs is whatever attempt of theirs is running.
    """

    process_id: str
    runtime_id: str
    colony_ids: list[str]
    attempt_token: str = ""

    @classmethod
    def of(cls, process: Process) -> Assignment:
        """Give the attempt that a process was just assigned for."""
        return cls(
            process.process_id,
            process.assigned_runtime_id,
            [process.colony_id],
            process.attempt_token,
        )

    @classmethod
    def holding(cls, held: Held, runtime: Runtime) -> Assignment:
        """Give the attempt that a runtime says it is making."""
        return cls(held.process_id, runtime.runtime_id, [runtime.colony_id], held.attempt_token)


async def get_assigned(db: Statements, seen: Seen, runtime: Runtime) -> Process | None:
    """Give what a request was assigned before, token and all, if that attempt lives."""
    return await db.fetch_maybe(
        Process,
        "get_assigned_process",
        colony_id=runtime.colony_id,
        process_id=seen.process_id,
        runtime_id=runtime.runtime_id,
        attempt=seen.attempt,
    )


async def forget_assigned(db: Statements, seen: Seen, intent: Intent) -> None:
    """Forget what a request was assigned, so that it can be assigned something else."""
    await db.execute(
        "delete_request",
        request=intent.key,
        process_id=seen.process_id,
        attempt=seen.attempt,
    )


async def close(
    db: Statements,
    assignment: Assignment,
    state: State,
    *,
    output: list[str],
    errors: list[str],
    intent: Intent,
) -> list[Process]:
    """End a running process for the runtime that has it; nothing when it is not that any more.

    What has changed with it, as others of its workflow wait for it, comes after it. Whoever stops
    because the process was cancelled says so by failing: it is then cancelled.
    """
    ending = Ending(
        **msgspec.structs.asdict(assignment),
        state=state,
        output=output,
        errors=errors,
        intent=intent,
    )
    if closed := await db.batched(close_all, ending):
        return [closed]
    return await db.batched(graph.close_members, ending)


async def close_many(
    db: Database, ends: Iterable[tuple[Assignment, AttemptEnd]]
) -> list[list[Process] | BaseException]:
    """End many running processes, each for itself: gives what `close` gives, or what went wrong.

    That each is done once, its attempt sees to.
    """
    endings = [
        Ending(
            assignment.process_id,
            assignment.runtime_id,
            assignment.colony_ids,
            assignment.attempt_token,
            state=end.state,
            output=end.output,
            errors=end.errors,
            intent=NOBODYS,
        )
        for assignment, end in ends
    ]
    results: list[list[Process] | BaseException] = [
        one if isinstance(one, BaseException) else [one] if one else []
        for one in await db.batched_all(close_all, endings)
    ]
    if left := [place for place, one in enumerate(results) if one == []]:
        of_graphs = await db.batched_all(graph.close_members, [endings[place] for place in left])
        for place, one in zip(left, of_graphs, strict=True):
            results[place] = one
    return results


async def release(
    db: Statements, assignment: Assignment, intent: Intent = NOBODYS
) -> list[Process]:
    """Put an assigned process back in the queue, if its runtime still has it.

    One that was cancelled meanwhile has come to its end by it; what follows from that comes after.
    """
    returned = await db.fetch_maybe(
        Process, "release_process", **msgspec.structs.asdict(assignment), **intent.parameters
    )
    if returned:
        return [returned]
    reasons = ["cancelled, and released by its runtime"]
    return await close(db, assignment, State.FAILED, output=[], errors=reasons, intent=intent)


async def release_unheard(
    db: Statements, runtime: Runtime, *, pushed_over: str, held: Iterable[str]
) -> list[Process]:
    """Return to the queue what was pushed over a subscription, but for what its runtime holds."""
    return await db.fetch_all(
        Process,
        "release_processes_unheard",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        pushed_over=pushed_over,
        held=list(held),
    )


async def renew(
    db: Statements, held: Iterable[Assignment], *, ages: Iterable[float] = ()
) -> dict[str, bool]:
    """Renew the leases of attempts; gives the processes whose attempts are still alive.

    Each with whether it was cancelled, and is to be stopped. ``ages`` says of each how many seconds
    ago its runtime was heard from, if not just now: its lease counts from there.
    """
    rows = [
        (one.colony_ids[0], one.process_id, one.runtime_id, one.attempt_token, age)
        for one, age in zip(held, chain(ages, repeat(0.0)), strict=False)
    ]
    if not rows:
        return {}
    colony_ids, process_ids, runtime_ids, tokens, seconds = zip(*rows, strict=True)
    renewed: list[tuple[str, bool]] = await db.fetch_rows(
        "renew_processes",
        colony_ids=colony_ids,
        process_ids=process_ids,
        runtime_ids=runtime_ids,
        attempt_tokens=tokens,
        ages=seconds,
    )
    return dict(renewed)


async def cancel(
    db: Database, process: Process, *, by: str, reason: str, intent: Intent
) -> list[Process]:
    """Cancel a process that waits, or have it stopped if it runs; nothing when it has ended.

    Also nothing when it was cancelled before. What has changed with it comes after it.
    """
    asked = {
        "colony_id": process.colony_id,
        "process_id": process.process_id,
        "cancelled_by": by,
        "cancel_reason": reason,
        **intent.parameters,
    }
    if not process.process_graph_id:
        return await db.fetch_all(Process, "cancel_process", **asked)
    async with db.transaction() as tx:
        locked = await graph.lock_graphs_of(tx, [(process.colony_id, process.process_id)])
        cancelled = await tx.fetch_all(Process, "cancel_process", **asked)
        ended = [one for one in cancelled if one.state.is_final]
        return cancelled + await graph.settle(tx, ended, locked)


PASSES = {
    "cancel_processes_not_stopped": ["grace"],
    "fail_processes_not_started": [],
    "return_processes_overrun": [],
    "fail_processes_overrun": [],
    "return_processes_lost": ["up_for"],
    "fail_processes_lost": ["up_for"],
}
"""What acts on times that are over, in order, each with what it has to know."""

LEASES = ("return_processes_lost", "fail_processes_lost")
FOR_EVER = 1e9


async def expire(
    db: Database, *, grace: float, up_for: float = FOR_EVER
) -> AsyncIterator[tuple[list[Process], bool]]:
    """Act on every deadline and every lease that has passed.

    Whoever was told to stop has ``grace`` seconds for it. ``up_for`` is for how many seconds leases
    could be renewed without a break: those that are longer are left alone.

    Gives what has changed batch by batch, as each is committed, and whether it was by a lease.
    """
    patience = {"grace": grace, "up_for": up_for}
    passes = {name: {key: patience[key] for key in keys} for name, keys in PASSES.items()}
    for name, given in passes.items():
        of_none = {"process_graph_ids": [""]} if name in graph.ENDINGS else {}
        while changed := await db.fetch_all(Process, name, count=EXPIRY_BATCH, **given, **of_none):
            yield changed, name in LEASES
    ends = {name: passes[name] for name in graph.ENDINGS}
    async for batch in graph.expire(db, ends, count=EXPIRY_BATCH, **patience):
        for name, changed in batch.items():
            yield changed, name in LEASES


async def forget_requests(db: Statements, *, age: float) -> None:
    """Forget requests from more than ``age`` seconds ago, by reading all that are remembered."""
    pages = await db.fetch_value("get_request_pages")
    for first in range(0, pages, FORGET_PAGES):
        await db.execute(
            "delete_old_requests", first_page=first, end_page=first + FORGET_PAGES, age=age
        )


async def delete(db: Database, process: Process, intent: Intent) -> None:
    """Delete a process that is of no graph, with all that belongs to it."""
    key = {"colony_id": process.colony_id, "process_id": process.process_id}
    async with db.transaction() as tx:
        await tx.execute("lock_process", **key)
        await tx.execute("delete_process", **key, **intent.parameters)


async def delete_runtime(db: Database, runtime: Runtime, intent: Intent) -> list[Process]:
    """Delete a runtime; gives the processes that returned to the queue or ended by it."""
    who = {"colony_id": runtime.colony_id, "runtime_id": runtime.runtime_id}
    async with db.transaction() as tx:
        locked = await graph.lock_graphs_of_runtime(tx, runtime)
        await tx.execute("delete_runtime", **who, **intent.parameters)
        await tx.execute("lock_processes_of_runtime", **who)
        returned = await tx.fetch_all(Process, "return_processes_of_runtime", **who)
        cancelled = await tx.fetch_all(Process, "cancel_processes_of_runtime", **who)
        members = [one for one in cancelled if one.process_graph_id]
        return [*returned, *cancelled, *await graph.settle(tx, members, locked)]
