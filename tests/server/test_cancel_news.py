"""Who hears that a process was cancelled or taken away, and when; and races for it."""

import asyncio

import pytest

from colonies.core.errors import NotFound
from colonies.core.process import FINAL_STATES, State
from tests.conftest import held
from tests.server.doors import LONG, refused, talk
from tests.server.leases import OVER, submit, take

LATER = "UPDATE processes SET cancel_time = cancel_time - interval '1 min'"


async def soon(awaitable):
    async with asyncio.timeout(LONG):
        return await awaitable


class TestHolder:
    """Whoever makes the attempt is told over the subscription that it came by."""

    @pytest.fixture
    async def working(self, socket, subscribe, member):
        """A process pushed over ``socket``."""
        await submit(member, max_exec_time=60)
        await subscribe(socket)
        return await socket.pushed()

    async def test_is_told_at_once_to_stop(self, socket, owner, working):
        cancelling = await owner.cancel_process(working.process_id, "no need")
        push = await socket.push()
        assert (push.payload_type, push.subscription) == ("subscribeassignmentsmsg", "work")
        socket._pushes.append(push)
        told = await socket.pushed()
        assert told == cancelling
        assert (told.is_cancelling, told.cancel_reason, told.attempt) == (True, "no need", 1)

    async def test_is_told_once_however_often_it_is_cancelled(self, socket, owner, working, people):
        for _ in range(3):
            await owner.cancel_process(working.process_id)
        assert len(await socket.pushes_so_far(people.runtime)) == 1

    async def test_is_told_of_what_it_brought_along(self, socket, subscribe, member):
        await submit(member)
        process = await take(member)
        await subscribe(socket, holding=[held(process)])
        await member.cancel_process(process.process_id)
        assert (await socket.pushed()).is_cancelling

    async def test_is_told_of_what_was_cancelled_while_it_was_away(self, socket, subscribe, member):
        await submit(member)
        process = await take(member)
        await member.cancel_process(process.process_id)
        await subscribe(socket, holding=[held(process)])
        assert (await soon(socket.pushed())).is_cancelling

    async def test_is_told_when_the_grace_period_is_over(
        self, *, server, socket, member, working, sql
    ):
        await member.cancel_process(working.process_id)
        assert (await socket.pushed()).is_cancelling
        await sql.execute(LATER)
        await server.ticker.run_once()
        assert (await socket.pushed()).state is State.CANCELLED

    @pytest.mark.parametrize("ack", ["close_failed", "release", "close_successful", "grace"])
    async def test_has_its_credit_back_when_it_has_stopped(
        self, *, server, socket, member, working, people, sql, ack
    ):
        waiting = await submit(member)
        await member.cancel_process(working.process_id)
        assert (await socket.pushed()).is_cancelling
        assert await socket.pushes_so_far(people.runtime) == []
        if ack == "grace":
            await sql.execute(LATER)
            await server.ticker.run_once()
            assert (await socket.pushed()).process_id == working.process_id
        else:
            await getattr(member, ack)(working.process_id, attempt_token=working.attempt_token)
        assert (await socket.pushed()).process_id == waiting

    @pytest.mark.parametrize("retries", [0, 5])
    @pytest.mark.parametrize("why", ["lease", "time"])
    async def test_is_told_of_what_a_deadline_takes_away(
        self, *, server, socket, subscribe, member, sql, lapse, retries, why
    ):
        process_id = await submit(member, max_exec_time=60, max_retries=retries)
        await subscribe(socket)
        assert (await socket.pushed()).state is State.RUNNING
        if why == "lease":
            await lapse()
            await server.ticker.run_once(stir=False)
        else:
            await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
            await server.ticker.run_once()
        told = await socket.pushed()
        assert told.process_id == process_id
        assert told.state is (State.WAITING if retries else State.FAILED)
        assert told.attempt_token == ""

    async def test_is_not_told_of_its_own_ends(self, socket, member, working, people):
        await member.close_failed(working.process_id)
        assert await socket.pushes_so_far(people.runtime) == []

    async def test_is_the_only_one_told(self, *, server, subscribe, fellow, working, owner):
        async with talk(server) as other:
            await subscribe(other, key=fellow.key)
            await owner.cancel_process(working.process_id)
            assert await other.pushes_so_far(fellow.key) == []

    async def test_without_a_subscription_the_process_says_it(self, member):
        """v1 runtimes are not told: they end it when they are done, or the hub does."""
        await submit(member)
        process = await member.assign_process(timeout=-1)
        await member.cancel_process(process.process_id)
        assert (await member.get_process(process.process_id)).is_cancelling
        await member.close_failed(process.process_id, ["stopped"])
        assert (await member.get_process(process.process_id)).state is State.CANCELLED


class TestOthers:
    async def test_subscribers_see_both_steps(self, socket, member, people):
        process_id = await submit(member)
        await take(member)
        wanted = {"processid": process_id, "states": [int(State.CANCELLED)]}
        await socket.ask("subscribeprocessmsg", wanted, people.colony_owner, "one")
        every = {"runtimetype": "cli", "states": list(State)}
        await socket.ask("subscribeprocessesmsg", every, people.colony_owner, "all")
        cancelling = await member.cancel_process(process_id)
        assert (await socket.pushed()) == cancelling
        await member.close_failed(process_id, ["stopped"])
        pushes = [await socket.pushed() for _ in range(2)]
        assert [one.state for one in pushes] == [State.CANCELLED] * 2

    async def test_whoever_subscribes_to_the_end_afterwards_is_told_at_once(
        self, socket, member, people
    ):
        process_id = await submit(member)
        await member.cancel_process(process_id)
        wanted = {"processid": process_id, "states": list(FINAL_STATES)}
        await socket.ask("subscribeprocessmsg", wanted, people.runtime, "one")
        assert (await socket.pushed()).state is State.CANCELLED

    @pytest.mark.parametrize("starts", [False, True])
    async def test_waiting_for_its_end_ends(self, member, starts):
        process = await member.submit("work", runtime_type="cli")
        if starts:
            await take(member)
        waiting = asyncio.ensure_future(process.wait(60))
        await member.get_caller()
        await member.cancel_process(process.id, "no need")
        if starts:
            await member.close_failed(process.id, ["stopped"])
        assert (await waiting).state is State.CANCELLED
        assert (await process.wait(60)).state is State.CANCELLED

    async def test_a_foreigner_hears_nothing(self, socket, member, people):
        every = {"runtimetype": "cli", "states": list(State)}
        await socket.ask("subscribeprocessesmsg", every, people.foreigner, "all")
        process_id = await submit(member)
        wanted = {"processid": process_id, "states": list(State)}
        asking = socket.ask("subscribeprocessmsg", wanted, people.foreigner, "one")
        assert isinstance(await refused(asking), NotFound)
        await member.cancel_process(process_id)
        assert await socket.pushes_so_far(people.foreigner) == []


class TestRaces:
    async def test_each_is_cancelled_and_never_started_or_started_and_then_stopped(
        self, member, others, owner
    ):
        ids = [await submit(member) for _ in range(60)]
        cancels = [one.cancel_process(process_id) for process_id in ids for one in (owner, member)]
        claims = [runtime.assign_process(timeout=-1) for runtime in others for _ in range(20)]
        mixed = [one for pair in zip(claims, cancels, strict=False) for one in pair]
        mixed += cancels[len(claims) :]
        said = await asyncio.gather(*mixed, return_exceptions=True)
        assert [one for one in said if isinstance(one, AssertionError)] == []
        started = set()
        for process_id in ids:
            process = await member.get_process(process_id)
            assert process.cancelled_by
            if process.attempt:
                started.add(process_id)
                assert (process.is_cancelling, process.attempt) == (True, 1)
                assert process.cancel_time >= process.start_time or process.attempt == 1
            else:
                assert process.state is State.CANCELLED
                assert process.assigned_runtime_id == ""
        stats = await member.get_colony_stats()
        assert (stats.running_processes, stats.waiting_processes) == (len(started), 0)

    async def test_a_close_and_a_cancel_at_once_agree(self, member):
        for number in range(20):
            await submit(member)
            process = await take(member)
            close = member.close_successful if number % 2 else member.close_failed
            await asyncio.gather(
                close(process.process_id, ["x"]),
                member.cancel_process(process.process_id),
                return_exceptions=True,
            )
            ended = await member.get_process(process.process_id)
            if ended.cancelled_by:
                assert ended.state is (State.SUCCESS if number % 2 else State.CANCELLED)
            else:
                assert ended.state is (State.SUCCESS if number % 2 else State.FAILED)

    async def test_a_cancel_and_a_lost_lease_at_once_agree(self, server, member, lapse):
        """Either it was taken back and then cancelled in the queue, or it is being stopped."""
        for _ in range(10):
            await submit(member)
        processes = [await take(member) for _ in range(10)]
        await lapse()
        cancels = (member.cancel_process(one.process_id) for one in processes)
        await asyncio.gather(*cancels, server.ticker.run_once(stir=False))
        for one in processes:
            after = await member.get_process(one.process_id)
            assert after.cancelled_by
            was_lost = after.retries == 1
            assert after.state is (State.CANCELLED if was_lost else State.RUNNING)
            assert (after.assigned_runtime_id == "") is was_lost
