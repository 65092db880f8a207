"""Hubs on one database hear of each other's changes at once: no ticker runs here."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from colonies.core.errors import Failure, Forbidden
from colonies.core.identity import PrivateKey
from colonies.core.process import FINAL_STATES, State
from colonies.core.runtime import Figures
from colonies.server.app import Server
from colonies.server.news import MAX_PENDING
from colonies.server.parties import NOBODY
from tests.conftest import add_runtime
from tests.server.doors import LONG, failure_of, idle, refused, until
from tests.server.hubs import acquainted, reaching, terminate_session
from tests.server.leases import OVER, listeners, submit


async def at_once(awaitable):
    """Nobody looks by himself here: what comes at all comes by being told."""
    async with asyncio.timeout(LONG):
        return await awaitable


@pytest.fixture
async def other(second, server):
    """A second hub on the same database, which the first knows of."""
    await acquainted(server, second)
    return second


@pytest.fixture
def following(away, people):
    """Subscribe to one process at the other hub."""

    async def following(process_id, states=FINAL_STATES, name="follow"):
        fields = {"processid": process_id, "states": list(states)}
        await away.ask("subscribeprocessmsg", fields, people.runtime, name)

    return following


@pytest.fixture
async def working(away, subscribe, member, other):
    """A process that was pushed to our runtime at the other hub."""
    await submit(member, max_exec_time=60)
    await subscribe(away)
    return await away.pushed()


class TestWork:
    async def test_a_submit_wakes_a_long_poll_at_the_other_hub(self, other, there, member):
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        process_id = await submit(member)
        assert (await at_once(waiting)).process_id == process_id

    async def test_a_submit_is_pushed_at_the_other_hub(self, other, away, subscribe, member):
        await subscribe(away)
        await idle(other, 1)
        process_id = await submit(member)
        assert (await at_once(away.pushed())).process_id == process_id

    async def test_what_is_addressed_to_a_runtime_finds_it_at_the_other_hub(
        self, other, away, subscribe, member, people
    ):
        await subscribe(away)
        await idle(other, 1)
        process_id = await submit(member, runtime_type="", runtime_ids=[people.runtime.id])
        assert (await at_once(away.pushed())).process_id == process_id

    async def test_a_release_wakes_whoever_is_idle_at_the_other_hub(
        self, other, there, member, fellow
    ):
        await submit(member)
        process = await fellow.assign_process(timeout=-1)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        await fellow.release(process.process_id, attempt_token=process.attempt_token)
        assert (await at_once(waiting)).process_id == process.process_id


class TestFollower:
    async def test_who_waits_hears_of_an_end_at_the_other_hub(self, there, member):
        process = await member.submit("work", runtime_type="cli")
        waiting = asyncio.ensure_future(there.wait_for(process.id))
        assigned = await member.assign_process(timeout=-1)
        await member.close_successful(assigned.process_id, ["done"])
        ended = await at_once(waiting)
        assert (ended.state, ended.output) == (State.SUCCESS, ["done"])

    async def test_every_change_is_pushed_once_and_in_order(self, away, following, member, people):
        process_id = await submit(member)
        await following(process_id, states=State)
        seen = [(await away.pushed()).state]
        process = await member.assign_process(timeout=-1)
        seen.append((await at_once(away.pushed())).state)
        await member.close_successful(process.process_id)
        seen.append((await at_once(away.pushed())).state)
        assert seen == [State.WAITING, State.RUNNING, State.SUCCESS]
        assert await away.pushes_so_far(people.runtime) == []

    async def test_who_watches_a_type_hears_of_it(self, away, member, people):
        fields = {"runtimetype": "cli", "states": [0, 2]}
        await away.ask("subscribeprocessesmsg", fields, people.runtime, "watch")
        process_id = await submit(member)
        assert (await at_once(away.pushed())).process_id == process_id
        await member.assign_process(timeout=-1)
        await member.close_successful(process_id)
        assert (await at_once(away.pushed())).state is State.SUCCESS

    async def test_nobody_hears_of_another_colony(self, away, member, people, foreigner):
        fields = {"runtimetype": "cli", "states": [0]}
        await away.ask("subscribeprocessesmsg", fields, people.foreigner, "watch")
        await submit(member)
        theirs = await foreigner.submit(
            "work", people.other_owner.id, runtime_type="cli", colony_id=people.other_owner.id
        )
        assert (await at_once(away.pushed())).process_id == theirs.id
        assert await away.pushes_so_far(people.foreigner) == []

    async def test_a_deleted_process_ends_what_follows_it(self, away, following, member):
        process_id = await submit(member)
        await following(process_id)
        await member.delete_process(process_id)
        failure = await at_once(ended(away))
        assert "was deleted" in failure

    async def test_so_does_the_deletion_of_all(self, away, following, member, owner):
        await following(await submit(member))
        await owner.delete_all_processes()
        assert "was deleted" in await at_once(ended(away))


async def ended(talk) -> str:
    return failure_of(await talk.push()).message


class TestHolder:
    async def test_a_cancel_reaches_it_at_once(self, away, working, owner):
        await owner.cancel_process(working.process_id, "no need")
        told = await at_once(away.pushed())
        assert (told.is_cancelling, told.cancel_reason) == (True, "no need")

    async def test_a_cancel_is_told_once(self, away, working, owner, other, people):
        for _ in range(3):
            await owner.cancel_process(working.process_id)
        await at_once(away.pushed())
        await other.ticker.run_once()
        assert await away.pushes_so_far(people.runtime) == []

    async def test_an_expiry_found_by_one_hub_frees_credit_at_the_other(
        self, away, working, server, sql
    ):
        await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
        await server.ticker.run_once(stir=False)
        told = await at_once(away.pushed())
        assert (told.process_id, told.attempt_token) == (working.process_id, "")
        again = await at_once(away.pushed())
        assert (again.process_id, again.attempt) == (working.process_id, 2)

    async def test_a_close_at_one_hub_frees_credit_at_the_other(self, away, working, member):
        second = await submit(member)
        await member.close_successful(working.process_id, attempt_token=working.attempt_token)
        assert (await at_once(away.pushed())).process_id == second

    async def test_a_lost_lease_gives_nothing_more_to_the_silent(
        self, *, away, working, server, other, lapse, people
    ):
        await lapse()
        await server.ticker.run_once(stir=False)
        assert (await at_once(away.pushed())).process_id == working.process_id
        await until(lambda: not other.hub.holders)
        assert await server.db.fetch_value("get_schema_version")
        pushed = await away.pushes_so_far(people.runtime)  # a sign of life
        if not pushed:
            pushed = [await at_once(away.push())]
        assert len(pushed) == 1

    @pytest.mark.parametrize("everything", [False, True])
    async def test_a_deletion_frees_credit(self, away, working, member, owner, everything):
        if everything:
            await owner.delete_all_processes()
        else:
            await member.delete_process(working.process_id)
        after = await submit(member)
        assert (await at_once(away.pushed())).process_id == after


class TestMembership:
    @pytest.mark.parametrize("how", ["reject", "delete"])
    async def test_who_is_shut_out_is_out_everywhere(
        self, *, there, other, away, subscribe, following, owner, people, member, how
    ):
        await following(await submit(member))
        await member.assign_process(timeout=-1)
        await subscribe(away)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 2)
        await getattr(owner, f"{how}_runtime")(people.runtime.id)
        assert isinstance(await at_once(refused(waiting)), Forbidden)
        assert "is not approved" in await at_once(ended(away)) + await at_once(ended(away))
        await until(lambda: not listeners(other))
        async with asyncio.timeout(LONG):
            while not isinstance(await refusal(there.get_processes(State.WAITING)), Forbidden):
                pass

    async def test_who_has_more_now_is_given_more_everywhere(self, other, away, subscribe, member):
        await subscribe(away)
        await idle(other, 1)
        process_id = await submit(member, cores=64)
        await member.update_runtime(Figures(cores=64, mem=1, gpus=0))
        assert (await at_once(away.pushed())).process_id == process_id

    async def test_who_is_let_in_is_in_everywhere(self, other, owner, people, monkeypatch):
        monkeypatch.setattr("colonies.server.members.LIFETIME", 3600.0)
        async with reaching(other, people.pending) as pending:
            assert isinstance(await refusal(pending.get_processes(State.WAITING)), Forbidden)
            await owner.approve_runtime(people.pending.id)
            async with asyncio.timeout(LONG):
                while await refusal(pending.get_processes(State.WAITING)):
                    pass

    async def test_a_deleted_colony_is_gone_everywhere(self, there, other, client, people, colony):
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        await client.acting_as(people.server_owner).delete_colony(colony)
        assert "was deleted" in str(await at_once(refused(waiting)))


async def refusal(awaitable) -> Failure | None:
    try:
        await awaitable
    except Failure as failure:
        return failure
    return None


class Ear:
    """A connection that hears everything that hubs tell each other."""

    def __init__(self) -> None:
        self.payloads: list[str] = []

    def news(self) -> list[str]:
        return [one for one in self.payloads if '"beat"' not in one]


@asynccontextmanager
async def ear(sql):
    ear = Ear()

    def hear(*heard):
        ear.payloads.append(heard[-1])

    await sql.add_listener("colonies", hear)
    yield ear
    await sql.remove_listener("colonies", hear)


class TestTelling:
    async def test_a_single_hub_tells_nobody(self, member, sql, owner, people):
        async with ear(sql) as heard:
            await submit(member)
            await member.close_successful((await member.assign_process(timeout=-1)).process_id)
            await owner.reject_runtime(people.runtime.id)
            await until(lambda: heard.payloads)  # a beat, sent after all that
            assert heard.news() == []

    async def test_it_stops_when_the_other_hub_has_gone(self, settings, server, member, sql):
        async with Server(settings) as other:
            await acquainted(server, other)
        assert await sql.fetchval("SELECT count(*) FROM hubs") == 1
        await until(lambda: not server.peers._others)
        async with ear(sql) as heard:
            await submit(member)
            await until(lambda: heard.payloads)
            assert heard.news() == []

    @pytest.mark.usefixtures("other")
    async def test_what_comes_together_is_told_together(self, server, sql):
        colony = "c" * 64
        async with ear(sql) as heard:
            for number in range(MAX_PENDING):
                server.news.remove(colony, f"{number:064x}")
            await until(lambda: len(heard.news()) > MAX_PENDING // 50)
            assert not server.news._removed
            assert len(heard.news()) < 300

    async def test_a_storm_stays_bounded_and_ends_in_a_look(
        self, server, other, there, member, monkeypatch
    ):
        """What is dropped is found all the same: the other hub is told to look for itself."""
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        sizes = []
        with monkeypatch.context() as patch:
            patch.setattr(server.hub, "_outlet", NOBODY)
            process_id = await submit(member)  # of which nothing is told
        for number in range(5 * MAX_PENDING):
            server.news.remove("c" * 64, f"{number:064x}")
            sizes.append(len(server.news._removed))
        assert max(sizes) <= MAX_PENDING
        assert (await at_once(waiting)).process_id == process_id

    async def test_what_nobody_understands_is_passed_over(self, other, sql, there, member):
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        for text in ("", "nonsense", "[]", '{"hub": 7}', '{"hub": "x", "changed": {"c": [[1]]}}'):
            await sql.execute("SELECT pg_notify('colonies', $1)", text)
        process_id = await submit(member)
        assert (await at_once(waiting)).process_id == process_id

    async def test_the_last_news_of_a_hub_that_stops_are_told(
        self, settings, server, member, people, sql
    ):
        async with Server(settings) as other:
            await acquainted(server, other)
            async with reaching(other, people.runtime) as there:
                await submit(member)
                process = await there.assign_process(timeout=-1)
            async with ear(sql) as heard:
                other.news.remove("c" * 64, process.process_id)
                await other.__aexit__(None, None, None)
                await until(lambda: any(process.process_id in one for one in heard.payloads))


class TestHearing:
    async def test_a_cut_connection_comes_back_and_nothing_is_lost(
        self, *, other, there, following, away, member, sql, log
    ):
        """Everything that is not told meanwhile is looked up afterwards."""
        followed = await submit(member)
        await following(followed)
        running = await member.assign_process(timeout=-1)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        await terminate_session(sql, other)
        await until(lambda: any(one["event"] == "hub deaf" for one in log))
        process_id = await submit(member)
        await member.close_successful(running.process_id)
        async with asyncio.timeout(LONG):
            assert (await waiting).process_id == process_id
            assert (await away.pushed()).state is State.SUCCESS

    async def test_who_does_not_hear_its_own_beat_connects_anew(
        self, settings, monkeypatch, sql, log
    ):
        """A connection that looks alive but brings no notifications."""
        monkeypatch.setattr("colonies.server.peers.BEAT", 0.01)
        monkeypatch.setattr("colonies.server.peers.BEAT_DEADLINE", 0.5)
        async with Server(settings) as other:
            hear = "SELECT backend FROM hubs WHERE hub_id = $1"
            before = await sql.fetchval(hear, other.hub.id)
            deaf = other.peers._beat
            other.peers._is_beat_heard.set = lambda: None
            await until(lambda: other.peers._beat != deaf)
            async with asyncio.timeout(LONG):
                while not [one for one in log if one["event"] == "hub deaf"]:
                    await asyncio.sleep(0)
                del other.peers._is_beat_heard.set
                while await sql.fetchval(hear, other.hub.id) == before:
                    pass

    async def test_all_backends_killed_and_both_hubs_hear_again(
        self, *, server, other, there, member, sql, log
    ):
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'colonies'"
        )
        # Counted, for one may hear again before the other has noticed anything.
        for event in ("hub deaf", "hub hears again"):
            await until(lambda event=event: len([x for x in log if x["event"] == event]) >= 2)
        await acquainted(server, other)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        process_id = await submit(member)
        assert (await at_once(waiting)).process_id == process_id


class TestRegistry:
    async def test_every_hub_is_listed_and_one_leads(self, client, people, server, other):
        cluster = await client.acting_as(people.server_owner).get_cluster()
        assert {one.hub_id for one in cluster.nodes} == {server.hub.id, other.hub.id}
        assert {one.api_port for one in cluster.nodes} == {server.port, other.port}
        assert [one for one in cluster.nodes if one.is_leader] == [cluster.leader]
        assert cluster.leader.hub_id == server.hub.id
        assert cluster.answered_by == server.hub.id

    @pytest.mark.usefixtures("other")
    async def test_a_hub_that_has_not_been_seen_does_not_count(self, client, people, server, sql):
        ghost = "INSERT INTO hubs VALUES ('ghost', '', '', 1, '', now(), now() - $1::interval, 0)"
        await sql.execute(ghost.replace("$1", "'11 s'"))
        cluster = await client.acting_as(people.server_owner).get_cluster()
        assert "ghost" not in {one.hub_id for one in cluster.nodes}
        await sql.execute("UPDATE hubs SET last_seen = now() - interval '2 min' WHERE port = 1")
        while await sql.fetchval("SELECT count(*) FROM hubs") > 2:
            await asyncio.sleep(0)
        assert "ghost" not in server.peers._others

    @pytest.mark.usefixtures("server")
    async def test_a_row_that_was_deleted_comes_back(self, sql):
        await sql.execute("DELETE FROM hubs")
        while not await sql.fetchval("SELECT count(*) FROM hubs"):
            await asyncio.sleep(0)


async def test_a_new_runtime_may_work_at_every_hub(owner, people, other, client):
    key = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, key)
    async with reaching(other, key) as added:
        assert await added.get_processes(State.WAITING) == []
