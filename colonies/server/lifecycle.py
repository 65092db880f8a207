"""Every change of a process: one statement each, whoever asks for it.

Each function gives the processes as they are after the change; publishing them is the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from colonies.core import wire
from colonies.core.attribute import Attribute, AttributeKind, attribute_id
from colonies.core.process import USUAL_LEASE, Held, Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.server.db import Database, Statements

EXPIRY_BATCH = 500
"""Rows that one statement of the deadline pass changes; more take further statements."""


class _Times(msgspec.Struct):
    submission_time: wire.Time
    wait_deadline: wire.Time = wire.ZERO_TIME


async def submit(db: Statements, spec: ProcessSpec) -> Process:
    """Put a new process in the queue of its colony."""
    spec = spec.normalised()
    process_id = new_id()
    environment = _environment(process_id, spec)
    conditions = spec.conditions
    (times,) = await db.fetch_all(
        _Times,
        "submit_process",
        colony_id=conditions.colony_id,
        process_id=process_id,
        spec=wire.encode(spec).decode(),
        runtime_type=conditions.runtime_type,
        runtime_ids=conditions.runtime_ids,
        cores=conditions.cores,
        mem=conditions.mem,
        gpus=conditions.gpus,
        priority=spec.priority,
        max_wait_time=spec.max_wait_time,
        max_exec_time=spec.max_exec_time,
        max_retries=spec.max_retries,
        lease=spec.lease or USUAL_LEASE,
        env_ids=[attribute.attribute_id for attribute in environment],
        env_keys=[attribute.key for attribute in environment],
        env_values=[attribute.value for attribute in environment],
    )
    return Process(
        process_id=process_id,
        submission_time=times.submission_time,
        wait_deadline=times.wait_deadline,
        spec=spec,
        attributes=environment,
    )


def _environment(process_id: str, spec: ProcessSpec) -> list[Attribute]:
    return [
        Attribute(
            attribute_id=attribute_id(process_id, key, AttributeKind.ENV),
            target_id=process_id,
            target_colony_id=spec.conditions.colony_id,
            attribute_type=AttributeKind.ENV,
            key=key,
            value=value,
        )
        for key, value in sorted(spec.env.items())
    ]


async def claim(
    db: Statements,
    runtime: Runtime,
    *,
    count: int = 1,
    latest: bool = False,
    is_leased: bool = False,
) -> list[Process]:
    """Assign up to ``count`` waiting processes to a runtime; they are no one else's from then on.

    Each comes with the token of its attempt. Unless ``is_leased`` the lease has no end, for those
    who cannot renew it.

    What the runtime has and whether it is approved is read by the statement itself.
    """
    claimed = await db.fetch_all(
        Process,
        "claim_latest_processes" if latest else "claim_oldest_processes",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        count=count,
        is_leased=is_leased,
    )
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


async def close(
    db: Statements,
    assignment: Assignment,
    state: State,
    *,
    output: list[str],
    errors: list[str],
) -> Process | None:
    """End a running process for the runtime that has it; None when it is not that any more."""
    return await db.fetch_maybe(
        Process,
        "close_process",
        **msgspec.structs.asdict(assignment),
        state=state,
        output=output,
        errors=errors,
    )


async def release(db: Statements, assignment: Assignment) -> Process | None:
    """Put an assigned process back in the queue, if its runtime still has it."""
    return await db.fetch_maybe(Process, "release_process", **msgspec.structs.asdict(assignment))


async def renew(db: Statements, held: Iterable[Assignment]) -> set[str]:
    """Renew the leases of attempts; gives the processes whose attempts are still alive."""
    rows = [(one.colony_ids[0], one.process_id, one.runtime_id, one.attempt_token) for one in held]
    if not rows:
        return set()
    colony_ids, process_ids, runtime_ids, tokens = zip(*rows, strict=True)
    renewed = await db.fetch_rows(
        "renew_processes",
        colony_ids=colony_ids,
        process_ids=process_ids,
        runtime_ids=runtime_ids,
        attempt_tokens=tokens,
    )
    return {process_id for (process_id,) in renewed}


DEADLINES = ("fail_processes_not_started", "return_processes_overrun", "fail_processes_overrun")
LEASES = ("return_processes_lost", "fail_processes_lost")


async def expire(
    db: Statements, *, leases: bool = True
) -> AsyncIterator[tuple[list[Process], bool]]:
    """Act on every deadline and, unless told not to, on every lease that has passed.

    Gives what has changed batch by batch, as each is committed, and whether it was by a lease.
    """
    for statement in (*DEADLINES, *(LEASES if leases else ())):
        while changed := await db.fetch_all(Process, statement, count=EXPIRY_BATCH):
            yield changed, statement in LEASES


async def delete_runtime(db: Database, runtime: Runtime) -> list[Process]:
    """Delete a runtime; gives the processes that returned to the queue by it."""
    who = {"colony_id": runtime.colony_id, "runtime_id": runtime.runtime_id}
    async with db.transaction() as tx:
        await tx.execute("delete_runtime", **who)
        return await tx.fetch_all(Process, "return_processes_of_runtime", **who)
