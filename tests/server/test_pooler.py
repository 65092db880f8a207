"""Hubs behind a real PgBouncer in transaction mode: all works but what must go past it."""

import asyncio

import asyncpg
import pytest
from msgspec.structs import replace

from colonies.core.errors import Misconfigured, Unavailable
from colonies.server.app import Server
from colonies.server.db import Database
from tests.pooler import PROGRAM, SIZE, documented, pooler
from tests.server.doors import idle, until
from tests.server.hubs import acquainted

pytestmark = pytest.mark.skipif(not PROGRAM, reason="PgBouncer is not installed")

ELSEWHERE = "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE application_name = 'colonies'"


@pytest.fixture(scope="module")
def pooler_url(database_url, tmp_path_factory):
    async def execute(orders: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(orders)
        await connection.close()

    asyncio.run(execute(documented("sql")))
    with pooler(database_url, tmp_path_factory.mktemp("pooler")) as url:
        yield url
    asyncio.run(execute("ALTER ROLE colonies RESET ALL"))


@pytest.fixture
def settings(settings, pooler_url):
    return replace(settings, database_url=pooler_url, database_direct_url=settings.database_url)


async def work(client, count):
    """Submit, assign and close processes one after the other."""
    for _ in range(count):
        await client.submit("work", runtime_type="cli")
        process = await client.assign_process(timeout=60)
        await client.close_successful(process.process_id, attempt_token=process.attempt_token)


async def test_many_work_through_few_connections(log, server, member, people, sql):
    before = await sql.fetchval(ELSEWHERE)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(work(member, 10))
    assert (await member.get_colony_stats()).successful_processes == 200
    # The fixtures' own, the hub's for listening, and what the pooler shares among all.
    assert await sql.fetchval(ELSEWHERE) <= before + SIZE
    assert "planner settings missing" not in {event["event"] for event in log}


async def test_hubs_hear_of_each_other_and_one_leads(server, second, there, member):
    await acquainted(server, second)
    waiting = asyncio.ensure_future(there.assign_process(timeout=60))
    await idle(second, 1)
    submitted = await member.submit("work", runtime_type="cli")
    assert (await waiting).process_id == submitted.id
    await until(lambda: server.leader.is_leading != second.leader.is_leading)


async def test_settings_that_are_missing_are_named(log, settings, sql, db):
    await sql.execute("ALTER ROLE colonies RESET enable_seqscan")
    plain = replace(settings, database_url=settings.database_direct_url)
    try:
        async with Server(plain):
            pass
    finally:
        await sql.execute("ALTER ROLE colonies SET enable_seqscan = off")
    (complaint,) = [one for one in log if one["event"] == "planner settings missing"]
    assert complaint["error"] == "ALTER ROLE colonies SET enable_seqscan = off;"


async def test_without_a_direct_url_the_refusal_says_what_to_do(pooler_url):
    with pytest.raises(Misconfigured, match="give the one behind it as --database-direct-url"):
        await Database(pooler_url, connections=1).open()


@pytest.mark.parametrize(
    ("url", "refusal", "said"),
    [
        ("nonsense", Misconfigured, "direct database URL: "),
        ("postgresql://me@127.0.0.1:1/x", Unavailable, "cannot be reached"),
    ],
)
async def test_a_direct_url_is_tried_at_once(pooler_url, url, refusal, said):
    with pytest.raises(refusal, match=said):
        await Database(pooler_url, direct_url=url, connections=1).open()


async def test_a_direct_url_alone_is_a_mistake(settings, db):
    with pytest.raises(Misconfigured, match="of no use without --database-url"):
        async with Server(replace(settings, database_url="")):
            pass
