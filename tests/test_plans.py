"""How statements in ``sql/`` are run among very many rows: by which index, touching how many."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from colonies.core.wire import LAST_TIME, ZERO_TIME
from colonies.server.primary import USUAL
from colonies.server.queue import FRONT
from tests.plans import beside, changed, explain, filling, indexes, scanned, touched
from tests.test_sql import ALONE, CLAIMS, QUERIES

COLONY, TYPE = "c" * 64, "cli"
ME = "1" * 64
ROWS = 50_000


@pytest.fixture(scope="module")
def crowded_url(postgres_url) -> str:
    """A database of its own with 50,000 processes that wait, 1,000 that run, 9,000 that ended."""

    async def create() -> None:
        async with filling(postgres_url, "crowded") as connection:
            await connection.execute(
                """
                INSERT INTO runtimes (colony_id, runtime_id, runtime_type, name, cpu, cores, mem,
                                      gpu, gpus, state, commission_time, location)
                VALUES ($1, $2, 'cli', 'me', '', 8, 8, '', 0, 1, now(), '{}')
                """,
                COLONY,
                ME,
            )
            await connection.execute(
                """
                INSERT INTO processes (colony_id, process_id, state, submission_time, end_time,
                    spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
                    max_exec_time, max_retries, wait_deadline, assigned_runtime_id)
                SELECT $1, 'p' || number, CASE WHEN number <= $2 THEN 0 ELSE 2 END,
                       now() + number * interval '1 ms', CASE WHEN number > $2 THEN now() END,
                       '{}', 'cli', '{}', 0, 0, 0, number % 3, 0, 0, 0, now() + interval '1 day',
                       CASE WHEN number > $2 THEN $3 ELSE '' END
                FROM generate_series(1, $2 + 10000) AS number
                """,
                COLONY,
                ROWS,
                ME,
            )
            await connection.execute(
                """
                UPDATE processes SET state = 1, end_time = NULL, start_time = now(),
                       exec_deadline = now() + interval '1 day', attempt_token = process_id,
                       leased_until = now() + interval '1 hour'
                WHERE state = 2 AND process_id LIKE '%0'
                """
            )

    asyncio.run(create())
    return beside(postgres_url, "crowded")


@pytest.fixture
async def crowd(crowded_url) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database that plans as those of the hub do."""
    connection = await asyncpg.connect(crowded_url, server_settings=USUAL)
    yield connection
    await connection.close()


def a_claim(name: str, count: int) -> dict:
    """Give the parameters of a claim by one runtime, but for where it begins."""
    if name in ALONE:
        return {"colony_id": COLONY, "runtime_id": ME, "count": count, "is_leased": True,
                "pushed_over": "s"}  # fmt: skip
    figures = {"runtime_type": TYPE, "cores": 8, "mem": 8, "gpus": 0}
    asked = {"askers": [ME], "runtime_ids": [ME], "counts": [count], "are_leased": [True],
             "pushed_over": ["s"]}  # fmt: skip
    return {"colony_id": COLONY} | figures | asked


@pytest.mark.parametrize("begin", [FRONT, (-1, datetime.now(UTC))])
@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("count", [1, 100])
async def test_a_claim_goes_by_the_partial_index_and_touches_few_rows(crowd, name, count, begin):
    claim = a_claim(name, count)
    if "priority" in QUERIES[name].parameters:
        claim |= {"priority": -begin[0], "submission_time": begin[1]}
    plan = await explain(crowd, name, **claim)
    assert "processes_claimable" in indexes(plan)
    assert "processes_waiting" not in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 30 * (count + 5)


@pytest.mark.parametrize("name", ["claim_oldest_of_queue", "claim_latest_of_queue"])
async def test_a_claim_goes_so_although_nothing_waited_when_statistics_were_made(crowd, name):
    """The planner then takes every index of what waits for an empty one."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute("UPDATE processes SET state = 2, lost_by = '{x}' WHERE state = 0")
    await crowd.execute("ANALYZE processes")
    await crowd.execute("UPDATE processes SET state = 0 WHERE lost_by <> '{}'")
    claim = a_claim(name, 1)
    if "priority" in QUERIES[name].parameters:
        claim |= {"priority": 0, "submission_time": datetime.now(UTC)}
    plan = await explain(crowd, name, **claim)
    await transaction.rollback()
    assert "processes_waiting" not in indexes(plan)
    assert touched(plan) < 200


@pytest.mark.parametrize("name", ["claim_latest_processes", "claim_latest_of_queue"])
async def test_the_latest_are_found_among_many_priorities(crowd, name):
    """Each of 50,000 has its own: no more of them are looked at than are taken."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute("UPDATE processes SET priority = substr(process_id, 2)::integer")
    plan = await explain(crowd, name, **a_claim(name, 10))
    await transaction.rollback()
    assert changed(plan, "processes") == 10
    assert "processes" not in scanned(plan)
    assert touched(plan) < 500


async def test_old_requests_are_read_some_pages_at_a_time(crowd):
    plan = await explain(crowd, "delete_old_requests", first_page=64, end_page=128, age=3600.0)
    assert [node["Node Type"] for node in plan] == ["ModifyTable", "Tid Range Scan"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("get_process", {"process_id": "p77", "caller": ME}),
        (
            "close_processes",
            {"colony_ids": [COLONY], "process_ids": ["p50010"], "runtime_ids": [ME],
             "attempt_tokens": ["p50010"], "states": [2], "outputs": ["[]"], "errors": ["[]"],
             "of_graphs": False},
        ),
        ("release_process", {"process_id": "p77", "runtime_id": ME, "attempt_token": "p77"}),
        ("get_attempt_token", {"process_id": "p77"}),
        ("get_assigned_process", {"process_id": "p77", "runtime_id": ME, "attempt": 1}),
        ("list_past_attempts", {"process_id": "p77"}),
        ("cancel_process", {"process_id": "p77", "cancelled_by": ME, "cancel_reason": "no"}),
        (
            "add_attribute",
            {"process_id": "p77", "runtime_id": ME, "attempt_token": "", "attribute_id": "a",
             "attribute_type": 1, "key": "k", "value": "v"},
        ),
        ("lock_process", {"process_id": "p77"}),
        ("delete_process", {"process_id": "p77"}),
    ],
)  # fmt: skip
async def test_one_process_is_found_by_the_primary_key(crowd, name, given):
    colony = {"colony_id": COLONY, "colony_ids": [COLONY]}
    given |= {key: value for key, value in colony.items() if key in QUERIES[name].parameters}
    plan = await explain(crowd, name, **given)
    assert "processes_pkey" in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 20


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("fail_processes_not_started", "processes_wait_deadline"),
        ("return_processes_overrun", "processes_exec_deadline"),
        ("fail_processes_overrun", "processes_exec_deadline"),
        ("return_processes_lost", "processes_leased_until"),
        ("fail_processes_lost", "processes_leased_until"),
        ("cancel_processes_not_stopped", "processes_cancelling"),
    ],
)
async def test_the_expiry_pass_goes_by_its_partial_index_and_touches_few_rows(crowd, name, index):
    patience = {"grace": 30.0, "up_for": 1e9, "process_graph_ids": [""]}
    given = {key: patience[key] for key in patience if key in QUERIES[name].parameters}
    plan = await explain(crowd, name, count=500, **given)
    assert index in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 20


async def test_orphans_are_looked_for_a_colony_at_a_time(crowd):
    """The one colony of 60,000 processes is none in this database."""
    await crowd.execute("INSERT INTO colonies VALUES ($1, 'crowd')", COLONY)
    try:
        plan = await explain(crowd, "delete_orphans")
    finally:
        await crowd.execute("DELETE FROM colonies")
    assert scanned(plan) <= {"colonies"}
    assert touched(plan) < 50


@pytest.mark.parametrize("name", ["delete_colony", "delete_orphans", "delete_everything"])
async def test_a_colony_goes_with_every_table_that_is_part_of_it(crowd, name):
    tables = await crowd.fetch(
        "SELECT table_name FROM information_schema.columns "
        "WHERE column_name = 'colony_id' AND table_schema = 'public'"
    )
    for table in {row["table_name"] for row in tables} - {"colonies"}:
        change = rf"(DELETE FROM|TRUNCATE [\w\s,]*)\s{table}\b"
        assert re.search(change, QUERIES[name].text)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("list_announcements", {"colony_ids": [COLONY]}),
        ("list_functions", {"colony_id": COLONY, "runtime_id": "", "name": "", "count": 1000}),
        ("list_functions", {"colony_id": COLONY, "runtime_id": ME, "name": "f1", "count": 1000}),
    ],
)
async def test_functions_are_those_of_the_colony_and_no_other_is_looked_at(crowd, name, given):
    """Twenty of ours among 20,000 of other colonies."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute(
        "INSERT INTO functions SELECT $1, $2, 'f' || number, '', '[]'::jsonb "
        "FROM generate_series(1, 20) AS number UNION ALL "
        "SELECT lpad(number::text, 64, '0'), $2, 'f', '', '[]'::jsonb "
        "FROM generate_series(1, 20000) AS number",
        COLONY,
        ME,
    )
    plan = await explain(crowd, name, **given)
    await transaction.rollback()
    assert "functions_pkey" in indexes(plan)
    assert {"functions", "runtimes"} & scanned(plan) == set()
    assert touched(plan) < 200


async def test_what_waits_of_an_identity_is_counted_by_an_index_of_what_is_counted(crowd):
    """3,000 of mine among 50,000, of which those of fellows are counted as well."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute(
        "UPDATE processes SET is_counted = true, submitted_by = "
        "CASE WHEN process_id < 'p13' THEN $1 ELSE 'other' END WHERE process_id LIKE 'p1%'",
        ME,
    )
    plan = await explain(
        crowd, "get_identity_waiting_count", colony_id=COLONY, submitted_by=ME, most=1000
    )
    await transaction.rollback()
    assert indexes(plan) == {"processes_of_identity"}
    assert touched(plan) < 3500


async def test_what_runs_is_counted_by_the_partial_index(crowd):
    plan = await explain(crowd, "list_running_counts", colony_id=COLONY)
    assert indexes(plan) == {"processes_running"}
    assert "processes" not in scanned(plan)


@pytest.mark.parametrize("name", ["list_processes", "list_progress", "list_living_attempts"])
async def test_what_another_hub_told_of_is_looked_up_by_the_primary_key(crowd, name):
    """Every tenth process runs, the rest has ended or waits; all of these run."""
    ids = [f"p{number}" for number in range(50_010, 51_010, 10)]
    columns = {
        "colony_ids": [COLONY] * 100,
        "process_ids": ids,
        "runtime_ids": [ME] * 100,
        "attempt_tokens": ids,
    }
    given = {key: columns[key] for key in QUERIES[name].parameters}
    plan = await explain(crowd, name, **given)
    assert plan[0]["Actual Rows"] == 100
    assert "processes_pkey" in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 500


@pytest.fixture
async def graph(crowd) -> AsyncIterator[str]:
    """A workflow of 1,000 within the crowd: a chain of 500, the rest children of its first."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute(
        "INSERT INTO process_graphs (colony_id, process_graph_id, submission_time, roots, "
        "on_failure, members) VALUES ($1, 'g', now(), '{p1}', 'continue', 1000)",
        COLONY,
    )
    await crowd.execute(
        """
        UPDATE processes SET process_graph_id = 'g', wait_for_parents = number > 1,
               missing_parents = CASE WHEN number > 1 THEN 1 ELSE 0 END,
               parents = CASE WHEN number = 1 THEN '{}'
                         ELSE ARRAY['p' || CASE WHEN number <= 500 THEN number - 1 ELSE 1 END] END,
               children = CASE WHEN number = 1 THEN (SELECT array_agg('p' || child)
                                                     FROM generate_series(501, 1000) AS child)
                               ELSE '{}' END || CASE WHEN number < 500
                                                THEN ARRAY['p' || number + 1] ELSE '{}' END
        FROM generate_series(1, 1000) AS number WHERE process_id = 'p' || number
        """
    )
    yield "g"
    await transaction.rollback()


@pytest.mark.parametrize(
    ("name", "given", "most"),
    [
        ("lock_graphs_of_processes", {"colony_ids": [COLONY] * 2, "process_ids": ["p5", "p6"]}, 20),
        ("lock_due_graphs", {"count": 500, "grace": 30.0, "up_for": 1e9}, 20),
        ("lock_graphs_of_runtime", {"colony_id": COLONY, "runtime_id": ME}, 1100),
        (
            "set_graphs_started",
            {"process_graph_ids": ["g"], "start_times": [None]},
            10,
        ),
        (
            "set_graph_progress",
            {"process_graph_ids": ["g"], "start_times": [None],
             "successful": [1], "failed": [0], "cancelled": [0]},
            10,
        ),
        (
            "release_children",
            {"colony_ids": [COLONY], "process_ids": ["p2"], "counts": [1]},
            20,
        ),
        (
            "close_descendants",
            {"colony_ids": [COLONY], "child_ids": ["p2"], "parent_ids": ["p1"], "state": 3,
             "ended": "failed"},
            40 * 500,
        ),
        (
            "cancel_members",
            {"process_graph_ids": ["g"], "cancelled_by": ["me"],
             "reasons": [""]},
            20 * 1000,
        ),
        ("lock_running_members", {"process_graph_ids": ["g"]}, 5 * 1000),
        ("lock_members", {"process_graph_id": "g"}, 5 * 1000),
        ("lock_members_of_colony", {"colony_id": COLONY}, 7 * 1000),
        ("lock_processes_of_runtime", {"colony_id": COLONY, "runtime_id": ME}, 5 * 1000),
        ("get_process_graph", {"process_graph_id": "g", "caller": ME}, 20),
        ("list_members", {"process_graph_id": "g"}, 4000),
        (
            "list_process_graphs",
            {"colony_id": COLONY, "state": 0, "count": 9, "most_ids": 9,
             "from_time": LAST_TIME, "skip": 0},
            50,
        ),
        (
            "list_process_graphs_beginning",
            {"colony_id": COLONY, "beginning": "abcd", "count": 9},
            50,
        ),
    ],
)  # fmt: skip
async def test_of_a_crowd_a_graph_sees_its_own(crowd, graph, name, given, most):
    plan = await explain(crowd, name, **given)
    assert {"processes", "process_graphs"} & scanned(plan) == set()
    assert touched(plan) < most


@pytest.mark.parametrize("name", ["return_processes_lost", "fail_processes_lost"])
async def test_the_lease_pass_reads_what_it_changes_and_nothing_else(crowd, name):
    """Three leases have passed among a thousand that have not."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute(
        "UPDATE processes SET leased_until = now() - interval '1 s', max_retries = $1 "
        "WHERE process_id = ANY ($2)",
        -1 if name.startswith("return") else 0,
        ["p50010", "p50020", "p50030"],
    )
    of_none = {"process_graph_ids": [""]} if name.startswith("fail") else {}
    plan = await explain(crowd, name, count=500, up_for=1e9, **of_none)
    await transaction.rollback()
    assert plan[0]["Actual Rows"] == 3
    assert "processes_leased_until" in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 50


@pytest.mark.parametrize(("state", "there"), [(2, 100), (3, 0), (4, 0)])
async def test_the_sweep_reads_what_it_deletes_and_little_else(crowd, state, there):
    """A hundred have ended long ago among 9,000 that have not; more colonies than one are there."""
    transaction = crowd.transaction()
    await transaction.start()
    await crowd.execute(
        "INSERT INTO colonies SELECT lpad(number::text, 64, '0'), '' "
        "FROM generate_series(1, 100) AS number UNION ALL SELECT $1, ''",
        COLONY,
    )
    await crowd.execute(
        "UPDATE processes SET end_time = now() - interval '2 days' "
        "WHERE state = 2 AND process_id LIKE '%77'"
    )
    plan = await explain(crowd, "delete_ended_processes", state=state, age=86_400.0, count=2000)
    await transaction.rollback()
    assert plan[0]["Actual Rows"] == 1
    assert "processes_ended" in indexes(plan)
    assert {"processes", "attributes"} & scanned(plan) == set()
    assert changed(plan, "processes") == there
    assert touched(plan) < 250 + 20 * there


async def test_leases_are_renewed_by_the_primary_key(crowd):
    ids = [f"p{number}" for number in range(50_010, 51_010, 10)]
    held = {
        "colony_ids": [COLONY] * 100,
        "process_ids": ids,
        "runtime_ids": [ME] * 100,
        "attempt_tokens": ids,
        "ages": [0.0] * 100,
    }
    plan = await explain(crowd, "renew_processes", **held)
    assert plan[0]["Actual Rows"] == 100
    assert "processes_pkey" in indexes(plan)
    assert "processes" not in scanned(plan)
    assert touched(plan) < 1000  # found, locked, sorted and found again


@pytest.mark.parametrize(
    ("name", "first", "page"),
    [
        ("list_waiting_processes", ZERO_TIME, "submission_time"),
        ("list_running_processes", ZERO_TIME, "start_time"),
        ("list_successful_processes", LAST_TIME, "end_time"),
    ],
)
async def test_a_list_touches_no_more_rows_than_it_gives(crowd, name, first, page):
    middle = await crowd.fetchval(
        f"""SELECT {page} FROM processes
        WHERE colony_id = $1 AND {page} IS NOT NULL ORDER BY {page} OFFSET 1500 LIMIT 1""",
        COLONY,
    )
    for time in (first, middle or first):
        plan = await explain(crowd, name, colony_id=COLONY, count=100, from_time=time, skip=9)
        assert "processes" not in scanned(plan)
        assert touched(plan) < 1000


async def test_what_begins_so_is_found_by_its_key(crowd):
    plan = await explain(
        crowd, "list_processes_beginning", colony_id=COLONY, beginning="abcd", count=100
    )
    assert "processes_pkey" in indexes(plan)
    assert touched(plan) < 1000


async def test_the_search_for_lost_wake_ups_touches_few_rows(crowd):
    queues = {"colony_ids": [COLONY, "d" * 64], "runtime_types": [TYPE, "other"]}
    plan = await explain(crowd, "list_claimable", **queues, runtime_ids=[ME], count=100)
    assert touched(plan) < 1000
    assert "processes" not in scanned(plan)
