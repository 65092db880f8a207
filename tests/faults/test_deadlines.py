"""Deadlines are acted on in time beside a million waiting processes."""

import time

import asyncpg
import pytest

from colonies.core.process import State
from tests.faults.world import World, report, world
from tests.faults.yardstick import yardstick

WAITING = 1_000_000
PROMISE = 2.0
"""Seconds after a deadline within which the hub has acted on it."""

CROWD = """
INSERT INTO processes (colony_id, process_id, state, submission_time, wait_deadline, spec,
    runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time,
    max_retries)
SELECT $1, encode(sha256(number::text::bytea), 'hex'), 0, now(), now() + interval '1 day', '{}',
       'nobody', '{}', 0, 0, 0, number % 3, 86400, 0, 0
FROM generate_series(1, $2::integer) AS number
"""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


async def test_deadlines_are_kept_beside_a_million_waiting(tmp_path):
    started = time.monotonic()
    async with world(tmp_path, runtimes=1) as colony, yardstick(tmp_path) as ruler:
        connection = await asyncpg.connect(colony.database_url)
        await connection.execute(CROWD, colony.colony_id, WAITING, timeout=300)
        crowded = time.monotonic()
        spans = [await waited(colony), await overran(colony), await lost(colony, connection)]
        count = await connection.fetchval("SELECT count(*) FROM processes WHERE state = 0")
        await connection.close()
    late = [acted - due for due, acted in spans]
    report(
        f"{count} waiting, made in {crowded - started:.0f} s; acted on maxwaittime, maxexectime "
        f"and a lease after {', '.join(f'{one:.2f}' for one in late)} s"
    )
    assert count >= WAITING
    assert all(acted - due <= ruler.stretched(PROMISE, due, acted) for due, acted in spans)


Span = tuple[float, float]
"""When a deadline was, and when the hub acted on it, by the clock of the database."""


async def waited(colony: World) -> Span:
    async with colony.connect(colony.runtimes[0]) as client:
        submitted = await client.submit("work", runtime_type="none", max_wait_time=1)
        ended = await submitted.wait(timeout=30)
    assert ended.state is State.FAILED
    return ended.wait_deadline.timestamp(), ended.end_time.timestamp()


async def overran(colony: World) -> Span:
    async with colony.connect(colony.runtimes[0]) as client:
        runtime = [colony.runtimes[0].id]
        submitted = await client.submit("work", runtime_ids=runtime, max_exec_time=1)
        assigned = await client.assign_process(timeout=10)
        ended = await submitted.wait(timeout=30)
    assert ended.errors == ["Maximum execution time limit exceeded"]
    return assigned.exec_deadline.timestamp(), ended.end_time.timestamp()


async def lost(colony: World, connection: asyncpg.Connection) -> Span:
    async with colony.connect(colony.runtimes[0]) as client:
        runtime = [colony.runtimes[0].id]
        submitted = await client.submit("work", runtime_ids=runtime, lease=1, max_retries=1)
        await client.assign_process(timeout=10, leased=True)
        waiting = await client.subscribe_process(submitted.id, states=[State.WAITING])
        await anext(waiting)
        await waiting.close()
    row = await connection.fetchrow(
        "SELECT extract(epoch FROM (past -> 0 ->> 'leaseduntil')::timestamptz)::float,"
        " extract(epoch FROM (past -> 0 ->> 'endtime')::timestamptz)::float"
        " FROM processes WHERE process_id = $1",
        submitted.id,
    )
    return tuple(row)
