"""Ticks: each is run once, by whichever hub, and what becomes of those that cannot be."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from colonies.core.cron import Catchup, Cron, graph_id_of
from colonies.core.process import State
from colonies.core.wire import ZERO_TIME
from tests.server.doors import until
from tests.server.recurring import ONE, come, graphs, tick, workflow_text


@pytest.fixture
def new(colony) -> Cron:
    return Cron(colony_id=colony, name="each", cron_expression="@daily", workflow_spec=ONE)


async def finish(member, *, states: tuple[State, ...] = (State.SUCCESS,)) -> None:
    """Run whatever waits, one after the other, each giving its name."""
    for state in states:
        process = await member.assign_process(timeout=-1)
        if state is State.SUCCESS:
            await member.close_successful(process.process_id, [process.spec.name])
        else:
            await member.close_failed(process.process_id, ["no"])


async def test_a_tick_submits_its_workflow_and_the_next_comes_after_now(server, member, new, sql):
    # Not seconds: one may begin between the reading of the clock and the statement.
    cron = await member.add_cron(replace(new, cron_expression="0 0 * * * *"))
    await sql.execute("UPDATE crons SET next_run = now() + interval '1 hour'")
    await tick(server)
    assert await graphs(sql) == []
    await come(sql)
    due = (await member.get_cron(cron.cron_id)).next_run
    await tick(server)
    (graph,) = await graphs(sql)
    assert graph["process_graph_id"] == graph_id_of(cron.cron_id, due)
    assert graph["colony_id"] == new.colony_id
    ran = await member.get_cron(cron.cron_id)
    assert ran.prev_process_graph_id == graph["process_graph_id"]
    assert ran.last_run == graph["submission_time"] < ran.next_run
    assert ran.next_run - ran.last_run <= timedelta(hours=1)


async def test_ticks_of_an_interval_are_even_steps_from_the_first(server, member, new, sql):
    cron = await member.add_cron(replace(new, cron_expression="", interval=100))
    await come(sql, 250.0)
    due = (await member.get_cron(cron.cron_id)).next_run
    await tick(server)
    assert (await member.get_cron(cron.cron_id)).next_run == due + timedelta(seconds=300)


async def test_a_time_at_random_is_drawn_anew_each_time(server, member, new, sql):
    cron = await member.add_cron(replace(new, cron_expression="", interval=1000, random=True))
    waits = set()
    for _ in range(20):
        await come(sql)
        await tick(server)
        ran = await member.get_cron(cron.cron_id)
        waits.add(ran.next_run - ran.last_run)
    assert len(waits) == 20
    assert timedelta() < min(waits) <= max(waits) <= timedelta(seconds=1000)


async def test_two_hubs_that_both_believe_to_lead_run_each_tick_once(
    server, second, member, new, sql
):
    for number in range(20):
        await member.add_cron(replace(new, name=str(number)))
    expected = set()
    for _ in range(5):
        await come(sql)
        due = await sql.fetch("SELECT cron_id, next_run FROM crons")
        expected |= {graph_id_of(*row) for row in due}
        await asyncio.gather(*(tick(hub) for hub in (server, second, server, second)))
    assert len(expected) == 20 * 5
    submitted = [graph["process_graph_id"] for graph in await graphs(sql)]
    assert sorted(submitted) == sorted(expected)


async def test_a_tick_that_was_run_before_is_not_run_again(server, member, new, sql):
    """As when the clock of the database was put back, and somebody ran the cron by hand."""
    cron = await member.add_cron(new)
    await come(sql)
    due = (await member.get_cron(cron.cron_id)).next_run
    await tick(server)
    await sql.execute("UPDATE crons SET next_run = $1", due)
    await tick(server)
    assert len(await graphs(sql)) == 1
    assert (await member.get_cron(cron.cron_id)).next_run > due


class TestMissed:
    async def test_one_is_run_for_all_that_were_missed(self, server, member, new, sql):
        await member.add_cron(new)
        await come(sql, 3600.0)
        await tick(server)
        await tick(server)
        assert len(await graphs(sql)) == 1

    async def test_none_is_run_if_so_it_was_said(self, server, member, new, sql):
        cron = await member.add_cron(replace(new, catchup=Catchup.NONE))
        await come(sql, 3600.0)
        now = await sql.fetchval("SELECT now()")
        await tick(server)
        assert await graphs(sql) == []
        skipped = await member.get_cron(cron.cron_id)
        assert skipped.next_run > now
        assert (skipped.last_run, skipped.prev_process_graph_id) == (cron.last_run, "")

    async def test_a_tick_that_is_a_little_late_is_run_all_the_same(self, server, member, new, sql):
        await member.add_cron(replace(new, catchup=Catchup.NONE))
        await come(sql, 10.0)
        await tick(server)
        assert len(await graphs(sql)) == 1


class TestThePreviousWorkflow:
    @pytest.mark.parametrize("states", [(State.SUCCESS,), (State.FAILED,)])
    async def test_its_end_is_waited_for_if_so_it_was_said(
        self, *, server, member, new, sql, states
    ):
        await member.add_cron(replace(new, wait_for_prev_process_graph=True))
        for _ in range(3):
            await come(sql)
            await tick(server)
        assert len(await graphs(sql)) == 1
        await finish(member, states=states)
        await tick(server)
        assert len(await graphs(sql)) == 2

    async def test_it_is_not_waited_for_otherwise(self, server, member, new, sql):
        await member.add_cron(new)
        for count in (1, 2, 3):
            await come(sql)
            await tick(server)
            assert len(await graphs(sql)) == count

    async def test_one_that_was_deleted_is_not_waited_for(self, server, member, new, sql):
        await member.add_cron(replace(new, wait_for_prev_process_graph=True))
        await come(sql)
        await tick(server)
        await sql.execute("DELETE FROM process_graphs")
        await come(sql)
        await tick(server)
        assert len(await graphs(sql)) == 1

    async def test_those_that_wait_hold_up_nobody(self, server, member, new, sql):
        """More than one look gives, all of them waiting, and one that does not."""
        await member.add_cron(replace(new, wait_for_prev_process_graph=True))
        await come(sql)
        await tick(server)
        await sql.execute(
            """
            INSERT INTO crons SELECT colony_id, number::text, number::text, cron_expression,
                   interval, random, next_run, last_run, workflow_spec, prev_process_graph_id,
                   wait_for_prev_process_graph, catchup FROM crons, generate_series(1, 150) number
            """
        )
        await member.add_cron(replace(new, name="free"))
        await come(sql)
        await tick(server)
        assert len(await graphs(sql)) == 2

    async def test_what_came_out_of_its_leaves_goes_into_the_next(self, server, member, new, sql):
        diamond = workflow_text(root="", left="root", right="root", last="left", alone="")
        await member.add_cron(replace(new, workflow_spec=diamond))
        await come(sql)
        await tick(server)
        await finish(member, states=(State.SUCCESS,) * 5)
        await come(sql)
        await tick(server)
        waiting = [await member.assign_process(timeout=-1) for _ in range(2)]
        # Right has no child, last and alone neither: in the order of the workflow.
        assert {one.spec.name for one in waiting} == {"root", "alone"}
        assert [one.input for one in waiting] == [["right", "last", "alone"]] * 2


@pytest.mark.settings(max_waiting=1)
async def test_while_too_much_waits_in_the_colony_a_tick_waits(server, member, new, sql):
    await member.add_cron(new)
    await member.submit("work", runtime_type="cli")
    await come(sql)
    await tick(server)
    assert await graphs(sql) == []
    await sql.execute("DELETE FROM processes")
    await tick(server)
    assert len(await graphs(sql)) == 1


async def test_what_cannot_be_run_at_all_is_stopped_and_holds_up_nobody(
    server, member, new, sql, log
):
    broken = await member.add_cron(new)
    await member.add_cron(replace(new, name="good"))
    await sql.execute(
        "UPDATE crons SET cron_expression = 'TZ=Gone/Zone @daily' WHERE cron_id = $1",
        broken.cron_id,
    )
    await come(sql)
    for _ in range(2):
        await tick(server)
    assert len(await graphs(sql)) == 1
    (event,) = [one for one in log if one["event"] == "cron stopped"]
    assert "Gone/Zone" in event["error"]
    assert (await member.get_cron(broken.cron_id)).next_run == ZERO_TIME


@pytest.mark.settings(tick=0.05)
async def test_the_leader_runs_what_has_come_and_idle_runtimes_hear_of_it(server, member, new):
    async with await member.subscribe_assignments(credit=1) as pushed:
        await until(lambda: bool(server.hub.lines))
        cron = await member.add_cron(replace(new, cron_expression="* * * * * *"))
        for _ in range(2):
            process = await anext(pushed)
            await member.close_successful(process.process_id, attempt_token=process.attempt_token)
        assert process.process_graph_id
    assert (await member.get_cron(cron.cron_id)).last_run >= process.submission_time - timedelta(
        seconds=1
    )
