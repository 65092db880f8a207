"""Asking the hub about itself."""

import colonies
from colonies.core.errors import Forbidden
from colonies.core.runtime import Approval
from colonies.server.query import load_queries
from tests.server.doors import refused


async def test_the_version_needs_no_key(client):
    version = await client.version()
    assert version.build_version.startswith(colonies.__version__)


async def test_statistics_count_everything_on_the_hub(client, member, people):
    for _ in range(3):
        await member.submit("work", runtime_type="cli")
    process = await member.assign_process(timeout=-1)
    await member.close_successful(process.process_id)
    await member.close_failed((await member.assign_process(timeout=-1)).process_id)
    statistics = await client.acting_as(people.server_owner).get_statistics()
    assert (statistics.colonies, statistics.runtimes) == (2, 3)
    assert statistics.waiting_processes == 1
    assert statistics.running_processes == 0
    assert statistics.successful_processes == 1
    assert statistics.failed_processes == 1


async def test_the_caller_learns_who_it_is(client, colony, people):
    caller = await client.acting_as(people.pending).get_caller()
    assert caller.id == people.pending.id
    assert not caller.is_server_owner
    (membership,) = caller.memberships
    assert (membership.colony_id, membership.is_owner) == (colony, False)
    assert membership.state is Approval.PENDING


async def test_owners_and_strangers_learn_who_they_are_too(client, colony, people):
    owner = await client.acting_as(people.colony_owner).get_caller()
    assert [(one.colony_id, one.is_owner) for one in owner.memberships] == [(colony, True)]
    assert (await client.acting_as(people.server_owner).get_caller()).is_server_owner
    assert (await client.acting_as(people.stranger).get_caller()).memberships == []


async def test_a_reset_leaves_nothing_and_tells_everybody(client, member, people, sql):
    owner = client.acting_as(people.server_owner)
    await member.submit("work", runtime_type="cli", env={"A": "B"})
    async with await member.subscribe_assignments(credit=1) as work:
        assert (await anext(work)).spec.func == "work"
        await owner.reset_database()
        assert isinstance(await refused(anext(work)), Forbidden)
    assert (await owner.get_statistics()).runtimes == 0
    assert await owner.get_colonies() == []
    assert isinstance(await refused(member.submit("work", runtime_type="cli")), Forbidden)
    assert await sql.fetchval("SELECT count(*) FROM attributes") == 0


async def test_a_reset_is_of_every_table_but_those_of_the_hubs(sql):
    tables = await sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    emptied = load_queries()["delete_everything"].text.removeprefix("TRUNCATE ")
    assert set(emptied.replace("\n", " ").split(", ")) == {row["tablename"] for row in tables} - {
        "hubs",
        "schema_version",
    }
