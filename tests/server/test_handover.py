"""What is submitted while somebody is idle is theirs with the submit: one statement, no look."""

import asyncio

import pytest

from colonies.core.errors import Malformed, NothingToAssign
from colonies.core.history import Happening
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, ProcessSpec, State
from colonies.core.runtime import Runtime
from colonies.server import lifecycle
from colonies.server.intent import NOBODYS, Intent
from colonies.server.moves import Claim
from colonies.server.waiter import Waiter
from tests.conftest import add_runtime
from tests.server.doors import blocked, in_line, noticed, refused, talk, until
from tests.server.leases import submit

HANDED = "submit_assigned_processes"


async def parked(server, count: int = 1) -> None:
    """Wait until so many wait with room."""
    await until(lambda: sum(one.has_room for one in in_line(server)) == count)


@pytest.fixture
def subscribe(colony, people):
    async def subscribe(talk, credit, key=people.runtime):
        fields = {"colonyid": colony, "credit": credit}
        return await talk.ask("subscribeassignmentsmsg", fields, key, "work")

    return subscribe


def poll(member) -> asyncio.Task:
    return asyncio.ensure_future(member.assign_process(timeout=60, leased=True))


def changes(statements: list[str]) -> list[str]:
    """The statements that are about processes, in order."""
    return [one for one in statements if "process" in one or "queue" in one]


class TestPushed:
    async def test_a_submit_is_the_only_statement(
        self, *, server, socket, subscribe, member, people, statements
    ):
        await subscribe(socket, 1)
        await parked(server)
        statements.clear()
        process_id = await submit(member, max_exec_time=60)
        pushed = await socket.pushed()
        assert changes(statements) == [HANDED]
        assert (pushed.process_id, pushed.attempt, pushed.state) == (process_id, 1, State.RUNNING)
        assert pushed.assigned_runtime_id == people.runtime.id
        assert pushed.start_time == pushed.submission_time
        assert (pushed.exec_deadline - pushed.start_time).total_seconds() == 60
        assert pushed.leased_until > pushed.start_time
        await member.close_successful(process_id, attempt_token=pushed.attempt_token)

    async def test_the_submitter_hears_that_it_runs_but_not_the_token(
        self, server, socket, subscribe, member
    ):
        await subscribe(socket, 1)
        await parked(server)
        work = await member.submit("work", runtime_type="cli")
        assert (work.process.state, work.process.attempt_token) == (State.RUNNING, "")
        assert work.process == await member.get_process(work.id)

    async def test_watchers_see_it_waiting_and_then_running(
        self, server, socket, subscribe, member
    ):
        async with await member.subscribe_processes("cli", states=list(State)) as seen:
            await subscribe(socket, 1)
            await parked(server)
            process_id = await submit(member)
            states = [await anext(seen) for _ in range(2)]
        assert [(one.process_id, one.state) for one in states] == [
            (process_id, State.WAITING),
            (process_id, State.RUNNING),
        ]
        happened = [one.event for one in await member.get_process_events(process_id)]
        assert happened == [Happening.SUBMITTED, Happening.ASSIGNED]

    async def test_many_are_handed_over_as_far_as_there_is_room(
        self, *, server, socket, subscribe, member, colony, statements
    ):
        await subscribe(socket, 3)
        await parked(server)
        statements.clear()
        conditions = Conditions(colony_id=colony, runtime_type="cli")
        ids = await member.submit_processes([ProcessSpec(conditions=conditions)] * 5)
        assert [(await socket.pushed()).process_id for _ in range(3)] == ids[:3]
        assert changes(statements) == [HANDED]
        await member.close_successful(ids[1])
        assert (await socket.pushed()).process_id == ids[3]

    async def test_what_ends_makes_room_without_a_look(
        self, server, socket, subscribe, member, statements
    ):
        await subscribe(socket, 2)
        await parked(server)
        ids = [await submit(member)]
        await socket.pushed()
        statements.clear()
        await member.close_successful(ids[0])
        ids = [await submit(member) for _ in range(2)]
        assert [(await socket.pushed()).process_id for _ in range(2)] == ids
        assert changes(statements) == ["close_processes", *[HANDED] * 2]

    async def test_two_that_are_idle_get_one_each(self, server, socket, subscribe, member):
        async with talk(server) as other:
            for one in (socket, other):
                await subscribe(one, 2)
            await parked(server, 2)
            ids = [await submit(member) for _ in range(2)]
            got = [(await one.pushed()).process_id for one in (socket, other)]
        assert sorted(got) == sorted(ids)

    async def test_what_does_not_fit_waits(self, server, socket, subscribe, member):
        await subscribe(socket, 1)
        await parked(server)
        work = await member.submit("work", runtime_type="cli", cores=100)
        other = await member.submit("work", runtime_type="gpu")
        assert (work.process.state, other.process.state) == (State.WAITING, State.WAITING)

    async def test_what_is_meant_for_another_by_id_waits(
        self, server, socket, subscribe, member, people
    ):
        await subscribe(socket, 1)
        await parked(server)
        work = await member.submit("work", runtime_ids=["0" * 64])
        assert work.process.state is State.WAITING
        work = await member.submit("work", runtime_ids=[people.runtime.id])
        assert (await socket.pushed()).process_id == work.id

    async def test_who_was_shut_out_behind_our_back_gets_nothing(
        self, *, server, socket, subscribe, member, client, people, sql
    ):
        key = PrivateKey.generate()
        await add_runtime(client, people.colony_owner, key)
        await subscribe(socket, 1, key)
        await parked(server)
        await sql.execute("UPDATE runtimes SET state = 2 WHERE runtime_id = $1", key.id)
        work = await member.submit("work", runtime_type="cli")
        assert work.process.state is State.WAITING
        assert await socket.pushes_so_far(people.runtime) == []

    async def test_who_left_during_the_submit_gives_it_back(self, server, subscribe, member, sql):
        async with talk(server) as gone:
            await subscribe(gone, 1)
            await parked(server)
            async with sql.transaction():
                await sql.execute("LOCK TABLE processes IN EXCLUSIVE MODE")
                submitting = asyncio.ensure_future(submit(member))
                await blocked(sql)
                await gone.vanish()
                await noticed(server)
            process_id = await submitting
        taken = await member.assign_process(timeout=60)
        assert (taken.process_id, taken.attempt) == (process_id, 2)

    async def test_a_submit_that_fails_takes_nobody_s_place(
        self, server, socket, subscribe, member, colony
    ):
        await subscribe(socket, 1)
        await parked(server)
        conditions = Conditions(colony_id=colony, runtime_type="cli")
        bad = ProcessSpec(func="\ud800", conditions=conditions)
        with pytest.raises((Malformed, UnicodeError)):
            await lifecycle.submit(server.db, bad, NOBODYS, server.hub.lines)
        await parked(server)
        process_id = await submit(member)
        assert (await socket.pushed()).process_id == process_id


class TestPolled:
    async def test_a_submit_is_the_only_statement(self, server, member, statements):
        waiting = poll(member)
        await parked(server)
        statements.clear()
        process_id = await submit(member)
        assert (await waiting).process_id == process_id
        assert changes(statements) == [HANDED]

    async def test_who_cannot_ask_again_is_not_handed_anything(
        self, server, socket, colony, people
    ):
        """Were the answer to a v1 client lost, so would be the process: it has no lease."""
        fields = {"colonyid": colony, "timeout": 20}
        await socket.send("assignprocessmsg", fields, people.runtime, "1")
        await until(lambda: len(in_line(server)) == 1)
        assert not any(one.has_room for one in in_line(server))

    async def test_the_same_request_is_given_the_same(self, server, member, sql):
        runtime = await member.get_runtime(member.key.id)
        again = Intent.of(runtime.runtime_id, "r", b"d")
        terms = Claim(runtime.runtime_id, 1, is_leased=True, pushed_over="", intent=again)
        await sql.execute(
            "INSERT INTO requests (request, digest, time) VALUES ($1, $2, now())",
            again.key,
            again.digest,
        )
        with server.hub.lines.waiting(runtime, terms) as waiter:
            server.hub.lines.line_up(waiter)
            waiting = asyncio.ensure_future(waiter.wait(room=1))
            await parked(server)
            work = await member.submit("work", runtime_type="cli")
            assert await waiting == []
        assert work.process.state is State.WAITING

    async def test_nothing_comes_after_the_time(self, server, member):
        assert isinstance(await refused(member.assign_process(timeout=1)), NothingToAssign)
        assert in_line(server) == set()


@pytest.fixture
def waiter() -> Waiter:
    terms = Claim("r", 1, is_leased=True, pushed_over="", intent=NOBODYS)
    return Waiter(Runtime(runtime_id="r"), terms)


class TestWaiter:
    async def test_a_promise_is_waited_for_even_when_it_is_time_to_look(self, waiter):
        waiting = asyncio.ensure_future(waiter.wait(room=2))
        await until(lambda: waiter.has_room)
        waiter.promise()
        waiter.stir()
        await until(lambda: not waiter.has_room)
        assert not waiting.done()
        waiter.hand("process")
        assert await waiting == ["process"]
        assert await waiter.wait() == []

    async def test_a_promise_that_is_withdrawn_is_a_reason_to_look(self, waiter):
        waiting = asyncio.ensure_future(waiter.wait(room=1))
        await until(lambda: waiter.has_room)
        waiter.promise()
        assert not waiter.has_room
        waiter.withdraw()
        assert await waiting == []

    async def test_room_is_made_only_while_it_waits_with_some(self, waiter):
        assert not waiter.make_room()
        waiting = asyncio.ensure_future(waiter.wait(room=1))
        await until(lambda: waiter.has_room)
        waiter.promise()
        assert waiter.make_room()
        assert waiter.has_room
        waiter.withdraw()
        await waiting
