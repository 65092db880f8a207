"""Colonies."""

import pytest

from colonies.core.colony import Colony
from colonies.core.errors import AlreadyExists, Malformed, NotFound
from colonies.core.identity import PrivateKey
from tests.conftest import add_runtime


@pytest.fixture
def owner(client, people):
    return client.acting_as(people.server_owner)


@pytest.fixture
def foreigner(client, people):
    return client.acting_as(people.foreigner)


async def test_without_any_the_list_is_empty_and_not_null(owner):
    assert await owner.get_colonies() == []


async def test_a_colony_is_added_and_listed_by_name(owner):
    ids = [PrivateKey.generate().id for _ in range(3)]
    for identity, name in zip(ids, "cab", strict=True):
        assert await owner.add_colony(identity, name) == Colony(colony_id=identity, name=name)
    assert [colony.name for colony in await owner.get_colonies()] == ["a", "b", "c"]


async def test_an_id_is_taken_once_and_a_name_as_often_as_one_likes(owner, colony):
    with pytest.raises(AlreadyExists) as refusal:
        await owner.add_colony(colony, "again")
    assert refusal.value.field == "colony.colonyid"
    await owner.add_colony(PrivateKey.generate().id, "ours")


@pytest.mark.parametrize("identity", ["", "0" * 63, "0" * 65, "Z" * 64, "A" * 64, "0" * 64 + "\n"])
async def test_an_id_is_64_lower_case_hex_characters(owner, identity):
    with pytest.raises(Malformed) as refusal:
        await owner.add_colony(identity, "odd")
    assert refusal.value.field == "colony.colonyid"
    assert await owner.get_colonies() == []


async def test_statistics_count_one_colony_only(client, member, colony, people):
    await member.submit("work", runtime_type="cli")
    ours = await member.get_colony_stats()
    assert (ours.colonies, ours.runtimes, ours.waiting_processes) == (1, 2, 1)
    theirs = await client.acting_as(people.other_owner).get_colony_stats(people.other_owner.id)
    assert (theirs.colonies, theirs.runtimes, theirs.waiting_processes) == (1, 1, 0)


async def test_a_colony_goes_with_everything_in_it_and_leaves_others_alone(
    owner, member, foreigner, people, sql
):
    process = await member.submit("work", runtime_type="cli", env={"A": "B"})
    theirs = await foreigner.submit(
        "work", colony_id=people.other_owner.id, runtime_type="cli", env={"A": "B"}
    )
    await owner.delete_colony(process.process.colony_id)
    for table in ("colonies", "runtimes", "processes", "attributes"):
        rows = await sql.fetch(f"SELECT colony_id FROM {table}")
        assert {row["colony_id"] for row in rows} == {people.other_owner.id}, table
    with pytest.raises(NotFound):
        await member.get_process(process.id)
    assert await foreigner.get_process(theirs.id) == theirs.process


async def test_deleting_a_colony_that_is_not_there_is_no_error(owner):
    await owner.delete_colony("f" * 64)


async def test_a_colony_that_comes_back_comes_back_empty(owner, client, member, colony, people):
    await member.submit("work", runtime_type="cli")
    await owner.delete_colony(colony)
    await owner.add_colony(colony, "ours")
    await add_runtime(client, people.colony_owner, people.runtime)
    assert (await member.get_colony_stats()).waiting_processes == 0
    assert [one.runtime_id for one in await member.get_runtimes()] == [people.runtime.id]
