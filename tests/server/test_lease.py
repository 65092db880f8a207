"""Leases: how long an attempt may be silent, beside its other limits."""

import pytest

from colonies.core.errors import Malformed
from colonies.core.process import USUAL_LEASE, State
from colonies.core.wire import ZERO_TIME
from tests.conftest import held
from tests.server.doors import refused, until
from tests.server.leases import OVER, row, submit, take

LONG_LEASE = 3600
"""Seconds: longer than a test takes, however slow the machine is."""


class TestLease:
    """How long an attempt may be silent."""

    @pytest.mark.parametrize(("lease", "seconds"), [(0, USUAL_LEASE), (1, 1), (86_400, 86_400)])
    @pytest.mark.parametrize("how", ["poll", "push"])
    async def test_it_is_as_long_as_the_spec_says(
        self, *, member, socket, subscribe, lease, seconds, how
    ):
        process_id = await submit(member, lease=lease)
        if how == "push":
            await subscribe(socket)
        process = await (take(member) if how == "poll" else socket.pushed())
        assert (process.leased_until - process.start_time).total_seconds() == seconds
        assert (await member.get_process(process_id)).leased_until == process.leased_until
        assert process.spec.lease == lease

    async def test_without_asking_for_one_it_has_no_end(self, member, lapse, server, sql):
        await submit(member, lease=1)
        process = await member.assign_process(timeout=-1)
        assert process.leased_until == ZERO_TIME
        await lapse()
        await server.ticker.run_once()
        assert await member.renew([held(process)]) == []
        running = await member.get_process(process.process_id)
        assert (running.state, running.leased_until) == (State.RUNNING, ZERO_TIME)
        assert (await row(sql, process.process_id))["leased_until"] is None
        await member.close_successful(process.process_id, ["v1"])

    async def test_what_does_not_run_has_none(self, member, lose):
        process_id = await submit(member)
        assert (await member.get_process(process_id)).leased_until == ZERO_TIME
        await take(member)
        await member.release(process_id)
        assert (await member.get_process(process_id)).leased_until == ZERO_TIME
        await take(member)
        await lose()
        assert (await member.get_process(process_id)).leased_until == ZERO_TIME

    async def test_what_ended_is_not_lost_whatever_its_lease_says(self, member, server, sql):
        await submit(member)
        process = await take(member)
        await member.close_successful(process.process_id, ["done"])
        await sql.execute(f"UPDATE processes SET leased_until = {OVER}")
        await server.ticker.run_once()
        ended = await member.get_process(process.process_id)
        assert (ended.state, ended.output, ended.retries) == (State.SUCCESS, ["done"], 0)

    @pytest.mark.parametrize("lease", [-1, 86_401, 2**31, -(2**31)])
    async def test_one_that_means_nothing_is_refused(self, socket, colony, people, lease):
        spec = {"conditions": {"colonyid": colony}, "lease": lease}
        failure = await refused(socket.ask("submitprocessespecmsg", {"spec": spec}, people.runtime))
        assert isinstance(failure, Malformed)
        assert failure.field == "spec.lease"

    async def test_a_null_is_the_usual_one(self, socket, colony, people):
        spec = {"conditions": {"colonyid": colony}, "lease": None}
        process = await socket.ask("submitprocessespecmsg", {"spec": spec}, people.runtime)
        assert process["spec"]["lease"] == 0

    async def test_it_passes_for_those_whose_time_has_come_and_for_nobody_else(
        self, member, server, sql
    ):
        ids = [await submit(member) for _ in range(3)]
        for _ in ids:
            await take(member)
        text = f"UPDATE processes SET leased_until = {OVER} WHERE process_id = $1"
        await sql.execute(text, ids[1])
        await server.ticker.run_once()
        states = [(await member.get_process(one)).state for one in ids]
        assert states == [State.RUNNING, State.WAITING, State.RUNNING]


class TestWithDeadlines:
    """Leases beside the limits of waiting and executing."""

    async def test_both_at_once_count_as_one_return(self, server, member, sql, lapse):
        process_id = await submit(member, max_exec_time=60)
        await take(member)
        await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
        await lapse()
        await server.ticker.run_once()
        process = await member.get_process(process_id)
        assert (process.state, process.retries) == (State.WAITING, 1)

    async def test_a_renewal_does_not_put_off_the_limit_of_executing(self, server, member, sql):
        process_id = await submit(member, max_exec_time=60, max_retries=0)
        process = await take(member)
        await member.renew([held(process)])
        after = await member.get_process(process_id)
        assert after.exec_deadline == process.exec_deadline
        await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
        await server.ticker.run_once()
        process = await member.get_process(process_id)
        assert process.errors == ["Maximum execution time limit exceeded"]

    async def test_what_came_back_waits_no_longer_than_it_may(self, server, member, sql, lose):
        process_id = await submit(member, max_wait_time=60)
        await take(member)
        await lose()
        await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
        await server.ticker.run_once()
        process = await member.get_process(process_id)
        assert process.errors == ["Maximum waiting time limit exceeded"]
        assert (process.state, process.retries) == (State.FAILED, 1)

    async def test_returns_of_both_kinds_use_up_the_same_retries(self, server, member, sql, lose):
        process_id = await submit(member, max_exec_time=60, max_retries=2)
        await take(member)
        await lose()
        await take(member)
        await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
        await server.ticker.run_once()
        await take(member)
        await lose()
        process = await member.get_process(process_id)
        assert (process.state, process.retries) == (State.FAILED, 2)
        assert process.errors == [f"Lease lost by runtime {member.key.id}"]

    @pytest.mark.parametrize("how", ["reject", "delete"])
    async def test_a_runtime_shut_out_keeps_nothing(
        self, *, server, socket, subscribe, owner, member, people, lapse, how
    ):
        await submit(member)
        await subscribe(socket)
        process = await socket.pushed()
        await getattr(owner, f"{how}_runtime")(people.runtime.id)
        assert (await socket.push()).error
        renewal = {"colonyid": owner.key.id, "holding": [held(process)]}
        await refused(socket.ask("renewmsg", renewal, people.runtime))
        await lapse()
        await server.ticker.run_once()
        after = await owner.get_process(process.process_id)
        assert after.state is State.WAITING
        assert after.retries == (1 if how == "reject" else 0)
        assert after.leased_until == ZERO_TIME


class TestTheRealLoop:
    @pytest.mark.settings(tick=0.01)
    async def test_it_leaves_leases_alone_at_first_and_renews_now_and_then(
        self, server, monkeypatch, member, lapse
    ):
        await submit(member, lease=LONG_LEASE)
        process = await take(member)
        await lapse()
        passes = []
        once = server.ticker.run_once

        async def noted(**options):
            passes.append(options)
            await once(**options)

        monkeypatch.setattr(server.ticker, "run_once", noted)
        await until(lambda: len(passes) > 25)
        assert all(one["up_for"] < LONG_LEASE for one in passes)
        assert 2 <= sum(one["stir"] for one in passes[:25]) <= 3
        assert (await member.get_process(process.process_id)).state is State.RUNNING
        await once()
        assert (await member.get_process(process.process_id)).state is State.WAITING

    @pytest.mark.settings(tick=0.01)
    async def test_a_clock_that_is_put_forward_ends_no_lease(self, server, member, lapse, log):
        """Nobody could renew in an hour that was none."""
        await submit(member, lease=LONG_LEASE)
        process = await take(member)
        await until(lambda: server.ticker._steps._least > 0)
        server.ticker._up_since -= 2 * LONG_LEASE
        server.ticker._steps._least -= 3600  # as if it had said an hour less
        server.ticker._steps._most -= 3600
        await lapse()
        server.ticker._quiet_until = 0
        await until(lambda: any(one["event"] == "clock stepped" for one in log))
        (event,) = [one for one in log if one["event"] == "clock stepped"]
        assert 3590 < event["seconds"] <= 3600
        looked = server.ticker._quiet_until
        await until(lambda: server.ticker._quiet_until > looked)
        assert (await member.get_process(process.process_id)).state is State.RUNNING
