"""Renewing leases: by asking for it, and by any sign of life."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from colonies.core.errors import Malformed
from colonies.core.process import Held, State
from colonies.server import lifecycle
from tests.conftest import held
from tests.server.doors import idle, noticed, refused, talk, until
from tests.server.leases import lease_left, row, submit, take


class TestRenewal:
    """``renewmsg``."""

    async def test_it_begins_the_lease_afresh(self, member, lapse, server, sql):
        await submit(member, lease=600)
        process = await take(member)
        await lapse()
        assert await member.renew([held(process)]) == []
        assert 500 < await lease_left(sql, process.process_id) <= 600
        await server.ticker.run_once()
        assert (await member.get_process(process.process_id)).state is State.RUNNING

    async def test_it_renews_what_it_names_and_no_more(self, member, lapse, server):
        for _ in range(3):
            await submit(member)
        processes = [await take(member) for _ in range(3)]
        await lapse()
        assert await member.renew([held(processes[1])]) == []
        await server.ticker.run_once()
        states = [(await member.get_process(one.process_id)).state for one in processes]
        assert states == [State.WAITING, State.RUNNING, State.WAITING]

    async def test_what_is_not_the_callers_live_attempt_is_told_and_left_alone(
        self, *, member, fellow, foreigner, people, lapse, sql, lose
    ):
        for _ in range(5):
            await submit(member)
        old = await take(member)
        await lose()
        new = await take(fellow)
        assert new.process_id == old.process_id
        kept, closed, deleted, mixed = [await take(member) for _ in range(4)]
        await member.close_successful(closed.process_id)
        await member.delete_process(deleted.process_id)
        await submit(foreigner, colony_id=people.other_owner.id)
        theirs = await foreigner.assign_process(people.other_owner.id, timeout=-1, leased=True)
        waiting = await submit(member)
        await lapse()
        before = await sql.fetch("SELECT * FROM processes WHERE process_id <> $1", kept.process_id)
        lost = {
            "stale": held(old),
            "another's": held(new),
            "closed": held(closed),
            "deleted": held(deleted),
            "wrong token": replace(held(mixed), attempt_token=kept.attempt_token),
            "of another colony": held(theirs),
            "waiting": Held(process_id=waiting),
            "unknown": Held(process_id="no id at all", attempt_token="x"),
        }
        cancel = await member.renew([*lost.values(), held(kept)])
        assert Counter(cancel) == Counter(one.process_id for one in lost.values())
        after = await sql.fetch("SELECT * FROM processes WHERE process_id <> $1", kept.process_id)
        assert sorted(map(repr, after)) == sorted(map(repr, before))
        assert await lease_left(sql, kept.process_id) > 0

    async def test_a_token_is_needed(self, member):
        await submit(member)
        process = await take(member)
        assert await member.renew([Held(process_id=process.process_id)]) == [process.process_id]
        assert (await member.get_process(process.process_id)).state is State.RUNNING

    async def test_the_same_attempt_twice_is_renewed(self, member):
        await submit(member)
        process = await take(member)
        assert await member.renew([held(process)] * 3) == []

    async def test_a_lease_that_has_passed_unnoticed_can_still_be_renewed(
        self, member, lapse, server
    ):
        await submit(member)
        process = await take(member)
        await lapse()
        assert await member.renew([held(process)]) == []
        await server.ticker.run_once()
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)

    async def test_many_renewals_at_once_in_any_order_do_not_stand_in_each_others_way(
        self, server, member
    ):
        for _ in range(60):
            await submit(member)
        held = [lifecycle.Assignment.of(await take(member)) for _ in range(60)]
        orders = [held, held[::-1], held[30:] + held[:30]]
        renewals = (lifecycle.renew(server.db, one) for one in orders * 20)
        assert [len(one) for one in await asyncio.gather(*renewals)] == [60] * 60

    @pytest.mark.parametrize(
        "holding", ["x", [1], ["x"], [{}], [{"processid": 1}], {"processid": "x"}]
    )
    async def test_a_list_that_means_nothing_is_malformed(self, socket, colony, people, holding):
        for payload_type in ("renewmsg", "subscribeassignmentsmsg"):
            fields = {"colonyid": colony, "holding": holding}
            failure = await refused(socket.ask(payload_type, fields, people.runtime))
            assert isinstance(failure, Malformed)
            assert failure.field.startswith("holding")

    async def test_a_subscription_renews_what_it_brings_along(
        self, *, socket, subscribe, member, lapse, sql
    ):
        await submit(member, lease=600)
        process = await take(member)
        await lapse()
        await subscribe(socket, 1, holding=[held(process)])
        assert await lease_left(sql, process.process_id) > 500

    async def test_what_is_brought_along_but_lost_counts_for_nothing(
        self, *, socket, subscribe, member, fellow, lose, sql
    ):
        process_id = await submit(member, priority=1)
        old = await take(member)
        await lose()
        new = await take(fellow)
        before = await row(sql, process_id)
        waiting = await submit(member)
        await subscribe(socket, 1, holding=[held(old), held(new)])
        assert (await socket.pushed()).process_id == waiting
        assert await row(sql, process_id) == before

    async def test_naming_what_another_holds_takes_nothing_from_them(
        self, *, server, socket, subscribe, member, fellow, people, lose, lapse
    ):
        """They keep their credit as it is, and what they say keeps renewing their leases."""
        process_id = await submit(member)
        old = await take(member)
        await lose()
        await subscribe(socket, 1, key=fellow.key)
        new = await socket.pushed()
        assert new.process_id == process_id
        waiting = await submit(member)
        async with talk(server) as stale:
            asked = {"colonyid": people.colony_owner.id, "holding": [held(old)]}
            assert await stale.ask("renewmsg", asked, people.runtime) == {"cancel": [process_id]}
            await noticed(server)
            assert await socket.pushes_so_far(fellow.key) == []
            assert (await member.get_process(waiting)).state is State.WAITING
            await lapse()
            await server.ticker.run_once()
            assert (await member.get_process(process_id)).attempt == 2
            assert (await member.get_process(process_id)).state is State.RUNNING

    async def test_bringing_along_what_another_holds_takes_nothing_from_them(
        self, *, server, socket, subscribe, member, fellow, people, lose, lapse
    ):
        process_id = await submit(member)
        old = await take(member)
        await lose()
        await subscribe(socket, 1, key=fellow.key)
        new = await socket.pushed()
        assert new.process_id == process_id
        async with talk(server) as stale:
            await subscribe(stale, 1, holding=[held(old)])
            await stale.ask("unsubscribemsg", {"subscription": "work"}, people.runtime)
            await lapse()
            await socket.ask("versionmsg", {}, None)
            await server.ticker.run_once()
            assert (await member.get_process(process_id)).attempt == 2
            assert (await member.get_process(process_id)).state is State.RUNNING
            await fellow.close_successful(process_id, attempt_token=new.attempt_token)
            more = await submit(member)
            assert (await socket.pushed()).process_id == more


class TestSignsOfLife:
    """Whatever comes over a connection renews what was pushed over it."""

    @pytest.fixture
    async def working(self, server, socket, subscribe, member):
        """A process pushed over ``socket``, all signs of life so far used up."""
        await submit(member, lease=600)
        await subscribe(socket)
        process = await socket.pushed()
        await server.ticker.run_once()
        return process

    async def is_kept(self, server, member, process) -> bool:
        """Whether the pass leaves the attempt alone."""
        await server.ticker.run_once()
        after = await member.get_process(process.process_id)
        return (after.state, after.attempt, after.retries) == (State.RUNNING, process.attempt, 0)

    @pytest.mark.parametrize("sign", ["call", "refused call", "nonsense", "stranger", "pong"])
    async def test_any_frame_will_do(
        self, *, server, socket, member, people, lapse, sql, working, sign
    ):
        await lapse()
        match sign:
            case "call":
                await socket.ask("getcallermsg", {}, people.runtime)
            case "refused call":
                await refused(socket.ask("getcoloniesmsg", {}, people.runtime))
            case "nonsense":
                await socket.websocket.send("nonsense", text=True)
                await noticed(server)
            case "stranger":
                await socket.ask("versionmsg", {}, None)
            case "pong":
                await socket.websocket.pong()
                await noticed(server)
        assert await self.is_kept(server, member, working)
        assert await lease_left(sql, working.process_id) > 500

    async def test_silence_will_not(self, server, member, lapse, working):
        await lapse()
        assert not await self.is_kept(server, member, working)

    async def test_one_sign_renews_once(self, *, server, socket, member, people, lapse, working):
        await lapse()
        await socket.ask("getcallermsg", {}, people.runtime)
        assert await self.is_kept(server, member, working)
        await lapse()
        assert not await self.is_kept(server, member, working)

    async def test_a_frame_on_another_connection_will_not(
        self, server, member, people, lapse, working
    ):
        await lapse()
        async with talk(server) as other:
            await other.ask("getcallermsg", {}, people.runtime)
            assert not await self.is_kept(server, member, working)

    async def test_everything_held_is_renewed_also_what_was_brought_along(
        self, *, server, socket, subscribe, member, people, lapse
    ):
        for _ in range(4):
            await submit(member, lease=600)
        brought = await take(member)
        await subscribe(socket, 4, holding=[held(brought)])
        processes = [brought, *[await socket.pushed() for _ in range(3)]]
        await server.ticker.run_once()
        await lapse()
        await socket.ask("getcallermsg", {}, people.runtime)
        await server.ticker.run_once()
        for one in processes:
            assert await self.is_kept(server, member, one)

    async def test_what_a_connection_took_by_a_poll_is_not_held_through_it(
        self, server, member, lapse
    ):
        await submit(member)
        process = await take(member)
        await lapse()
        await member.get_caller()
        assert not await self.is_kept(server, member, process)

    @pytest.mark.parametrize("how", ["close", "vanish"])
    async def test_a_connection_that_is_gone_renews_nothing(
        self, *, server, subscribe, member, people, lapse, how
    ):
        await submit(member)
        async with talk(server) as gone:
            await subscribe(gone)
            process = await gone.pushed()
            await gone.ask("getcallermsg", {}, people.runtime)
            await (gone.vanish() if how == "vanish" else gone.websocket.close())
        await until(lambda: not server.hub.holders)
        await lapse()
        await server.ticker.run_once()
        after = await member.get_process(process.process_id)
        assert (after.state, after.retries) == (State.WAITING, 1)

    async def test_what_is_over_is_renewed_no_more(self, server, member, working):
        await member.close_successful(working.process_id, attempt_token=working.attempt_token)
        attempts, _ = server.hub.renewals()
        assert attempts == []

    async def test_between_renewals_a_pass_only_expires(
        self, *, server, socket, people, member, lapse, working
    ):
        await lapse()
        await socket.ask("getcallermsg", {}, people.runtime)
        await server.ticker.run_once(stir=False)
        assert (await member.get_process(working.process_id)).retries == 1

    async def test_a_silent_connection_is_not_given_back_what_it_lost(
        self, *, server, member, fellow, subscribe, lapse, working
    ):
        """Somebody who speaks is idle: it is for them."""
        async with talk(server) as speaking:
            await subscribe(speaking, key=fellow.key)
            await idle(server, 1)
            await lapse()
            await server.ticker.run_once()
            async with asyncio.timeout(60):
                while (await member.get_process(working.process_id)).state is State.WAITING:
                    await asyncio.sleep(0)
            after = await member.get_process(working.process_id)
            assert after.assigned_runtime_id == fellow.key.id
