"""Assignments pushed on credit: never more at once, and none lost with a socket."""

import asyncio

import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.core.envelope import open_reply
from colonies.core.errors import Malformed, Unavailable
from colonies.core.process import Held, Process, State
from colonies.server import lifecycle
from tests.conftest import held
from tests.server.doors import LONG, Talk, blocked, idle, noticed, refused, talk, until
from tests.server.hubs import narrow, narrow_socket
from tests.server.leases import submit

SECONDS = 20

LARGE = (100_000, 100_000, 300_000, 1)
"""Characters of processes of which only two go into one push."""


async def test_what_waits_and_what_comes_is_assigned_and_pushed(socket, subscribe, member, people):
    before = await submit(member, env={"A": "B"})
    await subscribe(socket, 5)
    after = await submit(member)
    for process_id in (before, after):
        push = await socket.push()
        assert (push.payload_type, push.subscription) == ("subscribeassignmentsmsg", "work")
        assert push.error is False
        process = await member.get_process(process_id)
        assert process.state is State.RUNNING
        assert process.assigned_runtime_id == people.runtime.id


async def lists(socket: Talk, count: int) -> list[list[Process]]:
    """Give so many pushes to somebody who takes processes together."""
    return [open_reply(await socket.push(), list[Process]) for _ in range(count)]


async def test_who_takes_them_together_is_pushed_lists(socket, subscribe, member):
    ids = [await submit(member) for _ in range(3)]
    await subscribe(socket, 5, together=True)
    last = await submit(member)
    first, second = await lists(socket, 2)
    assert [[one.process_id for one in some] for some in (first, second)] == [ids, [last]]
    assert replace(second[0], attempt_token="") == await member.get_process(last)
    await member.cancel_process(last)
    ((told,),) = await lists(socket, 1)
    assert (told.process_id, told.is_cancelling) == (last, True)


async def test_what_is_large_together_takes_several_pushes(socket, subscribe, member):
    ids = [(await member.submit("f", "x" * size, runtime_type="cli")).id for size in LARGE]
    await subscribe(socket, 5, together=True)
    pushed = await lists(socket, 3)
    assert [[one.process_id for one in some] for some in pushed] == [ids[:2], ids[2:3], ids[3:]]


async def test_the_pushed_process_is_as_committed(socket, subscribe, member):
    await subscribe(socket, 1)
    process_id = await submit(member, env={"A": "B"}, max_exec_time=60)
    pushed = await socket.pushed()
    assert replace(pushed, attempt_token="") == await member.get_process(process_id)


async def test_no_more_is_pushed_than_the_credit_and_a_close_gives_it_back(
    socket, subscribe, member, people
):
    ids = [await submit(member) for _ in range(5)]
    await subscribe(socket, 2)
    assert [(await socket.pushed()).process_id for _ in range(2)] == ids[:2]
    assert await socket.pushes_so_far(people.runtime) == []
    await member.close_successful(ids[1])
    assert (await socket.pushed()).process_id == ids[2]
    await member.close_failed(ids[0])
    assert (await socket.pushed()).process_id == ids[3]
    assert await socket.pushes_so_far(people.runtime) == []
    assert (await member.get_colony_stats()).waiting_processes == 1


async def test_a_credit_can_be_changed_while_it_is_subscribed(member):
    """More of it brings more at once; less of it takes nothing away."""
    credit = [1]
    ids = [await submit(member) for _ in range(4)]
    async with await member.subscribe_assignments(credit=lambda: credit[0]) as work:
        assert (await anext(work)).process_id == ids[0]
        credit[0] = 3
        await work.ask_again()
        assert [(await anext(work)).process_id for _ in range(2)] == ids[1:3]
        credit[0] = 2
        await work.ask_again()
        await member.close_successful(ids[0])
        assert (await member.get_process(ids[3])).state is State.WAITING
        await member.close_successful(ids[1])
        assert (await anext(work)).process_id == ids[3]


async def test_another_life_gets_back_what_was_pushed_and_it_never_heard_of(member, client, people):
    """By the request of the first one's subscription, which it has kept."""
    process_id = await submit(member)
    options = {"credit": 1, "request": "1" * 32, "holding": list}
    async with connect(client.settings, key=people.runtime) as first:
        assert (await anext(await first.subscribe_assignments(**options))).attempt == 1
    async with await member.subscribe_assignments(**options) as work:
        again = await anext(work)
        assert (again.process_id, again.attempt, again.retries) == (process_id, 2, 0)


@pytest.mark.parametrize("how", ["delete", "delete all", "overrun", "failed overrun", "release"])
async def test_however_a_process_leaves_its_credit_comes_back(
    *, socket, subscribe, member, owner, server, sql, how
):
    retries = 0 if how == "failed overrun" else -1
    first = await submit(member, max_exec_time=60, max_retries=retries, priority=1)
    await subscribe(socket, 1)
    assert (await socket.pushed()).process_id == first
    match how:
        case "delete":
            await member.delete_process(first)
        case "delete all":
            await owner.delete_all_processes()
        case "release":
            await member.release(first)
        case _:
            await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
            await server.ticker.run_once()
    second = await submit(member, priority=2)
    assert (await socket.pushed()).process_id in {first, second}


async def test_what_is_held_already_counts_and_what_is_lost_does_not(
    socket, subscribe, member, people
):
    await submit(member)
    mine = held(await member.assign_process(timeout=-1))
    waiting = await submit(member)
    await subscribe(socket, 1, holding=[mine, replace(mine, process_id="f" * 64)])
    assert await socket.pushes_so_far(people.runtime) == []
    await member.close_successful(mine.process_id)
    assert (await socket.pushed()).process_id == waiting


async def test_what_ends_while_it_is_brought_along_gives_its_credit_back(member, monkeypatch):
    await submit(member)
    brought = held(await member.assign_process(timeout=-1, leased=True))
    release = lifecycle.release_unheard

    async def late(*args, **kwargs):
        await member.close_successful(brought.process_id, attempt_token=brought.attempt_token)
        return await release(*args, **kwargs)

    monkeypatch.setattr(lifecycle, "release_unheard", late)
    async with await member.subscribe_assignments(credit=1, holding=lambda: [brought]) as work:
        process_id = await submit(member)
        async with asyncio.timeout(LONG):
            assert (await anext(work)).process_id == process_id


async def test_who_holds_more_than_the_credit_gets_nothing_until_below(
    socket, subscribe, member, people
):
    for _ in range(3):
        await submit(member)
    mine = [held(await member.assign_process(timeout=-1)) for _ in range(3)]
    waiting = await submit(member)
    await subscribe(socket, 2, holding=mine)
    await member.close_successful(mine[0].process_id)
    assert await socket.pushes_so_far(people.runtime) == []
    await member.close_successful(mine[1].process_id)
    assert (await socket.pushed()).process_id == waiting


async def test_who_unsubscribed_gets_no_more(socket, subscribe, member, people, server):
    await subscribe(socket, 5)
    await idle(server, 1)
    await socket.ask("unsubscribemsg", {"subscription": "work"}, people.runtime)
    process_id = await submit(member)
    assert await socket.pushes_so_far(people.runtime) == []
    assert (await member.assign_process(timeout=60)).process_id == process_id
    await subscribe(socket, 5)
    again = await submit(member)
    assert (await socket.pushed()).process_id == again


async def test_a_connection_that_is_lost_takes_nothing_more(server, subscribe, member, fellow):
    async with talk(server) as gone:
        await subscribe(gone, 5)
        await idle(server, 1)
        await gone.vanish()
    await until(lambda: not server.hub.lines)
    process_id = await submit(member)
    assert (await fellow.assign_process(timeout=-1)).process_id == process_id
    assert len(server.hub.holders) == 0


async def test_a_connection_lost_during_the_claim_gives_the_process_back(
    server, subscribe, member, fellow, sql
):
    process_id = await submit(member)
    async with talk(server) as gone:
        async with sql.transaction():
            await sql.execute("LOCK TABLE processes IN EXCLUSIVE MODE")
            await subscribe(gone, 5)
            await blocked(sql)
            await gone.vanish()
            await noticed(server)
        taken = await fellow.assign_process(timeout=SECONDS)
    assert taken.process_id == process_id


@pytest.mark.settings(max_pushed_messages=8)
@pytest.mark.parametrize("together", [False, True])
async def test_who_is_cut_off_keeps_no_process_that_was_never_sent(
    *, settings, subscribe, member, log, together
):
    """Processes of 0.9 MB, of which kernels take few."""
    spec = (await member.submit("work", "x" * 700_000, runtime_type="cli")).process.spec
    for _ in range(15):
        await member.submit_process_spec(spec)
    async with narrow(settings) as hub, talk(hub, sock=narrow_socket(hub)) as slow:
        await subscribe(slow, 16, together=together)
        slow.websocket.transport.pause_reading()
        await until(lambda: any(one["event"] == "slow reader cut off" for one in log))
        await until(lambda: not hub.hub.lines)
        await slow.vanish()
    running = [one.process_id for one in await member.get_processes(State.RUNNING, count=40)]
    assert len(running) < 6


async def test_two_connections_of_one_runtime_have_a_credit_each(
    server, socket, subscribe, member, people
):
    async with talk(server) as other:
        await subscribe(socket, 1)
        await subscribe(other, 1)
        ids = [await submit(member) for _ in range(3)]
        got = [(await one.pushed()).process_id for one in (socket, other)]
        assert sorted(got) == sorted(ids[:2])
        await member.close_successful(got[1])
        assert (await other.pushed()).process_id == ids[2]
        assert await socket.pushes_so_far(people.runtime) == []


@pytest.mark.parametrize("how", ["reject", "delete"])
async def test_shutting_the_runtime_out_ends_it_with_403(
    *, server, socket, subscribe, owner, people, how
):
    await subscribe(socket, 1)
    await idle(server, 1)
    await getattr(owner, f"{how}_runtime")(people.runtime.id)
    push = await socket.push()
    assert (push.payload_type, push.error, push.subscription) == ("error", True, "work")
    assert len(server.hub.lines) == 0


async def test_a_runtime_shut_out_with_no_credit_left_is_told_too(
    socket, subscribe, owner, people, member
):
    await submit(member)
    await subscribe(socket, 1)
    await socket.pushed()
    await owner.reject_runtime(people.runtime.id)
    assert (await socket.push()).error


@pytest.mark.parametrize("credit", [0, -1, 10_001, 2**40, "1", 1.5])
async def test_a_credit_that_means_nothing_is_malformed(socket, subscribe, credit):
    failure = await refused(subscribe(socket, credit))
    assert isinstance(failure, Malformed)
    assert failure.field == "credit"


@pytest.mark.parametrize("heartbeat", [-1, 86401, 1e300, "1"])
async def test_a_heartbeat_that_means_nothing_is_malformed(socket, subscribe, heartbeat):
    failure = await refused(subscribe(socket, 1, heartbeat=heartbeat))
    assert isinstance(failure, Malformed)
    assert failure.field == "heartbeat"


async def test_who_promised_a_heartbeat_and_is_silent_is_cut_off(server, subscribe, log):
    async with talk(server) as silent:
        await subscribe(silent, 1, heartbeat=0.05)
        assert await silent.closed() == 1008
    assert "silent connection closed" in [one["event"] for one in log]
    await until(lambda: not server.hub.lines)


async def test_a_subscription_that_failed_in_the_database_can_be_made_again(
    socket, subscribe, sql, member
):
    async with sql.transaction():
        await sql.execute("LOCK TABLE processes IN ACCESS EXCLUSIVE MODE")
        holding = [Held(process_id="f" * 64)]
        making = asyncio.ensure_future(refused(subscribe(socket, 1, holding=holding)))
        for backend in await blocked(sql):
            await sql.execute("SELECT pg_terminate_backend($1)", backend)
        assert isinstance(await making, Unavailable)
    await subscribe(socket, 1)
    process_id = await submit(member)
    assert (await socket.pushed()).process_id == process_id
