"""How many may run at once: never more, at whichever hub, and who was held up has the room."""

import asyncio

import pytest

from colonies.core.errors import NothingToAssign
from colonies.server import moves
from colonies.server.app import Server
from colonies.server.intent import NOBODYS
from colonies.server.running import Limits
from tests.conftest import add_runtime
from tests.server.doors import blocked, idle, refused
from tests.server.hubs import acquainted, reaching
from tests.server.leases import submit, take

RUNNING = "SELECT count(*) FROM processes WHERE state = 1"


def claims(*asked: tuple[str, int]) -> list[moves.Claim]:
    return [moves.Claim(who, count, True, "", NOBODYS) for who, count in asked]


class TestRoom:
    def within(self, limits: Limits, asked, running) -> list[int]:
        return [one.count for one in limits._within(claims(*asked), running)]

    def test_nobody_has_a_second_before_all_had_a_first(self):
        asked = [("a", 5), ("b", 2), ("c", 1)]
        assert self.within(Limits(colony=6), asked, {"z": 1}) == [2, 2, 1]
        assert self.within(Limits(colony=3), asked, {"z": 1}) == [1, 1, 0]

    def test_who_is_over_a_limit_that_was_lowered_has_nothing(self):
        assert self.within(Limits(colony=3), [("a", 1)], {"z": 5}) == [0]
        assert self.within(Limits(runtime=3), [("z", 1), ("a", 1)], {"z": 5}) == [0, 1]

    def test_one_runtime_has_no_more_however_often_it_asks(self):
        asked = [("a", 2), ("a", 2), ("b", 9)]
        assert self.within(Limits(runtime=4), asked, {"a": 1}) == [2, 1, 4]


@pytest.mark.settings(max_running=2)
class TestColony:
    async def test_so_many_run_and_the_rest_waits(self, member, fellow):
        for _ in range(3):
            await submit(member)
        await take(member)
        second = await take(fellow)
        assert isinstance(await refused(take(member)), NothingToAssign)
        await fellow.close_successful(second.process_id)
        await take(member)
        assert isinstance(await refused(take(fellow)), NothingToAssign)

    async def test_another_colony_has_its_own(self, member, foreigner, people):
        for _ in range(2):
            await submit(member)
            await take(member)
        await submit(foreigner, colony_id=people.other_owner.id)
        await foreigner.assign_process(timeout=-1, colony_id=people.other_owner.id)

    async def test_who_is_held_up_has_the_room_at_once(self, server, member, fellow):
        taken = [await submit(member) and await take(member) for _ in range(2)]
        waiting = [await submit(member) for _ in range(2)]
        polls = [asyncio.ensure_future(fellow.assign_process(timeout=60)) for _ in range(2)]
        await idle(server, 2)
        await asyncio.gather(*(member.close_successful(one.process_id) for one in taken))
        assert {one.process_id for one in await asyncio.gather(*polls)} == set(waiting)

    async def test_also_who_is_of_another_type_or_asked_by_its_id(
        self, *, server, client, member, fellow, people
    ):
        await add_runtime(client, people.colony_owner, people.stranger, runtime_type="odd")
        odd = client.acting_as(people.stranger)
        taken = [await submit(member) and await take(member) for _ in range(2)]
        typed = await submit(member, runtime_type="odd")
        addressed = await submit(member, runtime_type="", runtime_ids=[fellow.key.id])
        polls = [asyncio.ensure_future(one.assign_process(timeout=60)) for one in (odd, fellow)]
        await idle(server, 2)
        for one in taken:
            await member.close_successful(one.process_id)
        assert [one.process_id for one in await asyncio.gather(*polls)] == [typed, addressed]

    async def test_what_comes_while_somebody_is_idle_is_counted_too(self, server, member, fellow):
        taken = [await submit(member) and await take(member) for _ in range(2)]
        poll = asyncio.ensure_future(fellow.assign_process(timeout=60))
        await idle(server, 1)
        third = await submit(member)
        assert (await member.get_colony_stats()).running_processes == 2
        await member.close_successful(taken[0].process_id)
        assert (await poll).process_id == third

    async def test_what_was_deleted_makes_room_too(self, server, member, fellow):
        taken = [await submit(member) and await take(member) for _ in range(2)]
        waiting = await submit(member)
        poll = asyncio.ensure_future(fellow.assign_process(timeout=60))
        await idle(server, 1)
        await member.delete_process(taken[0].process_id)
        assert (await poll).process_id == waiting

    async def test_room_at_another_hub_is_told(self, *, server, settings, member, fellow):
        async with Server(settings) as other, reaching(other, fellow.key) as there:
            await acquainted(server, other)
            taken = [await submit(member) and await take(member) for _ in range(2)]
            waiting = await submit(member)
            poll = asyncio.ensure_future(there.assign_process(timeout=60))
            await idle(other, 1)
            await member.close_successful(taken[0].process_id)
            assert (await poll).process_id == waiting

    async def test_a_subscription_has_no_more(self, member, fellow, sql):
        for _ in range(5):
            await submit(member)
        done = []
        async with await fellow.subscribe_assignments(credit=5) as work:
            async for process in work:
                assert await sql.fetchval(RUNNING) <= 2
                done.append(process.process_id)
                if len(done) == 5:
                    break
                await fellow.close_successful(process.process_id)
        assert len(set(done)) == 5

    async def test_why_says_so(self, member):
        for _ in range(3):
            process_id = await submit(member)
        await take(member)
        why = "the colony runs 2 of 2 at most"
        assert why not in (await member.why(process_id)).reasons
        await take(member)
        assert why in (await member.why(process_id)).reasons


@pytest.mark.settings(max_running=1)
async def test_claims_of_two_hubs_at_once_stay_within_it(
    *, server, settings, client, member, fellow, people, sql
):
    """The claims of one hub hold the lock of the colony while those of the other come."""
    await add_runtime(client, people.colony_owner, people.stranger, runtime_type="odd")
    await submit(member), await submit(member, runtime_type="odd")
    async with Server(settings) as other, reaching(other, people.stranger) as there:
        async with sql.transaction():
            await sql.execute("LOCK TABLE processes IN SHARE MODE")
            here = asyncio.ensure_future(take(fellow))
            await blocked(sql, 1)
            elsewhere = asyncio.ensure_future(take(there))
            await blocked(sql, 2)
        results = await asyncio.gather(here, elsewhere, return_exceptions=True)
    assert isinstance(results[1], NothingToAssign)
    assert await sql.fetchval(RUNNING) == 1


@pytest.mark.settings(max_runtime_running=2)
async def test_so_many_run_at_one_runtime(member, fellow):
    for _ in range(4):
        await submit(member)
    first, _ = await take(member), await take(member)
    assert isinstance(await refused(take(member)), NothingToAssign)
    await take(fellow)
    await member.close_successful(first.process_id)
    await take(member)


@pytest.mark.settings(max_running=1)
async def test_who_was_held_up_for_nothing_is_not_woken_again(server, member, fellow):
    one = await submit(member) and await take(member)
    assert isinstance(await refused(take(fellow)), NothingToAssign)
    assert len(server.hub.limits.held_up(member.settings.colony_id)) == 1
    await member.close_successful(one.process_id)
    assert isinstance(await refused(take(fellow)), NothingToAssign)
    assert not server.hub.limits.held_up(member.settings.colony_id)
