"""Statements about crons and generators go by the right index, however many there are."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from colonies.core.wire import ZERO_TIME
from colonies.server.primary import USUAL
from tests.plans import beside, explain, filling, indexes, scanned, touched
from tests.test_sql import QUERIES

COLONY = "c" * 64
TABLES = {"crons", "generators", "generator_args", "processes", "process_graphs"}
DUE = 100


FILLING = f"""
INSERT INTO crons (colony_id, cron_id, name, cron_expression, interval, random, next_run,
    workflow_spec, wait_for_prev_process_graph, prev_process_graph_id, catchup)
SELECT '{COLONY}', 'c' || n, 'c' || n, '', 9, false,
       now() + CASE WHEN n <= {DUE} THEN -1 ELSE 1 END * interval '1 hour', '', true, 'g' || n,
       'one'
FROM generate_series(1, 20000) n;
INSERT INTO process_graphs (colony_id, process_graph_id, state, submission_time, roots, on_failure,
    members)
SELECT '{COLONY}', 'g' || n, n % 3, now(), '{{}}', '', 1 FROM generate_series(1, 20000) n;
INSERT INTO generators (colony_id, generator_id, name, workflow_spec, trigger, timeout, due,
    queue_size)
SELECT '{COLONY}', 'g' || n, 'g' || n, '', 1000, 60,
       now() + CASE WHEN n <= {DUE} THEN -1 ELSE 1 END * interval '1 hour', 50000
FROM generate_series(1, 20000) n;
INSERT INTO generator_args (colony_id, generator_id, arg, pack_time)
SELECT '{COLONY}', 'g' || (1 + n % 2), 'a', now() FROM generate_series(1, 50000) n;
INSERT INTO processes (colony_id, process_id, state, submission_time, spec, runtime_type,
    runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time, max_retries,
    process_graph_id)
SELECT '{COLONY}', 'p' || n, 2, now(), '{{}}', '', '{{}}', 0, 0, 0, 0, 0, 0, 0, 'g' || n
FROM generate_series(1, 20000) n;
"""
"""20,000 crons and generators, of which 100 are due, and 50,000 arguments of two generators."""


@pytest.fixture(scope="module")
def full_url(postgres_url) -> str:
    """A database of its own with all that."""

    async def create() -> None:
        async with filling(postgres_url, "recurring") as connection:
            await connection.execute(FILLING)

    asyncio.run(create())
    return beside(postgres_url, "recurring")


@pytest.fixture
async def full(full_url) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database that plans as those of the hub do."""
    connection = await asyncpg.connect(full_url, server_settings=USUAL)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("name", "given", "index", "most"),
    [
        ("list_crons_due", {"next_run": ZERO_TIME, "cron_id": "", "count": 50}, "crons_due", 500),
        ("get_seconds_to_recurring", {"within": 5.0}, "crons_due", 30),
        ("get_seconds_to_recurring", {"within": 5.0}, "generators_due", 30),
        ("lock_cron", {"cron_id": "c7"}, "crons_pkey", 10),
        ("get_cron", {"cron_id": "c7"}, "crons_pkey", 20),
        ("list_crons", {"count": 100}, "crons_name_key", 500),
        ("set_next_run", {"cron_id": "c7", "tick": ZERO_TIME, "next_run": None}, "crons_due", 10),
        (
            "set_cron_run",
            {"cron_id": "c7", "next_run": ZERO_TIME, "last_run": ZERO_TIME,
             "process_graph_id": "g"},
            "crons_pkey", 10,
        ),
        ("list_leaf_outputs", {"process_graph_id": "g7"}, "processes_of_graph", 10),
        (
            "list_generators_due", {"due": ZERO_TIME, "generator_id": "", "count": 50},
            "generators_due", 200,
        ),
        ("lock_generator", {"generator_id": "g7"}, "generators_pkey", 10),
        ("get_generator", {"generator_id": "g7"}, "generators_pkey", 20),
        ("list_generators", {"count": 100}, "generators_name_key", 500),
        (
            "list_generators_named", {"colony_ids": [COLONY], "name": "g7"},
            "generators_name_key", 10,
        ),
        (
            "claim_generator_args", {"generator_id": "g2", "count": 100},
            "generator_args_pkey", 1000,
        ),
        (
            "set_generator_run",
            {"generator_id": "g2", "last_run": ZERO_TIME, "count": 100, "bytes": 0},
            "generator_args_pkey", 20,
        ),
        (
            "add_generator_args",
            {"generator_ids": ["g1", "g2"] * 50, "colony_ids": [COLONY] * 100, "args": ["a"] * 100,
             "requests": [UUID(int=n) for n in range(100)],
             "digests": [UUID(int=0)] * 100, "most_bytes": 9999, "more_bytes": 1},
            "generators_pkey", 4000,
        ),
        ("delete_generator", {"generator_id": "g7"}, "generators_pkey", 10),
        ("delete_cron", {"cron_id": "c7"}, "crons_pkey", 10),
    ],
)  # fmt: skip
async def test_what_is_asked_for_is_found_by_an_index_and_little_else_is_read(
    *, full, name, given, index, most
):
    if "colony_id" in QUERIES[name].parameters:
        given = {"colony_id": COLONY, **given}
    plan = await explain(full, name, **given)
    assert index in indexes(plan)
    assert TABLES & scanned(plan) == set()
    assert touched(plan) < most
