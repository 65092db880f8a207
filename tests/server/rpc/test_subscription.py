"""Subscriptions to changes of processes, on ``/ws``."""

import asyncio

import pytest

from colonies.core.envelope import open_reply
from colonies.core.errors import Conflict, Forbidden, Malformed, NotFound, TimedOut
from colonies.core.process import Process, State
from tests.server.doors import blocked, noticed, refused, talk, until

ALL = [0, 1, 2, 3]
TYPE = "subscribeprocessesmsg"
ONE = "subscribeprocessmsg"


@pytest.fixture
def owner(client, people, colony):
    return client.acting_as(people.colony_owner)


async def submit(member, **options) -> str:
    return (await member.submit("work", **{"runtime_type": "cli"} | options)).id


async def test_every_transition_is_pushed_as_committed(socket, member, server, sql, people):
    await socket.ask(TYPE, {"runtimetype": "cli", "states": ALL}, people.runtime, "all")
    process_id = await submit(member, max_exec_time=60, max_retries=1, env={"A": "B"})

    async def next_state() -> State:
        pushed = await socket.pushed()
        assert pushed == await member.get_process(process_id)
        return pushed.state

    assert await next_state() is State.WAITING
    await member.assign_process(timeout=-1)
    assert await next_state() is State.RUNNING
    await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
    await server.ticker.run_once()
    assert await next_state() is State.WAITING
    await member.assign_process(timeout=-1)
    assert await next_state() is State.RUNNING
    await member.close_successful(process_id, ["done"])
    assert await next_state() is State.SUCCESS


async def test_every_way_to_fail_is_pushed(socket, member, server, sql, people):
    await socket.ask(TYPE, {"runtimetype": "cli", "state": 3}, people.runtime)
    first = await submit(member)
    await member.assign_process(timeout=-1)
    await member.close_failed(first, ["why"])
    second = await submit(member, max_wait_time=60)
    await sql.execute("UPDATE processes SET wait_deadline = now() - interval '1 s'")
    await server.ticker.run_once()
    third = await submit(member, max_exec_time=60)
    await member.assign_process(timeout=-1)
    await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
    await server.ticker.run_once()
    pushed = [await socket.pushed() for _ in range(3)]
    assert [one.process_id for one in pushed] == [first, second, third]
    assert all(one.state is State.FAILED and one.errors for one in pushed)


async def test_what_returns_by_the_end_of_its_runtime_is_pushed(socket, member, owner, people):
    process_id = await submit(member)
    await member.assign_process(timeout=-1)
    await socket.ask(TYPE, {"runtimetype": "cli", "state": 0}, people.colony_owner)
    await owner.delete_runtime(people.runtime.id)
    assert (await socket.pushed()).process_id == process_id


async def test_a_push_names_its_subscription_and_has_no_id(socket, member, people):
    await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, "mine")
    await submit(member)
    push = await socket.push()
    assert (push.payload_type, push.subscription, push.error) == (ONE, "mine", False)


async def test_only_the_wanted_type_and_states_are_pushed(socket, member, people):
    await socket.ask(TYPE, {"runtimetype": "cli", "state": 1}, people.runtime)
    await submit(member, runtime_type="other")
    await submit(member)
    process = await member.assign_process(timeout=-1)
    await member.close_successful(process.process_id)
    pushes = await socket.pushes_so_far(people.runtime)
    assert [open_reply(push, Process).process_id for push in pushes] == [process.process_id]


async def test_nothing_of_another_colony_is_ever_pushed(socket, member, client, people):
    for number, key in enumerate((people.foreigner, people.other_owner)):
        fields = {"runtimetype": "cli", "states": ALL}
        await socket.ask(TYPE, fields, key, f"theirs {number}")
    process_id = await submit(member)
    await member.assign_process(timeout=-1)
    await member.close_successful(process_id)
    assert await socket.pushes_so_far(people.foreigner) == []
    failure = await refused(socket.ask(ONE, {"processid": process_id}, people.foreigner))
    assert isinstance(failure, NotFound)


async def test_one_process_is_pushed_at_once_if_it_is_in_a_wanted_state(socket, member, people):
    process_id = await submit(member)
    await socket.ask(ONE, {"processid": process_id, "state": 0}, people.runtime)
    assert (await socket.pushed()).state is State.WAITING
    await member.assign_process(timeout=-1)
    await member.close_successful(process_id)
    await socket.ask(ONE, {"processid": process_id, "states": [2, 3]}, people.runtime, "late")
    assert (await socket.pushed()).state is State.SUCCESS


async def test_one_process_is_pushed_whatever_type_is_named(socket, member, people):
    process_id = await submit(member)
    fields = {"processid": process_id, "runtimetype": "elsewhere", "state": 1}
    await socket.ask(ONE, fields, people.runtime)
    await submit(member, priority=-1)
    assert (await member.assign_process(timeout=-1)).process_id == process_id
    assert (await socket.pushed()).process_id == process_id
    assert await socket.pushes_so_far(people.runtime) == []


async def test_several_subscriptions_share_a_socket(socket, member, people):
    process_id = await submit(member)
    await socket.ask(TYPE, {"runtimetype": "cli", "state": 1}, people.runtime, "type")
    await socket.ask(ONE, {"processid": process_id, "state": 1}, people.colony_owner, "process")
    await socket.ask(TYPE, {"runtimetype": "cli", "state": 2}, people.runtime, "later")
    await member.assign_process(timeout=-1)
    assert {(await socket.push()).subscription for _ in range(2)} == {"type", "process"}
    await member.close_successful(process_id)
    assert (await socket.push()).subscription == "later"


async def test_who_unsubscribed_hears_no_more(socket, member, people, server):
    for name in ("one", "two"):
        await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, name)
    await socket.ask("unsubscribemsg", {"subscription": "one"}, people.runtime)
    await submit(member)
    pushes = await socket.pushes_so_far(people.runtime)
    assert [push.subscription for push in pushes] == ["two"]
    again = await socket.ask("unsubscribemsg", {"subscription": "one"}, people.runtime)
    assert again == {"ended": False}
    await socket.ask("unsubscribemsg", {"subscription": "two"}, people.runtime)
    assert len(server.hub.listeners) == 0


async def test_nobody_ends_the_subscription_of_another_socket(socket, server, people, colony):
    await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, "mine")
    async with talk(server) as other:
        fields = {"subscription": "mine"}
        assert await other.ask("unsubscribemsg", fields, people.runtime) == {"ended": False}
    assert len(server.hub.listeners) == 1


async def test_an_id_names_one_subscription_of_a_socket(socket, server, people):
    await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, "mine")
    for payload_type in (TYPE, "subscribeassignmentsmsg"):
        fields = {"runtimetype": "x", "colonyid": people.colony_owner.id}
        failure = await refused(socket.ask(payload_type, fields, people.runtime, "mine"))
        assert isinstance(failure, Conflict)
        assert failure.field == "id"
    async with talk(server) as other:
        await other.ask(TYPE, {"runtimetype": "cli"}, people.runtime, "mine")


async def test_without_an_id_there_is_no_subscription(socket, people):
    await socket.send(TYPE, {"runtimetype": "cli"}, people.runtime)
    with pytest.raises(Malformed) as refusal:
        open_reply(await socket.push(), object)
    assert refusal.value.field == "id"


@pytest.mark.settings(max_subscriptions=3)
async def test_a_socket_has_no_more_subscriptions_than_allowed(socket, people):
    for number in range(3):
        await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, f"{number}")
    failure = await refused(socket.ask(TYPE, {}, people.runtime, "more"))
    assert isinstance(failure, Conflict)
    await socket.ask("unsubscribemsg", {"subscription": "1"}, people.runtime)
    await socket.ask(TYPE, {}, people.runtime, "more")


@pytest.mark.parametrize("fields", [{"state": 5}, {"state": -1}, {"states": [0, 9]}, {"states": 1}])
async def test_a_state_that_is_none_is_malformed(socket, people, fields):
    failure = await refused(socket.ask(TYPE, fields, people.runtime))
    assert isinstance(failure, Malformed)
    assert failure.field.startswith("state")


async def test_a_timeout_ends_a_subscription_and_says_so(socket, member, server, people):
    await socket.ask(TYPE, {"runtimetype": "cli", "timeout": 1}, people.runtime, "short")
    await socket.ask(TYPE, {"runtimetype": "cli", "timeout": 0}, people.runtime, "endless")
    push = await socket.push()
    assert push.subscription == "short"
    with pytest.raises(TimedOut):
        open_reply(push, object)
    await submit(member)
    assert (await socket.push()).subscription == "endless"
    again = {"runtimetype": "cli", "timeout": 100}
    await socket.ask(TYPE, again, people.runtime, "short")


@pytest.mark.parametrize("how", ["reject", "delete"])
async def test_shutting_a_runtime_out_ends_its_subscriptions_with_403(
    *, socket, member, owner, people, server, how
):
    process_id = await submit(member)
    await socket.ask(TYPE, {"runtimetype": "cli"}, people.runtime, "type")
    await socket.ask(ONE, {"processid": process_id, "state": 1}, people.runtime, "process")
    await socket.ask(TYPE, {"runtimetype": "cli"}, people.colony_owner, "the owner's")
    await getattr(owner, f"{how}_runtime")(people.runtime.id)
    ended = set()
    for _ in range(2):
        push = await socket.push()
        with pytest.raises(Forbidden):
            open_reply(push, object)
        ended.add(push.subscription)
    assert ended == {"type", "process"}
    assert len(server.hub.listeners) == 1


async def test_the_end_of_a_colony_ends_all_subscriptions_in_it(
    socket, client, people, server, colony
):
    for number, key in enumerate((people.runtime, people.colony_owner)):
        await socket.ask(TYPE, {"runtimetype": "cli"}, key, f"{number}")
    await client.acting_as(people.server_owner).delete_colony(colony)
    await socket.pushes_so_far(people.runtime)
    assert len(server.hub.listeners) == 0


async def test_a_socket_that_goes_leaves_no_subscription(server, member, people, colony):
    async with talk(server) as gone:
        await gone.ask(TYPE, {"runtimetype": "cli", "timeout": 100}, people.runtime)
        await gone.vanish()
    await until(lambda: not server.hub.listeners)


async def test_a_socket_that_goes_while_it_subscribes_leaves_no_subscription(
    server, people, colony, sql
):
    async with talk(server) as gone:
        async with sql.transaction():
            await sql.execute("LOCK TABLE runtimes, colonies IN ACCESS EXCLUSIVE MODE")
            await gone.send(TYPE, {"runtimetype": "cli"}, people.colony_owner, "mine")
            await blocked(sql)
            await gone.vanish()
            await noticed(server)
        await until(lambda: is_closed(server))
    assert len(server.hub.listeners) == 0


def is_closed(server) -> bool:
    """Whether nobody but our own client is left."""
    return b'colonies_connections{door="/ws"} 1.0' in server.metrics.text()


async def test_a_change_between_looking_and_listening_is_not_lost(socket, member, people, sql):
    process_id = await submit(member)
    async with sql.transaction():
        await sql.execute("LOCK TABLE processes IN ACCESS EXCLUSIVE MODE")
        asked = socket.ask(ONE, {"processid": process_id, "states": [1]}, people.runtime)
        subscribing = asyncio.ensure_future(asked)
        await blocked(sql)
        assigning = asyncio.ensure_future(member.assign_process(timeout=-1))
        await blocked(sql, 2)
    await asyncio.gather(subscribing, assigning)
    assert (await socket.pushed()).process_id == process_id
