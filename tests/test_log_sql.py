"""Statements about logs go by the right index, however much was said."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from colonies.server.primary import USUAL
from tests.plans import beside, changed, explain, filling, indexes, scanned, touched

COLONY = "c" * 64
ME = "1" * 64
TABLES = {"logs", "log_entries", "processes", "attributes"}

FILLING = f"""
INSERT INTO processes (colony_id, process_id, state, submission_time, end_time, spec, runtime_type,
    runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time, max_retries,
    assigned_runtime_id, attempt, attempt_token)
SELECT '{COLONY}', 'p' || n, CASE WHEN n <= 200 THEN 1 ELSE 2 END, now(), now(), '{{}}', '', '{{}}',
    0, 0, 0, 0, 0, 0, 0, '{ME}', 1, 'p' || n
FROM generate_series(1, 20000) n;
INSERT INTO logs (colony_id, process_id, length, attempt, number, ends)
SELECT '{COLONY}', 'p' || n, 500, 1, 5, '{{"stdout": 500}}' FROM generate_series(1, 10000) n;
INSERT INTO log_entries (colony_id, process_id, position, attempt, stream, "offset", size, text,
    time)
SELECT '{COLONY}', 'p' || n, 100 * k, 1, 'stdout', 100 * k, 100, repeat('x', 100),
    now() - CASE WHEN n <= 20 THEN 2 ELSE 0 END * interval '1 day'
FROM generate_series(1, 10000) n, generate_series(0, 4) k;
INSERT INTO log_entries (colony_id, process_id, position, attempt, stream, "offset", size, text,
    time)
SELECT '{COLONY}', 'p1', 500 + 100 * k, 1, 'stdout', 500 + 100 * k, 100, repeat('x', 100), now()
FROM generate_series(0, 19999) k;
UPDATE logs SET length = 2000500 WHERE process_id = 'p1';
"""
"""Ten thousand logs of five texts, of which the first has 20,000 more."""


@pytest.fixture(scope="module")
def full_url(postgres_url) -> str:
    """A database of its own with all that."""

    async def create() -> None:
        async with filling(postgres_url, "logs") as connection:
            await connection.execute(FILLING)

    asyncio.run(create())
    return beside(postgres_url, "logs")


@pytest.fixture
async def full(full_url) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database that plans as those of the hub do."""
    connection = await asyncpg.connect(full_url, server_settings=USUAL)
    yield connection
    await connection.close()


def appends(first: int, *, count: int, most: int) -> dict:
    """Say a line of each of so many processes."""
    ids = [f"p{number}" for number in range(first, first + count)]
    return {
        "colony_ids": [COLONY] * count, "process_ids": ids, "runtime_ids": [ME] * count,
        "attempt_tokens": ids, "numbers": [6] * count, "ends": ['{"stdout": 502}'] * count,
        "progress": [""] * count, "lengths": [2] * count,
        "said_by": ids, "said_in": [COLONY] * count, "remaining": [2] * count,
        "streams": ["stdout"] * count, "offsets": [500] * count, "sizes": [2] * count,
        "texts": ["x\n"] * count, "most": most,
    }  # fmt: skip


@pytest.mark.parametrize("count", [50, 200])
async def test_many_appends_touch_their_own_logs_alone(full, count):
    plan = await explain(full, "add_log_entries", **appends(1, count=count, most=10_000_000))
    assert {"logs_pkey", "log_entries_pkey", "processes_pkey"} <= indexes(plan) | {"logs_pkey"}
    assert TABLES & scanned(plan) == set()
    assert changed(plan, "logs") == count
    assert touched(plan) < count * 15


async def test_what_is_too_long_loses_what_is_over_and_nothing_else_is_read(full):
    plan = await explain(full, "add_log_entries", **appends(1, count=1, most=1_990_000))
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < 500


@pytest.mark.parametrize(
    ("position", "age", "most"),
    [(0, 0.0, 1100), (1_990_000, 0.0, 200), (2**53, 0.0, 20), (0, 3600.0, 1200)],
)
async def test_a_page_is_read_from_where_it_begins(full, position, age, most):
    plan = await explain(
        full,
        "list_log_pages",
        colony_ids=[COLONY],
        process_ids=["p1"],
        positions=[position],
        ages=[age],
        most=100_000,
        count=1000,
    )
    assert "log_entries_pkey" in indexes(plan)
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < 4 * most


async def test_a_hundred_readers_read_their_own(full):
    plan = await explain(
        full,
        "list_log_pages",
        colony_ids=[COLONY] * 100,
        process_ids=[f"p{number}" for number in range(100, 200)],
        positions=[200] * 100,
        ages=[0.0] * 100,
        most=100_000,
        count=1000,
    )
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < 100 * 25


async def test_what_is_old_is_found_by_its_time(full):
    plan = await explain(full, "delete_old_log_entries", age=86_400.0, count=50)
    assert "log_entries_by_time" in indexes(plan)
    assert TABLES & scanned(plan) == set()
    assert changed(plan, "log_entries") == 50
    assert touched(plan) < 1000


async def test_a_process_is_deleted_with_its_own_log(full):
    plan = await explain(full, "delete_process", colony_id=COLONY, process_id="p100")
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < 60


async def test_a_sweep_of_processes_touches_their_logs_alone(full):
    plan = await explain(full, "delete_ended_processes", state=2, age=-60.0, count=100)
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < 10_000
