"""Every change of a process: one statement each, whoever asks for it.

Each function gives the processes as they are after the change; publishing them is the caller's.
"""

from __future__ import annotations

import msgspec

from colonies.core import wire
from colonies.core.attribute import Attribute, AttributeKind, attribute_id
from colonies.core.process import Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.server.db import Statements

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
    db: Statements, runtime: Runtime, *, count: int = 1, latest: bool = False
) -> list[Process]:
    """Assign up to ``count`` waiting processes to a runtime; they are no one else's from then on.

    What the runtime has and whether it is approved is read by the statement itself.
    """
    claimed = await db.fetch_all(
        Process,
        "claim_latest_processes" if latest else "claim_oldest_processes",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        count=count,
    )
    claimed.sort(key=lambda process: process.submission_time, reverse=latest)
    claimed.sort(key=lambda process: process.spec.priority, reverse=True)
    return claimed


class Assignment(msgspec.Struct, frozen=True):
    """A process as its runtime knows it: by id, in one of the colonies that the runtime is in."""

    process_id: str
    runtime_id: str
    colony_ids: list[str]


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


async def expire(db: Statements) -> list[Process]:
    """Act on every deadline that has passed: fail what waited, return or fail what ran too long."""
    expired: list[Process] = []
    for statement in (
        "fail_processes_not_started",
        "return_processes_overrun",
        "fail_processes_overrun",
    ):
        while changed := await db.fetch_all(Process, statement, count=EXPIRY_BATCH):
            expired += changed
    return expired


async def delete_runtime(db: Statements, runtime: Runtime) -> list[Process]:
    """Delete a runtime; gives the processes that returned to the queue by it."""
    return await db.fetch_all(
        Process, "delete_runtime", colony_id=runtime.colony_id, runtime_id=runtime.runtime_id
    )
