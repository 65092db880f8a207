"""The ticker asks one question, and seldom; nothing is late for that."""

import pytest

from colonies.core.process import State
from colonies.server.app import Server
from tests.server.leases import OVER, submit, take

WITHIN = 100.0


@pytest.fixture
def left(db):
    """How long nothing is due, up to ``WITHIN``."""

    async def seconds(grace: float = 1000) -> float:
        return await db.fetch_value("get_seconds_to_deadline", within=WITHIN, grace=grace)

    return seconds


async def test_nothing_is_due_where_nothing_is(left):
    assert await left() == WITHIN


async def test_what_is_due_later_counts_as_nothing(member, left):
    await submit(member, max_wait_time=1000, max_exec_time=1000, lease=1000)
    await take(member)
    await submit(member, max_wait_time=1000)
    assert await left() == WITHIN


@pytest.mark.parametrize("column", ["wait_deadline", "exec_deadline", "leased_until"])
async def test_the_next_deadline_of_every_kind_counts(member, left, sql, column):
    await submit(member, max_exec_time=1000, lease=1000)
    await take(member)
    await submit(member, max_wait_time=1000)
    soon = f"UPDATE processes SET {column} = now() + interval '50 s' WHERE {column} IS NOT NULL"
    assert await sql.execute(soon) == "UPDATE 1"
    assert 0 < await left() <= 50
    assert await sql.execute(f"UPDATE processes SET {column} = {OVER} WHERE state < 2")
    assert await left() <= -1


async def test_the_grace_of_what_was_cancelled_counts(member, left):
    await submit(member)
    running = await take(member)
    await member.cancel_process(running.process_id)
    assert await left(grace=1000) == WITHIN
    assert 0 < await left(grace=50) <= 50
    assert await left(grace=0) <= 0


async def test_what_has_ended_is_due_no_more(member, left, sql):
    await submit(member, max_exec_time=1000, max_wait_time=1000)
    await member.close_successful((await take(member)).process_id)
    columns = ("wait_deadline", "exec_deadline", "leased_until", "cancel_time")
    await sql.execute(f"UPDATE processes SET {', '.join(f'{one} = {OVER}' for one in columns)}")
    assert await left() == WITHIN


async def test_the_database_is_asked_again_only_when_something_could_be_due(
    member, server: Server, sql
):
    process_id = await submit(member, max_wait_time=100)
    assert not await server.ticker._is_anything_due()
    await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
    assert not await server.ticker._is_anything_due()
    server.ticker._quiet_until = 0
    assert await server.ticker._is_anything_due()
    assert await server.ticker._is_anything_due()
    await server.ticker.run_once()
    assert (await member.get_process(process_id)).state is State.FAILED
    assert not await server.ticker._is_anything_due()


@pytest.mark.settings(tick=0.05)
async def test_a_deadline_is_acted_on_by_the_running_ticker(member, sql):
    process_id = await submit(member, max_wait_time=1)
    failed = await member.wait_for(process_id)
    assert failed.state is State.FAILED
    late = failed.end_time - failed.wait_deadline
    assert late.total_seconds() >= 0
