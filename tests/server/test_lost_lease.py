"""What becomes of a process whose lease has passed: nobody keeps one by being silent."""

import asyncio
from collections import Counter

import pytest

from colonies.core.errors import StaleAttempt
from colonies.core.process import State
from colonies.core.wire import ZERO_TIME
from colonies.server import lifecycle
from colonies.server.db import Database
from tests.conftest import held
from tests.server.doors import idle, noticed
from tests.server.leases import OVER, expired, row, submit, take


class TestLost:
    """What becomes of a process whose lease has passed."""

    async def test_it_goes_back_to_the_queue_and_the_loss_is_counted(self, member, lose):
        process_id = await submit(member, max_retries=5, max_exec_time=60, max_wait_time=60)
        await take(member)
        await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.is_assigned, process.retries) == (State.WAITING, False, 1)
        assert (process.assigned_runtime_id, process.errors, process.attempt) == ("", [], 1)
        assert process.start_time == process.exec_deadline == process.leased_until == ZERO_TIME
        assert (process.wait_deadline - process.submission_time).total_seconds() > 60

    @pytest.mark.parametrize("retries", [0, 1, 4])
    async def test_with_no_retries_left_it_fails_and_says_who_lost_it(self, member, lose, retries):
        process_id = await submit(member, max_retries=retries)
        for count in range(retries + 1):
            process = await member.get_process(process_id)
            assert (process.state, process.retries) == (State.WAITING, count)
            await take(member)
            await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.retries) == (State.FAILED, retries)
        assert process.attempt == retries + 1
        assert set(process.errors) == {f"Lease lost by runtime {member.key.id}"}
        assert process.end_time > process.start_time > ZERO_TIME

    async def test_without_end_one_runtime_may_lose_it_again_and_again(self, member, lose):
        process_id = await submit(member)
        for count in range(1, 6):
            await take(member)
            await lose()
            process = await member.get_process(process_id)
            assert (process.state, process.retries) == (State.WAITING, count)

    async def test_a_row_does_not_grow_with_every_loss_by_the_same_runtime(self, member, lose, sql):
        process_id = await submit(member)
        for _ in range(5):
            await take(member)
            await lose()
        assert (await row(sql, process_id))["lost_by"] == [member.key.id]

    async def test_the_errors_have_one_line_for_each_runtime_that_lost_it(
        self, member, fellow, lose
    ):
        process_id = await submit(member, max_retries=2)
        for runtime in (member, member, fellow):
            await take(runtime)
            await lose()
        assert (await member.get_process(process_id)).errors == [
            f"Lease lost by runtime {one.key.id}" for one in (member, fellow)
        ]

    @pytest.mark.parametrize("retries", [-1, 2, 100])
    async def test_three_runtimes_in_a_row_are_poison(self, member, others, lose, retries):
        process_id = await submit(member, max_retries=retries)
        for runtime in others:
            assert (await member.get_process(process_id)).state is State.WAITING
            await take(runtime)
            await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.retries, process.attempt) == (State.FAILED, 2, 3)
        lines = [f"Lease lost by runtime {one.key.id}" for one in others]
        assert process.errors == ["poison", *lines]

    async def test_two_runtimes_are_not_poison_however_often(self, member, fellow, lose):
        process_id = await submit(member)
        for runtime in (member, fellow) * 3:
            await take(runtime)
            await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.retries) == (State.WAITING, 6)

    @pytest.mark.parametrize("between", ["release", "overrun"])
    async def test_a_release_or_an_overrun_between_begins_the_row_anew(
        self, *, member, others, lose, server, sql, between
    ):
        process_id = await submit(member, max_exec_time=60)
        for runtime in others[:2]:
            await take(runtime)
            await lose()
        await take(member)
        if between == "release":
            await member.release(process_id)
        else:
            await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
            await server.ticker.run_once()
        assert (await row(sql, process_id))["lost_by"] == []
        for runtime in (others[2], others[0]):
            await take(runtime)
            await lose()
        assert (await member.get_process(process_id)).state is State.WAITING
        await take(others[1])
        await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.errors[0]) == (State.FAILED, "poison")

    async def test_who_still_works_is_refused_and_told_to_stop(self, member, fellow, lose):
        await submit(member)
        old = await take(member)
        await lose()
        assert await member.renew([held(old)]) == [old.process_id]
        new = await take(fellow)
        assert await member.renew([held(old)]) == [old.process_id]
        with pytest.raises(StaleAttempt):
            await member.close_successful(old.process_id, ["late"], attempt_token=old.attempt_token)
        await fellow.close_successful(new.process_id, ["mine"], attempt_token=new.attempt_token)
        with pytest.raises(StaleAttempt):
            await member.close_successful(old.process_id, ["late"], attempt_token=old.attempt_token)
        assert (await member.get_process(old.process_id)).output == ["mine"]

    async def test_both_returns_and_failures_are_told_to_subscribers(self, member, lose):
        changes = await member.subscribe_processes("cli", states=[State.WAITING, State.FAILED])
        for retries in (1, 0):
            process_id = await submit(member, max_retries=retries)
            assert (await anext(changes)).process_id == process_id
            await take(member)
            await lose()
            process = await anext(changes)
            state = State.WAITING if retries else State.FAILED
            assert (process.process_id, process.state) == (process_id, state)
            await member.delete_process(process_id)

    async def test_it_wakes_whoever_is_idle(self, server, member, fellow, lose):
        process_id = await submit(member)
        await take(member)
        waiting = asyncio.ensure_future(fellow.assign_process(timeout=60))
        await idle(server, 1)
        await lose()
        assert ((await waiting).process_id, (await waiting).attempt) == (process_id, 2)

    async def test_more_than_one_batch_is_acted_on_at_once(self, member, lose, monkeypatch):
        monkeypatch.setattr(lifecycle, "EXPIRY_BATCH", 3)
        for number in range(10):
            await submit(member, max_retries=number % 2)
            await take(member)
        await lose()
        stats = await member.get_colony_stats()
        assert (stats.waiting_processes, stats.failed_processes) == (5, 5)

    async def test_a_batch_has_its_size_even_if_the_planner_expects_one_row(
        self, *, member, lapse, sql, server, monkeypatch
    ):
        """It must not choose again for every row: that locks rows and leaves them as they are."""
        monkeypatch.setattr(lifecycle, "EXPIRY_BATCH", 3)
        await submit(member)
        await sql.execute("VACUUM ANALYZE processes")
        for _ in range(9):
            await submit(member)
        for _ in range(10):
            await take(member)
        await lapse()
        batches = [batch async for batch, _ in lifecycle.expire(server.db, grace=30)]
        assert [len(batch) for batch in batches] == [3, 3, 3, 1]

    async def test_two_hubs_at_once_act_once_on_each(
        self, *, member, lapse, database_url, monkeypatch
    ):
        monkeypatch.setattr(lifecycle, "EXPIRY_BATCH", 7)
        for number in range(60):
            await submit(member, max_retries=-1 if number % 2 else 0)
            await take(member)
        await lapse()
        hubs = [Database(database_url, connections=1) for _ in range(2)]
        for one in hubs:
            await one.open()
        acted = await asyncio.gather(*(expired(one) for one in hubs))
        for one in hubs:
            await one.close()
        changed = Counter(process.process_id for one in acted for process in one)
        assert (len(changed), set(changed.values())) == (60, {1})
        for state, retries in ((State.WAITING, 1), (State.FAILED, 0)):
            processes = await member.get_processes(state, count=100)
            assert [one.retries for one in processes] == [retries] * 30

    async def test_a_renewal_and_a_pass_at_once_agree(self, member, lapse, server):
        """Whoever is told that it lives finds it running, whoever is told to stop does not."""
        for _ in range(20):
            await submit(member)
        processes = [await take(member) for _ in range(20)]
        await lapse()
        answers = await asyncio.gather(
            *(member.renew([held(one)]) for one in processes), server.ticker.run_once()
        )
        for process, cancel in zip(processes, answers[:-1], strict=True):
            after = await member.get_process(process.process_id)
            assert (after.state is State.RUNNING) is (cancel == [])

    async def test_the_last_to_be_told_of_a_loss_is_not_taken_for_another(
        self, *, server, socket, subscribe, member, fellow, lapse
    ):
        """The news of a return may come after the process was taken anew."""
        process_id = await submit(member)
        await take(member)
        await lapse()
        late = await expired(server.db)
        await subscribe(socket, key=fellow.key)
        assert (await socket.pushed()).attempt == 2
        await submit(member)
        server.hub.publish(late)
        await noticed(server)
        assert await socket.pushes_so_far(fellow.key) == []
        await lapse()
        await server.ticker.run_once()
        assert (await member.get_process(process_id)).attempt == 2
        assert (await member.get_process(process_id)).state is State.RUNNING
