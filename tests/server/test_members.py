"""Memberships are remembered for a moment, and never longer than they are true here."""

import asyncio

import pytest

from colonies.core.errors import Forbidden
from colonies.core.runtime import Approval
from colonies.server import members as module
from colonies.server.members import Members
from tests.server.doors import blocked


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def members(db, clock) -> Members:
    return Members(db, clock)


async def state(members, key) -> Approval:
    (runtime,) = await members.of(key.id)
    return runtime.state


async def test_they_are_asked_for_once_a_second(members, clock, people, colony, sql):
    assert await state(members, people.runtime) is Approval.APPROVED
    await sql.execute("UPDATE runtimes SET state = 2")
    assert await state(members, people.runtime) is Approval.APPROVED
    clock.now += module.LIFETIME
    assert await state(members, people.runtime) is Approval.REJECTED


async def test_what_somebody_owns_is_asked_for_once_a_second(members, clock, people, colony, sql):
    owned = await members.colony_of(people.colony_owner.id)
    assert owned.colony_id == colony
    assert await members.colony_of(people.runtime.id) is None
    await sql.execute("UPDATE colonies SET name = 'other'")
    assert await members.colony_of(people.colony_owner.id) == owned
    clock.now += module.LIFETIME
    assert (await members.colony_of(people.colony_owner.id)).name == "other"


async def test_who_is_told_that_they_own_nothing_and_then_do_hears_it(client, people):
    stranger = client.acting_as(people.stranger)
    assert (await stranger.get_caller()).memberships == []
    await client.acting_as(people.server_owner).add_colony(people.stranger.id, "mine")
    assert [one.name for one in (await stranger.get_caller()).memberships] == ["mine"]


async def test_what_is_forgotten_is_asked_for_again(members, people, colony, sql):
    await state(members, people.runtime)
    await sql.execute("UPDATE runtimes SET state = 2")
    members.forget()
    assert await state(members, people.runtime) is Approval.REJECTED


async def test_an_answer_overtaken_by_a_change_is_not_remembered(members, people, colony, sql):
    async with sql.transaction():
        await sql.execute("LOCK TABLE runtimes IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.ensure_future(state(members, people.runtime))
        await blocked(sql)
        members.forget()
    await asking
    assert members._remembered == {}


async def test_no_more_than_so_many_are_remembered(members, monkeypatch, people, colony):
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    for number in range(10):
        await members.of(f"{number:064x}")
        assert len(members._remembered) <= 3


@pytest.mark.parametrize("how", ["reject", "delete"])
async def test_shutting_a_runtime_out_takes_effect_with_its_next_call(
    client, member, people, socket, how
):
    await member.submit("work", runtime_type="cli")
    await getattr(client.acting_as(people.colony_owner), f"{how}_runtime")(people.runtime.id)
    with pytest.raises(Forbidden, match=r"not approved|not a member"):
        await member.submit("work", runtime_type="cli")


async def test_letting_a_runtime_in_takes_effect_with_its_next_call(client, people, colony):
    pending = client.acting_as(people.pending)
    with pytest.raises(Forbidden, match="not approved"):
        await pending.submit("work", runtime_type="cli")
    await client.acting_as(people.colony_owner).approve_runtime(people.pending.id)
    await pending.submit("work", runtime_type="cli")
