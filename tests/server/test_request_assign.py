"""An assignment that is asked for again: the same while the attempt lives, then another."""

import asyncio

import pytest

from colonies.core.envelope import open_reply
from colonies.core.errors import Conflict, NothingToAssign
from colonies.core.process import Process, State
from colonies.server.app import Server
from tests.conftest import add_runtime, held
from tests.server.doors import LONG, idle, in_line, refused, send, talk, until
from tests.server.leases import submit
from tests.server.repeats import (
    ask_process,
    asked,
    by_api,
    by_one_ws,
    by_ws,
    content,
    everything,
)

WAIT = 10 * int(LONG)
"""Seconds that whoever waits for work may do so: far longer than what is known already takes."""


def poll(colony, key, timeout=-1, req="", **more):
    fields = {"colonyid": colony, "timeout": timeout, "leased": True} | more
    return asked("assignprocessmsg", fields, key, req)


async def asleep(server, count: int) -> None:
    """Wait until so many are in line, all of whom have looked and found nothing."""
    await until(
        lambda: len(in_line(server)) == count and all(one._news._waiters for one in in_line(server))
    )


@pytest.fixture
def one(colony, people):
    """An intention of our runtime: to be assigned something, without waiting for it."""
    return poll(colony, people.runtime)


@pytest.fixture
def patient(colony, people):
    """The same, but waiting for it."""
    return poll(colony, people.runtime, WAIT)


class TestWhileItLives:
    @pytest.mark.parametrize("more", [{}, {"latest": True}, {"leased": False}])
    async def test_it_is_the_same_token_and_all(self, server, member, people, colony, sql, more):  # noqa: PLR0917 - fixtures
        for _ in range(3):
            await submit(member)
        one = poll(colony, people.runtime, **more)
        first = await ask_process(server, one)
        assert len(first.attempt_token) == 16
        before = await everything(sql)
        for door in (by_ws, by_api):
            again = open_reply(await door(server, one), Process)
            assert again == first
        assert await everything(sql) == before

    async def test_it_is_still_the_same_after_other_attempts_and_renewals(
        self, server, member, one
    ):
        ids = [await submit(member) for _ in range(3)]
        first = await ask_process(server, one)
        other = await member.assign_process(timeout=-1)
        await member.renew([held(first)])
        assert [first.process_id, other.process_id] == ids[:2]
        again = await ask_process(server, one)
        assert (again.process_id, again.attempt_token) == (ids[0], first.attempt_token)

    async def test_a_wait_that_is_asked_for_again_does_not_wait(self, server, member, patient):
        await submit(member)
        first = await ask_process(server, patient)
        async with asyncio.timeout(LONG):
            assert (await ask_process(server, patient)) == first

    async def test_one_that_is_to_be_stopped_is_given_as_such(self, server, member, one):
        await submit(member)
        first = await ask_process(server, one)
        await member.cancel_process(first.process_id, "why")
        again = await ask_process(server, one)
        assert again.is_cancelling
        assert again.attempt_token == first.attempt_token

    async def test_another_runtime_with_the_same_id_gets_its_own(self, server, member, fellow, one):
        for _ in range(2):
            await submit(member)
        first = await ask_process(server, one)
        second = await ask_process(server, one._replace(key=fellow.key))
        assert first.process_id != second.process_id

    async def test_with_other_conditions_it_is_refused(self, server, member, one):
        for _ in range(2):
            await submit(member)
        await ask_process(server, one)
        other = one._replace(fields=one.fields | {"latest": True})
        refusal = await refused(ask_process(server, other))
        assert (type(refusal), refusal.field) == (Conflict, "sec.req")
        assert (await member.get_colony_stats()).waiting_processes == 1


@pytest.fixture(params=["lost", "successful", "failed", "released", "deleted", "overrun"])
def end(request, server, member, sql, lose):
    """Let an attempt be over."""

    async def end(process: Process) -> None:
        match request.param:
            case "lost":
                await lose()
            case "successful":
                await member.close_successful(process.process_id)
            case "failed":
                await member.close_failed(process.process_id)
            case "released":
                await member.release(process.process_id)
            case "deleted":
                await member.delete_process(process.process_id)
            case "overrun":
                await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
                await server.ticker.run_once()

    return end


class TestWhenItIsOver:
    async def test_another_is_given_and_that_is_then_the_same(self, server, member, one, end):
        await submit(member, priority=-1)
        waiting = await submit(member)
        first = await ask_process(server, one)
        await submit(member, priority=1)
        await end(first)
        second = await ask_process(server, one)
        assert (second.spec.priority, first.process_id) == (1, waiting)
        assert second.attempt_token != first.attempt_token
        assert await ask_process(server, one) == second

    async def test_there_may_be_none(self, server, member, one, end, sql):
        await submit(member)
        first = await ask_process(server, one)
        await end(first)
        await sql.execute("DELETE FROM processes WHERE state = 0")
        for _ in range(2):
            assert isinstance(await refused(ask_process(server, one)), NothingToAssign)

    async def test_a_wait_begins_anew(self, server, member, patient, end, sql):
        await submit(member)
        first = await ask_process(server, patient)
        await end(first)
        await sql.execute("DELETE FROM processes WHERE state = 0")
        waiting = asyncio.ensure_future(ask_process(server, patient))
        await idle(server, 1)
        process_id = await submit(member)
        assert (await waiting).process_id == process_id

    async def test_many_at_once_get_the_same_next_one(self, server, member, one):
        """None is refused, and none gets another: they are one intention."""
        for _ in range(10):
            await submit(member)
        await member.release((await ask_process(server, one)).process_id)
        replies = await by_one_ws(server, one, 10)
        assert len({content(reply) for reply in replies}) == 1
        assert not replies[0].error
        assert (await member.get_colony_stats()).running_processes == 1


class TestSentTwice:
    """The same again, while the first still waits: they are looked at one after the other."""

    @pytest.fixture
    async def both(self, server, patient):
        """The answers to come; only the first has a place in line."""
        tasks = [asyncio.ensure_future(ask_process(server, patient)) for _ in range(2)]
        await asleep(server, 1)
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_both_are_given_the_same(self, member, both):
        process_id = await submit(member)
        await submit(member)
        async with asyncio.timeout(LONG):
            first, second = await asyncio.gather(*both)
        assert first == second
        assert first.process_id == process_id
        assert (await member.get_colony_stats()).waiting_processes == 1

    async def test_the_next_process_is_for_others(self, member, fellow, both):
        await submit(member)
        waiting = asyncio.ensure_future(fellow.assign_process(timeout=60))
        await asyncio.gather(*both)
        process_id = await submit(member)
        async with asyncio.timeout(LONG):
            assert (await waiting).process_id == process_id
        assert (await member.get_colony_stats()).running_processes == 2


class TestConnectionLost:
    async def test_whoever_asks_again_over_another_connection_gets_what_is_next(
        self, server, member, patient
    ):
        async with talk(server) as gone:
            await gone.websocket.send(patient.sealed("q"), text=True)
            await idle(server, 1)
            await gone.vanish()
        await until(lambda: not server.hub.lines)
        again = asyncio.ensure_future(ask_process(server, patient))
        await idle(server, 1)
        process_id = await submit(member)
        assert ((await again).process_id, (await again).attempt) == (process_id, 1)

    @pytest.mark.parametrize("door", ["/ws", "POST /api"])
    async def test_an_answer_that_was_lost_is_given_again(self, *, server, member, patient, door):
        """The socket goes when the process is assigned, but the hub has heard of neither."""
        process_id = await submit(member)
        if door == "/ws":
            async with talk(server) as gone:
                gone.websocket.transport.pause_reading()
                await gone.websocket.send(patient.sealed("q"), text=True)
                await self.is_running(member, process_id)
                await gone.vanish()
        else:
            body = patient.sealed()
            head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
            _, writer = await send(server, head.encode() + body)
            await self.is_running(member, process_id)
            writer.transport.abort()
        async with asyncio.timeout(LONG):
            process = await ask_process(server, patient)
        assert (process.process_id, process.attempt) == (process_id, 1)
        await member.close_successful(process_id, attempt_token=process.attempt_token)

    async def is_running(self, member, process_id) -> None:
        async with asyncio.timeout(LONG):
            while (await member.get_process(process_id)).state is not State.RUNNING:
                await asyncio.sleep(0)

    async def test_a_hub_started_anew_gives_the_same(self, server, settings, member, one):
        await submit(member)
        first = await ask_process(server, one)
        async with Server(settings) as other:
            assert await ask_process(other, one) == first

    async def test_a_wait_at_two_hubs_is_one(self, server, settings, member, patient):
        async with Server(settings) as other:
            waits = [asyncio.ensure_future(ask_process(hub, patient)) for hub in (server, other)]
            for hub in (server, other):
                await idle(hub, 1)
            process_id = await submit(member)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await submit(member)
            await other.ticker.run_once()
            first, second = await asyncio.gather(*waits)
            assert first == second
            assert first.process_id == process_id
        assert (await member.get_colony_stats()).running_processes == 1


async def test_each_of_many_intentions_at_once_is_another(server, client, people, member, colony):
    keys = [people.runtime]
    for _ in range(10):
        await submit(member)
    polls = [poll(colony, key) for key in keys for _ in range(10)]
    processes = await asyncio.gather(*(ask_process(server, one) for one in polls * 3))
    by_request = {
        one.req: process.process_id for one, process in zip(polls * 3, processes, strict=True)
    }
    assert len(set(by_request.values())) == 10
    assert (await member.get_colony_stats()).running_processes == 10


async def test_a_runtime_of_two_colonies_may_have_one_intention_in_each(
    *, server, client, people, colony, member
):
    await add_runtime(client, people.other_owner, people.runtime)
    await submit(member)
    await submit(member, colony_id=people.other_owner.id)
    for one in (poll(colony, people.runtime), poll(people.other_owner.id, people.runtime)):
        process = await ask_process(server, one)
        assert process.colony_id == one.fields["colonyid"]
        assert await ask_process(server, one) == process
