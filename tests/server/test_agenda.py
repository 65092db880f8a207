"""The leader asks seldom whether anything recurs; nothing is late for that, whoever was told."""

import asyncio

import pytest
from msgspec.structs import replace

from colonies.core.cron import Cron
from colonies.core.generator import Generator
from colonies.server.agenda import ASKED_EVERY, Agenda, Kind
from tests.server.doors import until
from tests.server.hubs import acquainted, reaching
from tests.server.recurring import ONE, come, tick, use


@pytest.fixture
def cron(colony) -> Cron:
    return Cron(colony_id=colony, name="each", cron_expression="@daily", workflow_spec=ONE)


@pytest.fixture
def generator(colony) -> Generator:
    return Generator(colony_id=colony, name="words", workflow_spec=ONE, trigger=2, timeout=60)


@pytest.fixture
def agenda(db) -> Agenda:
    return Agenda(db)


async def left(db) -> tuple[float, ...]:
    """Give how long no cron and no generator comes."""
    return (await db.fetch_rows("get_seconds_to_recurring", within=ASKED_EVERY))[0]


async def test_where_nothing_recurs_or_only_later_nothing_comes(member, cron, generator, db):
    assert await left(db) == (ASKED_EVERY, ASKED_EVERY)
    await member.add_cron(cron)
    packed = await member.add_generator(generator)
    await member.pack_generator(packed.generator_id, "a")
    assert await left(db) == (ASKED_EVERY, ASKED_EVERY)


async def test_what_comes_next_counts(member, cron, generator, db, sql):
    await member.add_cron(cron)
    await come(sql, -0.9 * ASKED_EVERY)
    packed = await member.add_generator(generator)
    for arg in "ab":
        await member.pack_generator(packed.generator_id, arg)
    crons, generators = await left(db)
    assert 0 < crons < ASKED_EVERY
    assert generators <= 0


async def test_the_database_is_asked_again_only_when_something_could_have_come(
    member, agenda, cron, sql
):
    await member.add_cron(cron)
    assert not await agenda.is_due(Kind.CRON)
    await come(sql)
    assert not await agenda.is_due(Kind.CRON)
    agenda.ask_again()
    assert await agenda.is_due(Kind.CRON)
    assert not await agenda.is_due(Kind.GENERATOR)


async def test_what_is_due_is_asked_for_until_it_is_done(member, agenda, cron, server, sql):
    await member.add_cron(cron)
    await come(sql)
    assert await agenda.is_due(Kind.CRON)
    assert await agenda.is_due(Kind.CRON)
    await tick(server)
    assert not await agenda.is_due(Kind.CRON)


async def test_a_change_while_it_asks_is_not_forgotten(agenda, db):
    async with db.transaction() as tx:
        await tx.run_script("LOCK TABLE crons")
        asking = asyncio.ensure_future(agenda.is_due(Kind.CRON))
        await until(agenda._asking.locked)
        agenda.ask_again()
    assert await asking, "the answer may be older than the change"
    assert not await agenda.is_due(Kind.CRON)


async def test_the_agenda_hears_of_what_comes_sooner_and_of_nothing_else(
    *, member, server, cron, generator, sql
):
    def heard() -> bool:
        before, server.agenda._generation = server.agenda._generation, 0
        return before > 0

    assert not heard()
    added = await member.add_cron(cron)
    assert heard()
    await member.run_cron(added.cron_id)
    assert heard()
    generator = await member.add_generator(replace(generator, trigger=3))
    assert not heard(), "it has nothing yet"
    await member.pack_generator(generator.generator_id, "a")
    assert heard(), "from now on its time counts"
    await member.pack_generator(generator.generator_id, "b")
    assert not heard()
    await member.pack_generator(generator.generator_id, "c")
    assert heard(), "these are enough"
    await member.pack_generator(generator.generator_id, "d")
    assert not heard()
    await use(server)
    await member.pack_generator(generator.generator_id, "e")
    assert not heard(), "d was there already"


@pytest.mark.settings(tick=0.05)
async def test_what_was_asked_of_another_hub_comes_at_the_one_that_leads(
    *, server, second, member, people, cron, generator, sql
):
    """The next question is far away; it is asked because the other hub tells of a change."""
    await acquainted(server, second)
    assert server.leader.is_leading
    never = asyncio.get_running_loop().time() + 1000
    async with reaching(second, people.runtime) as there:
        generator = await there.add_generator(generator)
        server.agenda._quiet_until = [never, never]
        await there.add_cron(replace(cron, cron_expression="* * * * * *"))
        await member.assign_process(timeout=60)
        await sql.execute("DELETE FROM crons")
        server.agenda._quiet_until = [never, never]
        for arg in "ab":
            await there.pack_generator(generator.generator_id, arg)
        while (await member.assign_process(timeout=60)).spec.args != ["a", "b"]:
            continue
