"""Cancelling: what waits never starts, what runs is stopped, what has ended stays as it is."""

import asyncio

import pytest

from colonies.core.errors import (
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    NothingToAssign,
    StaleAttempt,
)
from colonies.core.process import State
from colonies.core.wire import ZERO_TIME
from tests.conftest import held
from tests.server.doors import refused
from tests.server.leases import OVER, row, submit, take

LATER = "UPDATE processes SET cancel_time = cancel_time - interval '1 s' * $1"


@pytest.fixture
def after(server, sql):
    """Let so many seconds have passed since something was cancelled, and have it noticed."""

    async def after(seconds: float) -> None:
        await sql.execute(LATER, seconds)
        await server.ticker.run_once()

    return after


@pytest.fixture
async def running(member):
    """A process that our runtime runs, with a lease and limits."""
    await submit(member, max_exec_time=60, max_wait_time=60)
    return await take(member)


class TestWaiting:
    async def test_it_is_cancelled_at_once(self, member, sql):
        process_id = await submit(member)
        before = await sql.fetchval("SELECT now()")
        cancelled = await member.cancel_process(process_id, "no need")
        assert cancelled.state is State.CANCELLED
        assert (cancelled.cancelled_by, cancelled.cancel_reason) == (member.key.id, "no need")
        assert cancelled.errors == [f"cancelled by {member.key.id}: no need"]
        assert cancelled.end_time == cancelled.cancel_time >= before
        assert (cancelled.attempt, cancelled.start_time, cancelled.output) == (0, ZERO_TIME, [])
        assert await member.get_process(process_id) == cancelled

    async def test_without_a_reason_none_is_given(self, member):
        cancelled = await member.cancel_process(await submit(member))
        assert (cancelled.errors, cancelled.cancel_reason) == (
            [f"cancelled by {member.key.id}"],
            "",
        )

    async def test_it_is_never_assigned(self, server, member, socket, subscribe, people):
        process_id = await submit(member)
        await member.cancel_process(process_id)
        for latest in (False, True):
            with pytest.raises(NothingToAssign):
                await member.assign_process(timeout=-1, latest=latest)
        await subscribe(socket)
        await server.ticker.run_once()
        assert await socket.pushes_so_far(people.runtime) == []

    @pytest.mark.parametrize("payload", ["close_successful", "close_failed", "release"])
    async def test_nobody_can_end_it(self, member, sql, payload):
        process_id = await submit(member)
        await member.cancel_process(process_id)
        before = await row(sql, process_id)
        for token in ("", "0" * 16):
            failure = await refused(getattr(member, payload)(process_id, attempt_token=token))
            assert isinstance(failure, Forbidden | StaleAttempt)
        assert await row(sql, process_id) == before

    async def test_what_came_back_to_the_queue_waits(self, member, running, lose):
        await lose()
        cancelled = await member.cancel_process(running.process_id)
        assert (cancelled.state, cancelled.attempt) == (State.CANCELLED, 1)
        assert (cancelled.assigned_runtime_id, cancelled.is_assigned) == ("", False)
        with pytest.raises((StaleAttempt, Conflict)):
            await member.close_failed(running.process_id, attempt_token=running.attempt_token)

    async def test_its_time_in_the_queue_does_not_run_out_any_more(self, server, member, sql):
        process_id = await submit(member, max_wait_time=60)
        await member.cancel_process(process_id)
        await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
        await server.ticker.run_once()
        assert (await member.get_process(process_id)).state is State.CANCELLED


class TestRunning:
    async def test_it_goes_on_running_until_it_is_stopped(self, member, owner, running, after):
        cancelling = await owner.cancel_process(running.process_id, "no need")
        assert cancelling.is_cancelling
        assert (cancelling.cancelled_by, cancelling.cancel_reason) == (owner.key.id, "no need")
        assert cancelling.cancel_time > running.start_time
        assert (cancelling.end_time, cancelling.errors) == (ZERO_TIME, [])
        assert (cancelling.assigned_runtime_id, cancelling.attempt) == (member.key.id, 1)
        assert cancelling.attempt_token == ""
        await after(29)
        assert (await member.get_process(running.process_id)).is_cancelling

    @pytest.mark.parametrize("with_token", [False, True])
    async def test_failing_acknowledges_it(self, member, running, with_token):
        await member.cancel_process(running.process_id, "no need")
        token = running.attempt_token if with_token else ""
        await member.close_failed(running.process_id, ["stopped"], attempt_token=token)
        ended = await member.get_process(running.process_id)
        assert (ended.state, ended.errors) == (State.CANCELLED, ["stopped"])
        assert ended.end_time >= ended.cancel_time
        assert (ended.cancelled_by, ended.cancel_reason) == (member.key.id, "no need")

    @pytest.mark.parametrize("with_token", [False, True])
    async def test_releasing_acknowledges_it(self, member, running, with_token):
        await member.cancel_process(running.process_id)
        token = running.attempt_token if with_token else ""
        await member.release(running.process_id, attempt_token=token)
        ended = await member.get_process(running.process_id)
        assert ended.state is State.CANCELLED
        assert ended.errors == ["cancelled, and released by its runtime"]
        with pytest.raises(NothingToAssign):
            await take(member)

    @pytest.mark.parametrize("with_token", [False, True])
    async def test_a_success_stands(self, member, running, with_token):
        await member.cancel_process(running.process_id)
        token = running.attempt_token if with_token else ""
        await member.close_successful(running.process_id, ["done"], attempt_token=token)
        ended = await member.get_process(running.process_id)
        assert (ended.state, ended.output, ended.errors) == (State.SUCCESS, ["done"], [])
        assert ended.cancelled_by == member.key.id

    async def test_the_same_acknowledgement_again_changes_nothing(self, member, running, sql):
        await member.cancel_process(running.process_id)
        token = running.attempt_token
        await member.close_failed(running.process_id, ["stopped"], attempt_token=token)
        before = await row(sql, running.process_id)
        await member.close_failed(running.process_id, ["stopped"], attempt_token=token)
        for other in (
            member.close_failed(running.process_id, ["other"], attempt_token=token),
            member.close_successful(running.process_id, ["done"], attempt_token=token),
        ):
            assert type(await refused(other)) is Conflict
        assert await row(sql, running.process_id) == before

    async def test_its_runtime_may_still_add_what_it_has(self, member, running):
        await member.cancel_process(running.process_id)
        await member.add_attribute(running.process_id, "k", "v")

    async def test_after_the_grace_period_it_is_cancelled_anyway(self, member, running, after, sql):
        await member.cancel_process(running.process_id, "no need")
        await after(31)
        ended = await member.get_process(running.process_id)
        assert ended.state is State.CANCELLED
        assert ended.errors == [f"cancelled by {member.key.id}: no need"]
        assert ended.assigned_runtime_id == member.key.id
        before = await row(sql, running.process_id)
        token = running.attempt_token
        for late in (
            member.close_successful(running.process_id, ["x"], attempt_token=token),
            member.close_failed(running.process_id, ["x"], attempt_token=token),
            member.release(running.process_id, attempt_token=token),
            member.add_attribute(running.process_id, "k", "v", attempt_token=token),
        ):
            assert (await refused(late)).status == 409
        assert await row(sql, running.process_id) == before

    @pytest.mark.settings(cancel_grace=2.0)
    async def test_the_grace_period_is_a_setting(self, member, running, after):
        await member.cancel_process(running.process_id)
        await after(1)
        assert (await member.get_process(running.process_id)).is_cancelling
        await after(1.5)
        assert (await member.get_process(running.process_id)).state is State.CANCELLED

    async def test_many_are_ended_in_one_pass(self, member, after, monkeypatch):
        monkeypatch.setattr("colonies.server.lifecycle.EXPIRY_BATCH", 2)
        for _ in range(5):
            await submit(member)
            await member.cancel_process((await take(member)).process_id)
        await after(31)
        assert (await member.get_colony_stats()).cancelled_processes == 5

    async def test_neither_its_lease_nor_its_time_counts_any_more(
        self, *, server, member, running, lose, sql
    ):
        cancelling = await member.cancel_process(running.process_id)
        assert cancelling.leased_until == cancelling.exec_deadline == ZERO_TIME
        await lose()
        await sql.execute(
            f"UPDATE processes SET exec_deadline = {OVER} WHERE exec_deadline IS NOT NULL"
        )
        await server.ticker.run_once()
        assert (await member.get_process(running.process_id)).is_cancelling

    async def test_deleting_its_runtime_ends_it(self, member, owner, running, people):
        await member.cancel_process(running.process_id)
        waiting = asyncio.ensure_future(owner.wait_for(running.process_id, 20))
        await owner.delete_runtime(people.runtime.id)
        ended = await waiting
        assert (ended.state, ended.errors) == (
            State.CANCELLED,
            ["cancelled, and the runtime deleted"],
        )

    async def test_rejecting_its_runtime_leaves_it_the_grace_period(
        self, member, owner, running, people, after
    ):
        await member.cancel_process(running.process_id)
        await owner.reject_runtime(people.runtime.id)
        assert (await owner.get_process(running.process_id)).is_cancelling
        await after(31)
        assert (await owner.get_process(running.process_id)).state is State.CANCELLED


class TestTwice:
    @pytest.mark.parametrize("starts", [False, True])
    async def test_again_changes_nothing_whoever_asks(self, member, owner, sql, starts):
        process_id = await submit(member)
        if starts:
            await take(member)
        first = await member.cancel_process(process_id, "first")
        before = await row(sql, process_id)
        assert await owner.cancel_process(process_id, "second") == first
        assert await row(sql, process_id) == before

    @pytest.mark.parametrize("end", ["close_successful", "close_failed"])
    @pytest.mark.parametrize("was_cancelling", [False, True])
    async def test_what_has_ended_otherwise_cannot_be_cancelled(
        self, *, member, running, sql, end, was_cancelling
    ):
        if was_cancelling and end == "close_successful":
            await member.cancel_process(running.process_id)
        await getattr(member, end)(running.process_id, ["x"])
        before = await row(sql, running.process_id)
        failure = await refused(member.cancel_process(running.process_id))
        assert type(failure) is Conflict
        assert await row(sql, running.process_id) == before

    async def test_what_was_not_started_in_time_cannot_be_cancelled(self, server, member, sql):
        process_id = await submit(member, max_wait_time=60)
        await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
        await server.ticker.run_once()
        assert type(await refused(member.cancel_process(process_id))) is Conflict

    async def test_what_was_deleted_is_not_there(self, member, running):
        await member.cancel_process(running.process_id)
        await member.delete_process(running.process_id)
        assert isinstance(await refused(member.cancel_process(running.process_id)), NotFound)


class TestWho:
    @pytest.mark.parametrize("who", ["foreigner", "stranger", "server_owner", "other_owner"])
    async def test_nobody_from_outside(self, *, client, people, running, sql, who):
        before = await row(sql, running.process_id)
        theirs = client.acting_as(getattr(people, who))
        failure = await refused(theirs.cancel_process(running.process_id))
        unknown = await refused(theirs.cancel_process("f" * 64))
        assert type(failure) is type(unknown) is NotFound
        assert await row(sql, running.process_id) == before

    async def test_nobody_who_is_not_let_in(self, client, people, running, sql):
        before = await row(sql, running.process_id)
        pending = client.acting_as(people.pending)
        assert type(await refused(pending.cancel_process(running.process_id))) is Forbidden
        assert await row(sql, running.process_id) == before

    async def test_a_fellow_may(self, fellow, running):
        cancelling = await fellow.cancel_process(running.process_id)
        assert cancelling.cancelled_by == fellow.key.id


class TestReason:
    async def test_one_of_1000_characters_is_kept(self, member, running):
        reason = "ü" * 1000
        assert (await member.cancel_process(running.process_id, reason)).cancel_reason == reason

    @pytest.mark.parametrize("reason", ["x" * 1001, 7, ["x"], "a\0b"])
    async def test_one_that_is_too_long_or_no_text_is_malformed(
        self, *, socket, people, running, sql, reason
    ):
        before = await row(sql, running.process_id)
        fields = {"processid": running.process_id, "reason": reason}
        failure = await refused(socket.ask("cancelprocessmsg", fields, people.runtime))
        assert (type(failure), failure.field) == (Malformed, "reason")
        assert await row(sql, running.process_id) == before


class TestSeen:
    """Where cancelled processes are found."""

    async def test_in_statistics_and_lists_of_their_own(self, client, people, member, running):
        waiting = await submit(member)
        for one in (running.process_id, waiting):
            await member.cancel_process(one)
        stats = await member.get_colony_stats()
        assert (stats.cancelled_processes, stats.running_processes) == (1, 1)
        await member.close_failed(running.process_id)
        for stats in (
            await member.get_colony_stats(),
            await client.acting_as(people.server_owner).get_statistics(),
        ):
            assert (stats.cancelled_processes, stats.failed_processes) == (2, 0)
            assert (stats.waiting_processes, stats.running_processes) == (0, 0)
        listed = await member.get_processes(State.CANCELLED)
        assert [one.process_id for one in listed] == [running.process_id, waiting]
        recent = await member.get_process_hist(State.CANCELLED, 1000)
        assert [one.process_id for one in recent] == [running.process_id, waiting]
        for state in (State.WAITING, State.RUNNING, State.SUCCESS, State.FAILED):
            assert await member.get_processes(state) == []

    async def test_another_colony_sees_none_of_them(self, member, foreigner, people, running):
        await member.cancel_process(running.process_id)
        await member.close_failed(running.process_id)
        theirs = people.other_owner.id
        assert (await foreigner.get_colony_stats(theirs)).cancelled_processes == 0
        assert await foreigner.get_processes(State.CANCELLED, colony_id=theirs) == []

    async def test_a_renewal_says_what_to_stop(self, member, running):
        await submit(member)
        other = await take(member)
        assert await member.renew([held(running), held(other)]) == []
        await member.cancel_process(running.process_id)
        for _ in range(2):
            assert await member.renew([held(running), held(other)]) == [running.process_id]
        assert (await member.get_process(running.process_id)).leased_until == ZERO_TIME
        await member.close_failed(running.process_id, attempt_token=running.attempt_token)
        assert await member.renew([held(running)]) == [running.process_id]
