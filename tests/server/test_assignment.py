"""Work given out: the long poll, and assignments pushed on credit."""

import asyncio
import socket as sockets

import pytest
from msgspec.structs import replace

from colonies.core.envelope import seal
from colonies.core.errors import Forbidden, Malformed, NothingToAssign, Unavailable
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, Held, ProcessSpec, State
from colonies.server import lifecycle
from colonies.server.app import Server, listen
from colonies.server.intent import NOBODYS
from tests.conftest import add_runtime, held
from tests.server.doors import blocked, idle, in_line, noticed, refused, send, talk, until

SECONDS = 20


@pytest.fixture
async def fellow(client, people, colony):
    """Another approved runtime of our colony."""
    key = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, key)
    return client.acting_as(key)


@pytest.fixture
def owner(client, people, colony):
    return client.acting_as(people.colony_owner)


async def submit(member, **options) -> str:
    return (await member.submit("work", **{"runtime_type": "cli"} | options)).id


def poll(member, seconds: int = SECONDS) -> asyncio.Task:
    return asyncio.ensure_future(member.assign_process(timeout=seconds))


class TestLongPoll:
    async def test_it_is_woken_by_a_submit_it_can_have(self, server, member):
        waiting = poll(member)
        await idle(server, 1)
        process_id = await submit(member)
        assert (await waiting).process_id == process_id

    async def test_it_is_woken_by_what_is_addressed_to_it(self, server, member, people):
        waiting = poll(member)
        await idle(server, 1)
        process_id = await submit(member, runtime_type="", runtime_ids=[people.runtime.id])
        assert (await waiting).process_id == process_id

    @pytest.mark.parametrize(
        "conditions",
        [
            {"runtime_type": "other"},
            {"runtime_ids": ["f" * 64]},
            {"runtime_ids": ["f" * 64], "runtime_type": ""},
            {"cores": 1},
        ],
    )
    async def test_it_is_not_woken_by_a_submit_it_cannot_have(self, server, member, conditions):
        waiting = poll(member)
        await idle(server, 1)
        (waiter,) = in_line(server)
        await submit(member, **conditions)
        assert in_line(server) == {waiter}
        process_id = await submit(member)
        assert (await waiting).process_id == process_id

    async def test_it_is_not_woken_by_another_colony(self, server, member, client, people):
        theirs = client.acting_as(people.foreigner)
        waiting = asyncio.ensure_future(
            theirs.assign_process(people.other_owner.id, timeout=SECONDS)
        )
        await idle(server, 1)
        await submit(member)
        await idle(server, 1)
        assert not waiting.done()
        process = await theirs.submit("work", colony_id=people.other_owner.id, runtime_type="cli")
        assert (await waiting).process_id == process.id

    async def test_n_processes_wake_at_most_n(self, server, member):
        waiting = [poll(member) for _ in range(6)]
        await idle(server, 6)
        await server.db.fetch_value("get_schema_version")
        submitted = {await submit(member) for _ in range(2)}
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert {task.result().process_id for task in done} == submitted
        await idle(server, 4)
        for _ in rest:
            await submit(member)
        assert len({(await task).process_id for task in rest}) == 4

    async def test_it_is_woken_by_a_process_that_comes_back(self, server, member, fellow, sql):
        process_id = await submit(member, max_exec_time=60, max_retries=-1)
        await fellow.assign_process(timeout=-1)
        waiting = poll(member)
        await idle(server, 1)
        await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
        await server.ticker.run_once(stir=False)
        assert (await waiting).process_id == process_id

    async def test_it_is_woken_by_the_end_of_another_runtime(self, server, member, fellow, owner):
        process_id = await submit(member)
        await fellow.assign_process(timeout=-1)
        waiting = poll(member)
        await idle(server, 1)
        await owner.delete_runtime(fellow.key.id)
        assert (await waiting).process_id == process_id

    async def test_it_ends_with_nothing_after_its_time(self, server, member):
        with pytest.raises(NothingToAssign):
            await member.assign_process(timeout=1)
        assert server.hub._waiters == set()
        assert server.hub.idle_queues() == []

    @pytest.mark.settings(stranger_timeout=0.2)
    async def test_it_may_be_the_first_thing_a_socket_asks(self, server, colony, people):
        """And last longer than the time a socket has for its first message."""
        async with talk(server) as fresh:
            asked = {"colonyid": colony, "timeout": 1}
            failure = await refused(fresh.ask("assignprocessmsg", asked, people.runtime))
            assert isinstance(failure, NothingToAssign)

    async def test_a_socket_that_closes_takes_no_process_along(
        self, server, member, colony, people, fellow
    ):
        for leave in ("close", "vanish"):
            async with talk(server) as gone:
                await gone.send(
                    "assignprocessmsg", {"colonyid": colony, "timeout": SECONDS}, people.runtime
                )
                await idle(server, 1)
                await (gone.vanish() if leave == "vanish" else gone.websocket.close())
                await until(lambda: not server.hub._waiters)
            process_id = await submit(member)
            assert (await fellow.assign_process(timeout=-1)).process_id == process_id

    async def test_a_request_that_hangs_up_takes_no_process_along(
        self, server, member, colony, people, fellow
    ):
        body = seal("assignprocessmsg", {"colonyid": colony, "timeout": SECONDS}, people.runtime)
        head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        _, writer = await send(server, head + body)
        await idle(server, 1)
        writer.transport.abort()
        await until(lambda: not server.hub._waiters)
        process_id = await submit(member)
        assert (await fellow.assign_process(timeout=-1)).process_id == process_id

    @pytest.mark.parametrize("door", ["/ws", "POST /api"])
    async def test_who_vanishes_during_the_claim_takes_no_process_along(
        self, *, server, member, colony, people, fellow, sql, door
    ):
        process_id = await submit(member)
        asked = {"colonyid": colony, "timeout": SECONDS}
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("LOCK TABLE processes IN EXCLUSIVE MODE")
        if door == "/ws":
            async with talk(server) as gone:
                await gone.send("assignprocessmsg", asked, people.runtime)
                await blocked(sql)
                await gone.vanish()
        else:
            body = seal("assignprocessmsg", asked, people.runtime)
            head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
            _, writer = await send(server, head.encode() + body)
            await blocked(sql)
            writer.transport.abort()
        await noticed(server)
        await transaction.commit()
        assert (await fellow.assign_process(timeout=SECONDS)).process_id == process_id

    @pytest.mark.settings(max_in_flight=1)
    async def test_who_vanishes_with_messages_yet_unread_takes_no_process_along(
        self, server, member, colony, people, fellow
    ):
        """The hub reads no further while as many as it takes are in flight, but must notice."""
        async with talk(server) as gone:
            asked = {"colonyid": colony, "timeout": SECONDS}
            await gone.send("assignprocessmsg", asked, people.runtime)
            await idle(server, 1)
            for _ in range(3):
                await gone.send("getcallermsg", {}, people.runtime)
            await noticed(server)
            await gone.vanish()
        await until(lambda: not server.hub.idle_queues())
        process_id = await submit(member)
        assert (await fellow.assign_process(timeout=-1)).process_id == process_id

    async def test_rejecting_its_runtime_ends_it_with_403(self, server, member, owner, people):
        waiting = [poll(member) for _ in range(3)]
        await idle(server, 3)
        await owner.reject_runtime(people.runtime.id)
        for task in waiting:
            with pytest.raises(Forbidden):
                await task
        assert server.hub.idle_queues() == []

    async def test_deleting_its_runtime_ends_it_with_403(self, server, member, owner, people):
        waiting = poll(member)
        await idle(server, 1)
        await owner.delete_runtime(people.runtime.id)
        with pytest.raises(Forbidden):
            await waiting

    async def test_deleting_its_colony_ends_it_with_403(
        self, server, member, client, people, colony
    ):
        waiting = poll(member, 2)
        await idle(server, 1)
        await client.acting_as(people.server_owner).delete_colony(colony)
        with pytest.raises(Forbidden):
            await waiting

    @pytest.mark.parametrize("addressed", [False, True])
    async def test_a_wake_up_that_went_astray_is_made_good_by_the_next_pass(
        self, server, member, people, addressed
    ):
        waiting = poll(member)
        await idle(server, 1)
        spec = (await member.submit("work", runtime_type="elsewhere")).process.spec
        where = {"runtime_type": "cli"}
        if addressed:
            where = {"runtime_type": "", "runtime_ids": [people.runtime.id]}
        fields = {"colony_id": spec.conditions.colony_id} | where
        lost = await lifecycle.submit(
            server.db, type(spec)(conditions=type(spec.conditions)(**fields)), NOBODYS
        )
        await server.ticker.run_once()
        async with asyncio.timeout(5):
            assert (await waiting).process_id == lost.process_id

    @pytest.mark.usefixtures("colony")
    async def test_who_takes_another_process_than_offered_passes_the_offer_on(
        self, server, client, people
    ):
        """One big and one small runtime are idle; the big one was offered what the small can do."""
        keys = [PrivateKey.generate(), PrivateKey.generate()]
        await add_runtime(client, people.colony_owner, keys[0], cores=8)
        await add_runtime(client, people.colony_owner, keys[1], cores=1)
        big, small = [client.acting_as(key) for key in keys]
        first = poll(big)
        await idle(server, 1)
        second = poll(small)
        await idle(server, 2)
        await server.db.fetch_value("get_schema_version")
        wanted = Conditions(colony_id=people.colony_owner.id, runtime_type="cli")
        light, heavy = [
            await lifecycle.submit(
                server.db,
                ProcessSpec(conditions=replace(wanted, cores=cores), priority=cores),
                NOBODYS,
            )
            for cores in (1, 8)
        ]
        server.hub.publish([light, heavy])
        assert (await first).process_id == heavy.process_id
        async with asyncio.timeout(5):
            assert (await second).process_id == light.process_id


class TestCredit:
    """``subscribeassignmentsmsg``: whole processes are pushed, never more than the credit."""

    @pytest.fixture
    def subscribe(self, colony, people):
        async def subscribe(talk, credit, name="work", key=people.runtime, **more):
            fields = {"colonyid": colony, "credit": credit} | more
            return await talk.ask("subscribeassignmentsmsg", fields, key, name)

        return subscribe

    async def test_what_waits_and_what_comes_is_assigned_and_pushed(
        self, socket, subscribe, member, people
    ):
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

    async def test_the_pushed_process_is_as_committed(self, socket, subscribe, member):
        await subscribe(socket, 1)
        process_id = await submit(member, env={"A": "B"}, max_exec_time=60)
        pushed = await socket.pushed()
        assert replace(pushed, attempt_token="") == await member.get_process(process_id)

    async def test_no_more_is_pushed_than_the_credit_and_a_close_gives_it_back(
        self, socket, subscribe, member, people
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

    @pytest.mark.parametrize(
        "how", ["delete", "delete all", "overrun", "failed overrun", "release"]
    )
    async def test_however_a_process_leaves_its_credit_comes_back(
        self, *, socket, subscribe, member, owner, server, sql, how
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
        self, socket, subscribe, member, people
    ):
        await submit(member)
        mine = held(await member.assign_process(timeout=-1))
        waiting = await submit(member)
        await subscribe(socket, 1, holding=[mine, replace(mine, process_id="f" * 64)])
        assert await socket.pushes_so_far(people.runtime) == []
        await member.close_successful(mine.process_id)
        assert (await socket.pushed()).process_id == waiting

    async def test_what_ends_while_it_is_brought_along_gives_its_credit_back(
        self, member, monkeypatch
    ):
        await submit(member)
        brought = held(await member.assign_process(timeout=-1, leased=True))
        release = lifecycle.release_unheard

        async def late(*args, **kwargs):
            await member.close_successful(brought.process_id, attempt_token=brought.attempt_token)
            return await release(*args, **kwargs)

        monkeypatch.setattr(lifecycle, "release_unheard", late)
        async with await member.subscribe_assignments(credit=1, holding=lambda: [brought]) as work:
            process_id = await submit(member)
            async with asyncio.timeout(5):
                assert (await anext(work)).process_id == process_id

    async def test_who_holds_more_than_the_credit_gets_nothing_until_below(
        self, socket, subscribe, member, people
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

    async def test_who_unsubscribed_gets_no_more(self, socket, subscribe, member, people, server):
        await subscribe(socket, 5)
        await idle(server, 1)
        await socket.ask("unsubscribemsg", {"subscription": "work"}, people.runtime)
        process_id = await submit(member)
        assert await socket.pushes_so_far(people.runtime) == []
        assert (await member.assign_process(timeout=20)).process_id == process_id
        await subscribe(socket, 5)
        again = await submit(member)
        assert (await socket.pushed()).process_id == again

    async def test_a_connection_that_is_lost_takes_nothing_more(
        self, server, subscribe, member, fellow
    ):
        async with talk(server) as gone:
            await subscribe(gone, 5)
            await idle(server, 1)
            await gone.vanish()
        await until(lambda: not server.hub._waiters)
        process_id = await submit(member)
        assert (await fellow.assign_process(timeout=-1)).process_id == process_id
        assert server.hub._holders == {}

    async def test_a_connection_lost_during_the_claim_gives_the_process_back(
        self, server, subscribe, member, fellow, sql
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
    async def test_who_is_cut_off_keeps_no_process_that_was_never_sent(
        self, settings, subscribe, member, log
    ):
        """Processes of 0.9 MB, and kernels told to take few of them: they differ in that."""
        spec = (await member.submit("work", "x" * 700_000, runtime_type="cli")).process.spec
        for _ in range(15):
            await member.submit_process_spec(spec)
        listener = listen(settings)
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 1 << 16)
        raw = sockets.create_connection(listener.getsockname())
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 16)
        raw.setblocking(False)
        async with Server(settings, listener) as hub, talk(hub, sock=raw) as slow:
            await subscribe(slow, 16)
            slow.websocket.transport.pause_reading()
            await until(lambda: any(one["event"] == "slow reader cut off" for one in log))
            await until(lambda: not hub.hub._waiters)
            await slow.vanish()
        running = [one.process_id for one in await member.get_processes(State.RUNNING, count=40)]
        assert len(running) < 6

    async def test_two_connections_of_one_runtime_have_a_credit_each(
        self, server, socket, subscribe, member, people
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
        self, *, server, socket, subscribe, owner, people, how
    ):
        await subscribe(socket, 1)
        await idle(server, 1)
        await getattr(owner, f"{how}_runtime")(people.runtime.id)
        push = await socket.push()
        assert (push.payload_type, push.error, push.subscription) == ("error", True, "work")
        assert server.hub._waiters == set()

    async def test_a_runtime_shut_out_with_no_credit_left_is_told_too(
        self, socket, subscribe, owner, people, member
    ):
        await submit(member)
        await subscribe(socket, 1)
        await socket.pushed()
        await owner.reject_runtime(people.runtime.id)
        assert (await socket.push()).error

    @pytest.mark.parametrize("credit", [0, -1, 10_001, 2**40, "1", 1.5])
    async def test_a_credit_that_means_nothing_is_malformed(self, socket, subscribe, credit):
        failure = await refused(subscribe(socket, credit))
        assert isinstance(failure, Malformed)
        assert failure.field == "credit"

    @pytest.mark.parametrize("heartbeat", [-1, 86401, 1e300, "1"])
    async def test_a_heartbeat_that_means_nothing_is_malformed(self, socket, subscribe, heartbeat):
        failure = await refused(subscribe(socket, 1, heartbeat=heartbeat))
        assert isinstance(failure, Malformed)
        assert failure.field == "heartbeat"

    async def test_who_promised_a_heartbeat_and_is_silent_is_cut_off(self, server, subscribe, log):
        async with talk(server) as silent:
            await subscribe(silent, 1, heartbeat=0.05)
            assert await silent.closed() == 1008
        assert "silent connection closed" in [one["event"] for one in log]
        await until(lambda: not server.hub._waiters)

    async def test_a_subscription_that_failed_in_the_database_can_be_made_again(
        self, socket, subscribe, sql, member
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
