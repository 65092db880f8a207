"""The moves that are made for many processes by one statement, and what each takes.

Whoever makes one goes through `lifecycle`, which lets it be made with others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.process import USUAL_LEASE, Conditions, Process, ProcessSpec, State
from colonies.server.db import Statements
from colonies.server.intent import NOBODY, NOBODYS, Intent, Submitter
from colonies.server.queue import FRONT, Bookmarks, Position, Queue


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A process to be: its id, its spec as it is kept, and its environment as attributes."""

    process_id: str
    spec: ProcessSpec
    environment: list[Attribute]


class Submission(msgspec.Struct, frozen=True, gc=False):
    """What one request asks for: at least one process, all of them or none."""

    planned: list[Planned]
    intent: Intent
    submitter: Submitter = NOBODY


class Times(msgspec.Struct, frozen=True, gc=False):
    """When a process was submitted and until when it waits; and if it was assigned at once, how."""

    process_id: str
    submission_time: wire.Time
    wait_deadline: wire.Time = wire.ZERO_TIME
    attempt_token: str = ""
    exec_deadline: wire.Time = wire.ZERO_TIME
    leased_until: wire.Time = wire.ZERO_TIME


class Claim(msgspec.Struct, frozen=True, gc=False):
    """How much one runtime can have, and how it will hold it."""

    runtime_id: str
    count: int
    is_leased: bool
    pushed_over: str
    intent: Intent

    @property
    def is_safe(self) -> bool:
        """Whether nothing is lost if the answer is: it can be asked for again, or times out."""
        return self.is_leased or bool(self.intent.request)


NOBODYS_CLAIM = Claim("", 0, is_leased=False, pushed_over="", intent=NOBODYS)


class Taker(Protocol):
    """Somebody idle, to whom a process to be was promised: it is handed over or withdrawn."""

    terms: Claim

    def hand(self, process: Process) -> None:
        """Take the process, as it was assigned."""

    def withdraw(self) -> None:
        """Take notice that there is none."""


class Takers(Hashable, Protocol):
    """Those who are idle."""

    def promise(self, conditions: Conditions) -> Taker | None:
        """Find somebody who takes a process without looking for it."""


async def submit_all(
    db: Statements, asked: Sequence[Submission], takers: Takers | None
) -> list[list[Process] | None]:
    """Put new processes in their queues; None for a request that was done before.

    What somebody idle can have is assigned to them by the same statement, and handed over.
    """
    planned = [one for submission in asked for one in submission.planned]
    promised: dict[str, Taker] = {}
    try:
        for one in planned:
            if takers is not None and (taker := takers.promise(one.spec.conditions)):
                promised[one.process_id] = taker
        times = {one.process_id: one for one in await _submit(db, asked, promised)}
        submitted = {
            one.process_id: _submitted(
                one, submission.submitter, times[one.process_id], promised.get(one.process_id)
            )
            for submission in asked
            for one in submission.planned
            if one.process_id in times
        }
        for process in submitted.values():
            if process.state is State.RUNNING:
                promised.pop(process.process_id).hand(process)
    finally:
        for taker in promised.values():
            taker.withdraw()
    return [
        [submitted[one.process_id] for one in each.planned]
        if each.planned[0].process_id in submitted
        else None
        for each in asked
    ]


def _submitted(one: Planned, submitter: Submitter, times: Times, taker: Taker | None) -> Process:
    process = Process(
        process_id=one.process_id,
        submission_time=times.submission_time,
        wait_deadline=times.wait_deadline,
        spec=one.spec,
        attributes=one.environment,
        submitted_by=submitter.submitted_by,
    )
    if taker is None or not times.attempt_token:
        return process
    return msgspec.structs.replace(
        process,
        state=State.RUNNING,
        is_assigned=True,
        assigned_runtime_id=taker.terms.runtime_id,
        start_time=times.submission_time,
        exec_deadline=times.exec_deadline,
        attempt=1,
        attempt_token=times.attempt_token,
        leased_until=times.leased_until,
    )


async def _submit(
    db: Statements, asked: Sequence[Submission], promised: Mapping[str, Taker]
) -> list[Times]:
    planned = [one for submission in asked for one in submission.planned]
    environment = [attribute for one in planned for attribute in one.environment]
    return await db.fetch_all(
        Times,
        "submit_assigned_processes" if promised else "submit_processes",
        colony_ids=[one.spec.conditions.colony_id for one in planned],
        process_ids=[one.process_id for one in planned],
        first_ids=[each.planned[0].process_id for each in asked for _ in each.planned],
        submitters=[each.submitter.submitted_by for each in asked for _ in each.planned],
        are_counted=[each.submitter.is_counted for each in asked for _ in each.planned],
        env_colony_ids=[attribute.target_colony_id for attribute in environment],
        **spec_columns([one.spec for one in planned]),
        **environment_columns(environment),
        **_placed(each.intent for each in asked for _ in each.planned),
        **(_terms([promised.get(one.process_id) for one in planned]) if promised else {}),
    )


def spec_columns(specs: Sequence[ProcessSpec]) -> dict[str, list[Any]]:
    """Give what statements decide by, beside the specs as they are kept, as columns."""
    conditions = [spec.conditions for spec in specs]
    return {
        "specs": [_json(spec) for spec in specs],
        "runtime_types": [each.runtime_type for each in conditions],
        "runtime_ids": [_list(each.runtime_ids) for each in conditions],
        "cores": [each.cores for each in conditions],
        "mem": [each.mem for each in conditions],
        "gpus": [each.gpus for each in conditions],
        "priorities": [spec.priority for spec in specs],
        "max_wait_times": [spec.max_wait_time for spec in specs],
        "max_exec_times": [spec.max_exec_time for spec in specs],
        "max_retries": [spec.max_retries for spec in specs],
        "leases": [spec.lease or USUAL_LEASE for spec in specs],
    }


def environment_columns(environment: Sequence[Attribute]) -> dict[str, list[str]]:
    """Give the environment of processes as columns, but for their colonies."""
    return {
        "env_process_ids": [one.target_id for one in environment],
        "env_ids": [one.attribute_id for one in environment],
        "env_keys": [one.key for one in environment],
        "env_values": [one.value for one in environment],
    }


def _terms(takers: Sequence[Taker | None]) -> dict[str, Any]:
    terms = [taker.terms if taker else NOBODYS_CLAIM for taker in takers]
    return {
        "takers": [one.runtime_id for one in terms],
        "are_leased": [one.is_leased for one in terms],
        "pushed_over": [one.pushed_over for one in terms],
        "assign_requests": [one.intent.key for one in terms],
        "assign_digests": [one.intent.digest for one in terms],
    }


async def claim_from(
    db: Statements, asked: Sequence[Claim], queue: Queue, bookmarks: Bookmarks
) -> list[list[Process] | None]:
    """Assign what waits in a queue; None for a runtime that has to ask alone.

    That is one for which something waits by its id.
    """
    if queue.latest:
        placed = await _claim(db, "claim_latest_of_queue", asked, queue)
    else:
        with bookmarks.look(queue) as look:
            placed = await _claim_oldest(db, asked, queue, look.begin)
            if look.begin != FRONT and not any(process.process_id for _, process in placed):
                look.restart()
                placed = await _claim_oldest(db, asked, queue, FRONT)
            look.end_after(process for _, process in placed if process.process_id)
    claimed: list[list[Process] | None] = [[] for _ in asked]
    for place, process in placed:
        mine = claimed[place - 1]
        if process.process_id and mine is not None:
            mine.append(process)
        else:
            claimed[place - 1] = None
    return claimed


async def _claim_oldest(
    db: Statements, asked: Sequence[Claim], queue: Queue, begin: Position
) -> list[tuple[int, Process]]:
    name = "claim_oldest_of_queue"
    return await _claim(db, name, asked, queue, priority=-begin[0], submission_time=begin[1])


async def _claim(
    db: Statements, name: str, asked: Sequence[Claim], queue: Queue, **begin: Any
) -> list[tuple[int, Process]]:
    return await db.fetch_placed(
        Process,
        name,
        colony_id=queue.colony_id,
        runtime_type=queue.runtime_type,
        cores=queue.cores,
        mem=queue.mem,
        gpus=queue.gpus,
        askers=list({one.runtime_id for one in asked}),
        runtime_ids=[one.runtime_id for one in asked],
        counts=[one.count for one in asked],
        are_leased=[one.is_leased for one in asked],
        pushed_over=[one.pushed_over for one in asked],
        **_placed(one.intent for one in asked),
        **begin,
    )


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ends, as its runtime says."""

    process_id: str
    runtime_id: str
    colony_ids: list[str]
    attempt_token: str
    state: State
    output: list[str]
    errors: list[str]
    intent: Intent


async def close_all(
    db: Statements, asked: Sequence[Ending], *, of_graphs: bool = False
) -> list[Process | None]:
    """End running processes; None for one that is not that runtime's, or has ended.

    Either those of no graph, or those ``of_graphs``, which must be locked.
    """
    closed: list[Process | None] = [None] * len(asked)
    for places in apart([one.process_id for one in asked]):
        rows = [(place, colony_id) for place in places for colony_id in asked[place].colony_ids]
        endings = [asked[place] for place, _ in rows]
        placed = await db.fetch_placed(
            Process,
            "close_processes",
            colony_ids=[colony_id for _, colony_id in rows],
            process_ids=[one.process_id for one in endings],
            runtime_ids=[one.runtime_id for one in endings],
            attempt_tokens=[one.attempt_token for one in endings],
            states=[one.state for one in endings],
            outputs=[_list(one.output) for one in endings],
            errors=[_list(one.errors) for one in endings],
            of_graphs=of_graphs,
            **_placed(one.intent for one in endings),
        )
        for row, process in placed:
            closed[rows[row - 1][0]] = process
    return closed


def apart(process_ids: Sequence[str]) -> Iterator[list[int]]:
    """Give the places of changes so that a process is changed once a statement, in one order.

    The first change of it goes first; and statements that change the same rows must not wait for
    each other.
    """
    left = sorted(range(len(process_ids)), key=process_ids.__getitem__)
    while left:
        first = {process_ids[place]: place for place in reversed(left)}
        yield sorted(first.values(), key=process_ids.__getitem__)
        taken = set(first.values())
        left = [place for place in left if place not in taken]


def _placed(intents: Iterable[Intent]) -> dict[str, Iterable[Any]]:
    """Give what is remembered of each item as columns, and its place among them."""
    every = list(intents)
    return {
        "places": range(1, len(every) + 1),
        "requests": [one.key for one in every],
        "digests": [one.digest for one in every],
    }


def _list(texts: list[str]) -> str:
    return _json(texts) if texts else "[]"


def _json(value: object) -> str:
    return wire.encode(value).decode()
