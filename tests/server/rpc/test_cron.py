"""Crons as they are asked for: added, read, run and deleted."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from colonies.core.cron import Catchup, Cron
from colonies.core.errors import AlreadyExists, Forbidden, Malformed, NotFound, OverQuota
from colonies.core.process import State
from colonies.core.wire import ZERO_TIME
from tests.server.doors import until
from tests.server.hubs import acquainted
from tests.server.recurring import ONE, graphs, workflow_text

SIX = "expected six fields (second, minute, hour, day of month, month, day of week), not"
DEPENDENCY = "processspecs[0].conditions.dependencies[0]"


@pytest.fixture
def new(colony) -> Cron:
    return Cron(colony_id=colony, name="nightly", cron_expression="@daily", workflow_spec=ONE)


async def test_a_cron_is_stored_as_sent_with_the_time_of_its_first_tick(member, new, sql):
    now = await sql.fetchval("SELECT now()")
    sent = replace(
        new,
        next_run=datetime(2000, 1, 1, tzinfo=UTC),  # v1 stores what it is sent
        last_run=datetime(2000, 1, 1, tzinfo=UTC),
        prev_process_graph_id="f" * 64,
        wait_for_prev_process_graph=True,
        catchup=Catchup.NONE,
        added_by="f" * 64,
    )
    cron = await member.add_cron(sent)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert len(cron.cron_id) == 64
    assert cron == replace(
        sent,
        cron_id=cron.cron_id,
        next_run=midnight,
        last_run=ZERO_TIME,
        prev_process_graph_id="",
        added_by=member.key.id,
    )
    assert await member.get_cron(cron.cron_id) == replace(cron, checker_period=3_600_000)
    assert await member.get_crons() == [cron]


async def test_crons_are_listed_by_name_and_there_may_be_none(member, new, colony):
    assert await member.get_crons() == []
    for name in ("c", "a", "b"):
        await member.add_cron(replace(new, name=name))
    assert [one.name for one in await member.get_crons()] == ["a", "b", "c"]
    assert [one.name for one in await member.get_crons(count=2)] == ["a", "b"]


async def test_a_name_is_unique_in_the_colony_and_free_to_others(member, foreigner, new, people):
    await member.add_cron(new)
    with pytest.raises(AlreadyExists) as refusal:
        await member.add_cron(new)
    assert refusal.value.field == "cron.name"
    await foreigner.add_cron(replace(new, colony_id=people.other_owner.id))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"name": ""}, "cron.name", "cron.name: expected str of length >= 1"),
        (
            {"cron_expression": "* * * * *"},
            "cron.cronexpression",
            f"cron.cronexpression: {SIX} 5: '* * * * *'",
        ),
        (
            {"cron_expression": "0 0 0 30 FEB *"},
            "cron.cronexpression",
            "cron.cronexpression: expected a time that comes in the next years",
        ),
        (
            {"cron_expression": "", "interval": 0},
            "cron.interval",
            "cron.interval: expected seconds, or -1 for none",
        ),
        (
            {"random": True},
            "cron.random",
            "cron.random: expected an interval with it, not an expression",
        ),
        (
            {"workflow_spec": "nonsense"},
            "cron.workflowspec",
            "cron.workflowspec: expected JSON: JSON is malformed: invalid character (byte 4)",
        ),
        (
            {"workflow_spec": '{"processspecs": []}'},
            "cron.workflowspec",
            "cron.workflowspec: processspecs: expected at least one process",
        ),
        (
            {"workflow_spec": workflow_text(a="b")},
            "cron.workflowspec",
            f"cron.workflowspec: {DEPENDENCY}: 'a' depends on 'b', which is not there",
        ),
        (
            {"workflow_spec": '{"colonyid": "another", "processspecs": [{"name": "a"}]}'},
            "cron.workflowspec",
            "cron.workflowspec: colonyid: expected the colony that it is for",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_and_says_why(
    *, member, new, changes, field, message, sql
):
    with pytest.raises(Malformed) as refusal:
        await member.add_cron(replace(new, **changes))
    assert (refusal.value.field, refusal.value.message) == (field, message)
    assert await sql.fetchval("SELECT count(*) FROM crons") == 0


async def test_a_catch_up_that_is_none_of_ours_is_refused(socket, new, people):
    cron = {"colonyid": new.colony_id, "name": "a", "workflowspec": ONE, "catchup": "all"}
    with pytest.raises(Malformed) as refusal:
        await socket.ask("addcronmsg", {"cron": cron}, people.runtime)
    assert refusal.value.field == "cron.catchup"


async def test_run_submits_at_once_and_counts_the_next_tick_from_then(member, new, sql):
    sent = replace(new, cron_expression="", interval=1000, wait_for_prev_process_graph=True)
    cron = await member.add_cron(sent)
    await sql.execute("UPDATE crons SET next_run = now() - interval '1 hour'")
    now = await sql.fetchval("SELECT now()")
    for count in (1, 2):
        run = await member.run_cron(cron.cron_id)
        *_, graph = await graphs(sql)
        assert (len(await graphs(sql)), graph["process_graph_id"]) == (
            count,
            run.prev_process_graph_id,
        )
        assert run.last_run == graph["submission_time"]
        assert run.next_run - now > timedelta(seconds=998)
    (waiting, _) = await member.get_processes(State.WAITING)
    assert (waiting.spec.args, waiting.colony_id) == (["its own"], new.colony_id)


async def test_what_is_run_is_told_to_whoever_is_idle_here_and_at_other_hubs(
    server, second, member, there, new
):
    await acquainted(server, second)
    cron = await member.add_cron(new)
    for hub in (there, member):
        async with await hub.subscribe_assignments(credit=1) as pushed:
            await until(lambda: bool(server.hub.lines or second.hub.lines))
            run = await member.run_cron(cron.cron_id)
            process = await anext(pushed)
            assert process.process_graph_id == run.prev_process_graph_id
            await hub.close_successful(process.process_id, attempt_token=process.attempt_token)


@pytest.mark.settings(max_submits=0.01)
async def test_quotas_hold_for_who_runs_a_cron(member, new):
    cron = await member.add_cron(new)
    await member.run_cron(cron.cron_id)
    with pytest.raises(OverQuota):
        await member.run_cron(cron.cron_id)


async def test_a_stranger_starts_nothing(client, member, new, people, sql):
    cron = await member.add_cron(new)
    for key, error in ((people.foreigner, NotFound), (people.pending, Forbidden)):
        with pytest.raises(error):
            await client.acting_as(key).run_cron(cron.cron_id)
    assert await graphs(sql) == []


async def test_a_deleted_cron_is_gone_and_what_it_submitted_goes_on(member, new, sql):
    cron = await member.add_cron(new)
    await member.run_cron(cron.cron_id)
    await member.delete_cron(cron.cron_id)
    with pytest.raises(NotFound):
        await member.get_cron(cron.cron_id)
    assert len(await graphs(sql)) == 1


async def test_crons_go_with_their_colony(*, member, foreigner, new, client, people, sql):
    await member.add_cron(new)
    await foreigner.add_cron(replace(new, colony_id=people.other_owner.id))
    await client.acting_as(people.server_owner).delete_colony(new.colony_id)
    left = await sql.fetchval("SELECT array_agg(colony_id) FROM crons")
    assert left == [people.other_owner.id]
