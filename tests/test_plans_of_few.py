"""How statements are planned while there is little: the plan is kept when there is much."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from colonies.server.primary import USUAL
from tests.plans import beside, filling, nodes
from tests.test_sql import QUERIES

ROWS = 20
"""Fewer are never counted: PostgreSQL makes statistics after fifty changes."""

NOT_EXPLAINED = ("lock_everything", "delete_everything")


@pytest.fixture(scope="module")
def quiet_url(postgres_url) -> str:
    """A database of its own with some processes in each state."""

    async def create() -> None:
        async with filling(postgres_url, "quiet") as connection:
            await connection.execute(
                """
                INSERT INTO processes (colony_id, process_id, state, submission_time, end_time,
                    spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
                    max_exec_time, max_retries, wait_deadline, assigned_runtime_id, leased_until)
                SELECT 'c', 'p' || number, number % 3, now(),
                       CASE WHEN number % 3 = 2 THEN now() END,
                       '{}', 'cli', '{}', 0, 0, 0, 0, 0, 0, 0, now() + interval '1 day',
                       CASE WHEN number % 3 > 0 THEN 'r' ELSE '' END, now() + interval '1 hour'
                FROM generate_series(1, $1) AS number
                """,
                ROWS,
            )

    asyncio.run(create())
    return beside(postgres_url, "quiet")


@pytest.fixture
async def quiet(quiet_url) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database that plans as those of the hub do."""
    connection = await asyncpg.connect(quiet_url, server_settings=USUAL, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", sorted(set(QUERIES) - set(NOT_EXPLAINED)))
async def test_no_statement_reads_all_processes_to_find_some(quiet, name):
    query = QUERIES[name]
    await quiet.execute(f"PREPARE it AS {query.text}")
    nothing = ", ".join(["NULL"] * len(query.parameters))
    given = f"({nothing})" if nothing else ""
    (plan,) = json.loads(await quiet.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE it{given}"))
    read = {
        node["Index Name"]
        for node in nodes(plan["Plan"])
        if "Index Name" in node and "Index Cond" not in node
    }
    assert "processes_pkey" not in read
