"""Quotas: what is too much is refused, by a code, before anything is done."""

import asyncio

import pytest

from colonies.core.cron import Cron
from colonies.core.errors import OverQuota
from colonies.core.generator import Generator
from colonies.core.process import Conditions, ProcessSpec, State
from colonies.server import quota
from colonies.server.quota import Quotas, Rate
from tests.server.graphs import started
from tests.server.leases import submit, take
from tests.server.recurring import ONE, come, tick, use
from tests.server.repeats import ask_process, asked


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestRate:
    def test_after_a_pause_so_many_go_at_once_and_the_next_wait(self, clock):
        rate = Rate(8, clock)
        assert [rate.take("a", 1) for _ in range(9)] == [0.0] * 9
        assert rate.take("a", 1) == 0.125
        clock.now += 0.125
        assert rate.take("a", 1) == 0.0
        assert rate.take("a", 1) > 0

    def test_in_the_long_run_it_is_so_many_a_second(self, clock):
        rate = Rate(10, clock)
        taken = 0
        for _ in range(10_000):
            clock.now += 0.001
            taken += rate.take("a", 1) == 0.0
        assert taken == pytest.approx(110, abs=2)

    def test_many_at_once_are_paid_for_afterwards(self, clock):
        rate = Rate(10, clock)
        assert rate.take("a", 1000) == 0.0
        assert rate.take("a", 1) == pytest.approx(99.0)

    def test_each_has_their_own(self, clock):
        rate = Rate(1, clock)
        assert [rate.take(key, 10) for key in "ab"] == [0.0, 0.0]
        assert rate.take("a", 1) > 0

    def test_without_a_limit_nothing_is_remembered(self, clock):
        rate = Rate(0, clock)
        assert [rate.take("a", 10**9) for _ in range(3)] == [0.0] * 3
        assert rate._free_at == {}

    def test_no_more_than_so_many_are_remembered(self, clock, monkeypatch):
        monkeypatch.setattr(quota, "MOST_KNOWN", 3)
        rate = Rate(1, clock)
        for number in range(10):
            rate.take(f"{number}", 1)
            clock.now += 2
            assert len(rate._free_at) <= 3


@pytest.mark.settings(max_submits=0.01)
async def test_an_identity_is_refused_and_its_fellows_are_not(member, fellow):
    await submit(member)
    refusal = "more than 0.01 submits a second by one identity: try again"
    with pytest.raises(OverQuota, match=refusal):
        await submit(member)
    await submit(fellow)
    assert (await member.get_colony_stats()).waiting_processes == 2


@pytest.mark.settings(max_colony_submits=0.01)
async def test_a_colony_is_refused_and_others_are_not(member, fellow, foreigner, people):
    specs = [ProcessSpec(conditions=Conditions(runtime_type="cli"))] * 5
    await member.submit_processes(specs)
    with pytest.raises(OverQuota, match="by one colony"):
        await submit(fellow)
    await submit(foreigner, colony_id=people.other_owner.id)


@pytest.mark.settings(max_submits=1.0)
async def test_what_was_done_is_answered_again_whatever_the_quota(server, colony, people):
    fields = {"spec": {"conditions": {"colonyid": colony, "runtimetype": "cli"}}}
    one = asked("submitprocessespecmsg", fields, people.runtime)
    first = await ask_process(server, one)
    assert [await ask_process(server, one) for _ in range(5)] == [first] * 5


class TestWaiting:
    @pytest.fixture
    def quotas(self, db, settings, clock):
        return Quotas(db, settings, clock)

    async def may_submit(self, quotas: Quotas, colony: str) -> bool:
        try:
            async with quotas.submitting("me", colony, 1):
                return True
        except OverQuota:
            return False

    @pytest.mark.settings(max_waiting=3)
    async def test_so_many_may_wait(self, member):
        for _ in range(3):
            await submit(member)
        with pytest.raises(OverQuota, match="no more than 3 processes waiting"):
            await submit(member)
        assert (await member.get_colony_stats()).waiting_processes == 3

    @pytest.mark.settings(max_waiting=3)
    async def test_room_is_noticed_within_a_second(self, quotas, clock, member, colony):
        for _ in range(3):
            await submit(member)
        assert not await self.may_submit(quotas, colony)
        await take(member)
        assert not await self.may_submit(quotas, colony)
        clock.now += quota.RECOUNT_AT_LIMIT_AFTER
        assert await self.may_submit(quotas, colony)

    @pytest.mark.settings(max_waiting=30)
    async def test_what_others_let_wait_is_counted_after_a_while(
        self, quotas, clock, member, colony
    ):
        assert await self.may_submit(quotas, colony)
        for _ in range(30):
            await submit(member)
        assert await self.may_submit(quotas, colony)
        clock.now += quota.RECOUNT_AFTER
        assert not await self.may_submit(quotas, colony)

    @pytest.mark.settings(max_waiting=5)
    async def test_many_at_once_stay_within_it(self, member):
        await submit(member)
        results = await asyncio.gather(*(submit(member) for _ in range(11)), return_exceptions=True)
        assert sum(isinstance(result, OverQuota) for result in results) == 7
        assert (await member.get_colony_stats()).waiting_processes == 5

    @pytest.mark.settings(max_waiting=4)
    async def test_who_lets_nothing_wait_is_never_refused(self, quotas, member, colony, statements):
        """However many in a second, and counting is not done for each of them."""
        statements.clear()
        for _ in range(40):
            assert await self.may_submit(quotas, colony)
        assert statements.count("get_waiting_count") == 10
        for _ in range(4):
            await submit(member)
        statements.clear()
        while await self.may_submit(quotas, colony):
            continue
        for _ in range(40):
            assert not await self.may_submit(quotas, colony)
        assert statements.count("get_waiting_count") == 1


class TestWaitingOfAnIdentity:
    @pytest.mark.settings(max_identity_waiting=3)
    async def test_so_many_of_theirs_may_wait_and_those_of_fellows_do_not_count(
        self, member, fellow, people, colony
    ):
        for _ in range(3):
            await submit(fellow)
            await submit(member)
        with pytest.raises(OverQuota) as refused:
            await submit(member)
        who = f"identity <{people.runtime.id}> in colony <{colony}>"
        assert refused.value.message == f"{who} may have no more than 3 processes waiting"
        assert (await member.get_colony_stats()).waiting_processes == 6

    @pytest.mark.settings(max_identity_waiting=3)
    async def test_many_together_are_refused_whole(self, member):
        specs = [ProcessSpec(conditions=Conditions(runtime_type="cli"))] * 2
        await member.submit_processes(specs)
        with pytest.raises(OverQuota):
            await member.submit_processes(specs)
        assert (await member.get_colony_stats()).waiting_processes == 2

    @pytest.mark.settings(max_identity_waiting=3)
    async def test_members_of_workflows_and_children_count(self, member):
        graph = await started(member, a="", b="a")
        await graph.take("a")
        await graph.add("a", "c", wait_for_parents=True)
        await graph.add("a", "d")
        with pytest.raises(OverQuota):
            await graph.add("a", "e")
        with pytest.raises(OverQuota):
            await started(member, a="")

    @pytest.mark.settings(max_identity_waiting=2)
    async def test_it_holds_at_every_hub(self, member, there):
        await submit(member)
        await submit(member)
        with pytest.raises(OverQuota):
            await submit(there)

    @pytest.mark.settings(max_identity_waiting=1)
    async def test_what_came_back_to_the_queue_counts(self, member, there):
        process_id = await submit(member)
        await take(member)
        await member.release(process_id)
        with pytest.raises(OverQuota):
            await submit(there)

    @pytest.mark.settings(max_identity_waiting=1)
    async def test_crons_and_generators_wait_with_who_added_them(
        self, server, member, fellow, colony, sql
    ):
        await submit(fellow)
        await member.add_cron(Cron(colony_id=colony, name="c", interval=60, workflow_spec=ONE))
        generator = await member.add_generator(
            Generator(colony_id=colony, name="g", workflow_spec=ONE)
        )
        await fellow.pack_generator(generator.generator_id, "x")
        process_id = await submit(member)
        await come(sql)
        await tick(server)
        await use(server)
        assert await sql.fetchval("SELECT count(*) FROM process_graphs") == 0
        await sql.execute("DELETE FROM processes WHERE process_id = $1", process_id)
        await tick(server)
        await use(server)
        assert await sql.fetchval("SELECT count(*) FROM process_graphs") == 1

    async def test_without_a_limit_nothing_is_counted(self, member, people, sql, statements):
        statements.clear()
        await submit(member)
        assert not {"get_waiting_count", "get_identity_waiting_count"} & set(statements)
        kept = await sql.fetchrow("SELECT submitted_by, is_counted FROM processes")
        assert tuple(kept) == (people.runtime.id, False)


async def test_everybody_is_told_who_submitted(server, member, fellow, sql):
    me, colony = member.key.id, member.settings.colony_id
    alone = await submit(member)
    (together,) = await member.submit_processes(
        [ProcessSpec(conditions=Conditions(runtime_type="cli"))]
    )
    graph = await started(member, a="")
    cron = await member.add_cron(Cron(colony_id=colony, name="c", interval=60, workflow_spec=ONE))
    generator = await member.add_generator(Generator(colony_id=colony, name="g", workflow_spec=ONE))
    assert (cron.added_by, generator.added_by) == (me, me)
    await fellow.pack_generator(generator.generator_id, "x")
    await come(sql)
    await tick(server)
    await use(server)
    by_fellow = await submit(fellow)
    waiting = {one.process_id: one for one in await member.get_processes(State.WAITING)}
    assert len(waiting) == 6
    assert waiting.pop(by_fellow).submitted_by == fellow.key.id
    assert {alone, together, graph.ids["a"]} <= set(waiting)
    assert {one.submitted_by for one in waiting.values()} == {me}
    (submitted,) = await member.get_process_events(alone)
    assert submitted.text == f"by {me}"
    await fellow.run_cron(cron.cron_id)
    waiting_now = await member.get_processes(State.WAITING)
    (more,) = [one for one in waiting_now if one.process_id not in {*waiting, by_fellow}]
    assert more.submitted_by == fellow.key.id
