"""Attempts and leases: one writer at a time, and nobody keeps a process by being silent."""

import asyncio
from collections import Counter

import asyncpg
import pytest
from msgspec.structs import replace

from colonies.core import wire
from colonies.core.envelope import unpack
from colonies.core.errors import (
    Conflict,
    Failure,
    Forbidden,
    Malformed,
    NotFound,
    StaleAttempt,
)
from colonies.core.identity import PrivateKey
from colonies.core.process import USUAL_LEASE, Held, Process, State
from colonies.core.wire import ZERO_TIME
from colonies.server import lifecycle
from colonies.server.db import Database
from tests.conftest import add_runtime, held
from tests.server.doors import idle, noticed, refused, talk, until

OVER = "now() - interval '1 s'"


@pytest.fixture
async def others(client, people, colony):
    """Three more approved runtimes of our colony."""
    keys = [PrivateKey.generate() for _ in range(3)]
    for key in keys:
        await add_runtime(client, people.colony_owner, key)
    return [client.acting_as(key) for key in keys]


@pytest.fixture
def fellow(others):
    """Another approved runtime of our colony."""
    return others[0]


@pytest.fixture
def owner(client, people, colony):
    return client.acting_as(people.colony_owner)


@pytest.fixture
def foreigner(client, people, colony):
    return client.acting_as(people.foreigner)


@pytest.fixture
def lapse(sql):
    """Let every lease that has an end have passed."""

    async def lapse() -> None:
        await sql.execute(
            f"UPDATE processes SET leased_until = {OVER} "
            "WHERE state = 1 AND leased_until IS NOT NULL"
        )

    return lapse


@pytest.fixture
def lose(server, lapse):
    """Let every lease pass and have it noticed."""

    async def lose() -> None:
        await lapse()
        await server.ticker.run_once(stir=False)

    return lose


@pytest.fixture
def subscribe(colony, people):
    async def subscribe(talk, credit=1, name="work", key=people.runtime, **more):
        fields = {"colonyid": colony, "credit": credit} | more
        return await talk.ask("subscribeassignmentsmsg", fields, key, name)

    return subscribe


async def submit(member, **options) -> str:
    return (await member.submit("work", **{"runtime_type": "cli", "max_retries": -1} | options)).id


async def take(member) -> Process:
    return await member.assign_process(timeout=-1, leased=True)


def listeners(server) -> int:
    return len({one for group in server.hub._listeners.values() for one in group})


async def row(sql, process_id: str) -> asyncpg.Record:
    """Give the row of a process, whole, to see that nothing was changed."""
    return await sql.fetchrow("SELECT * FROM processes WHERE process_id = $1", process_id)


async def lease_left(sql, process_id: str) -> float:
    """Give the seconds until a lease passes, by the clock that counts."""
    text = "SELECT extract(epoch FROM leased_until - now()) FROM processes WHERE process_id = $1"
    return float(await sql.fetchval(text, process_id))


async def expired(db):
    """Act on everything that is due, and give what has changed."""
    return [process async for batch, _ in lifecycle.expire(db, grace=30) for process in batch]


class TestToken:
    """Who is told what of an attempt."""

    async def test_attempts_are_counted_from_1_and_each_has_a_token_of_its_own(self, member):
        process_id = await submit(member)
        assert (await member.get_process(process_id)).attempt == 0
        tokens = []
        for number in range(1, 5):
            process = await take(member)
            assert process.attempt == number
            assert (await member.get_process(process_id)).attempt == number
            tokens.append(process.attempt_token)
            await member.release(process_id)
        assert len(set(tokens)) == 4
        assert all(len(token) == 16 and int(token, 16) >= 0 for token in tokens)
        assert all(token == token.lower() for token in tokens)

    async def test_processes_claimed_together_have_different_tokens(
        self, socket, subscribe, member
    ):
        for _ in range(5):
            await submit(member)
        await subscribe(socket, 5)
        assert len({(await socket.pushed()).attempt_token for _ in range(5)}) == 5

    async def test_an_assignment_that_is_pushed_comes_with_its_token(
        self, socket, subscribe, member
    ):
        await submit(member)
        await subscribe(socket)
        process = await socket.pushed()
        assert (process.attempt, len(process.attempt_token)) == (1, 16)
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)

    async def test_nobody_else_ever_sees_a_token(
        self, *, server, member, fellow, people, colony, subscribe, lose
    ):
        """Whatever the hub says to others, in every state and through every door."""
        said: list[str] = []
        tokens: list[str] = []
        async with talk(server) as watcher, talk(server, "/pubsub") as v1, talk(server) as worker:
            watch = {"runtimetype": "cli", "states": list(State)}
            await watcher.ask("subscribeprocessesmsg", watch, fellow.key, "all")
            for state in State:
                fields = {"runtimetype": "cli", "state": state, "timeout": 100}
                await v1.send("subscribeprocessesmsg", fields, fellow.key)
            await until(lambda: listeners(server) == 1 + len(State))

            async def look(process: Process) -> None:
                tokens.append(process.attempt_token)
                asked = {"processid": process.process_id, "colonyid": colony, "count": 100}
                for state in State:
                    some = asked | {"state": state, "seconds": 1000}
                    for payload_type in ("getprocessesmsg", "getprocesshistmsg", "getprocessmsg"):
                        for key in (fellow.key, people.colony_owner, people.runtime):
                            answer = await watcher.ask(payload_type, some, key)
                            said.append(wire.encode(answer).decode())

            # By the long poll, released, lost, closed; then pushed and failed.
            process_id = await submit(member)
            at_once = {"processid": process_id, "states": [1]}
            process = await take(member)
            await watcher.ask("subscribeprocessmsg", at_once, fellow.key, "one")
            await look(process)
            await member.release(process_id, attempt_token=process.attempt_token)
            await look(await take(member))
            await lose()
            process = await take(member)
            await member.close_successful(process_id, ["x"], attempt_token=process.attempt_token)
            await look(process)
            await submit(member)
            await subscribe(worker)
            process = await worker.pushed()
            await look(process)
            refusals = [
                await refused(one.close_failed(process.process_id, attempt_token="0" * 16))
                for one in (member, fellow)
            ]
            said += [refusal.message for refusal in refusals]
            await member.close_failed(process.process_id, attempt_token=process.attempt_token)
            await look(process)
            pushes = await watcher.pushes_so_far(fellow.key)
            # Four starts, two returns, two submits, two ends; "one" saw three starts and what is.
            assert len(pushes) == 10 + 3
            said += [unpack(push.payload).decode() for push in pushes]
            async with asyncio.timeout(20):
                for _ in range(10):
                    frame = wire.decode(await v1.websocket.recv(), dict)
                    said.append(unpack(frame["payload"]).decode())
        assert len(set(tokens)) == 4
        assert [one for one in said if any(token in one for token in tokens)] == []
        assert not any('"attempttoken":"' in one.replace('"attempttoken":""', "") for one in said)

    async def test_a_long_poll_of_v1_learns_its_token_too_and_may_use_it(self, member):
        await submit(member)
        process = await member.assign_process(timeout=-1)
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)


async def by_close(runtime, process_id: str, token: str) -> None:
    await runtime.close_successful(process_id, ["late"], attempt_token=token)


async def by_failure(runtime, process_id: str, token: str) -> None:
    await runtime.close_failed(process_id, ["late"], attempt_token=token)


async def by_release(runtime, process_id: str, token: str) -> None:
    await runtime.release(process_id, attempt_token=token)


async def by_attribute(runtime, process_id: str, token: str) -> None:
    await runtime.add_attribute(process_id, "late", "late", attempt_token=token)


@pytest.mark.parametrize("write", [by_close, by_failure, by_release, by_attribute])
class TestOneWriter:
    """Only the attempt that is running can write anything."""

    async def refuse(self, sql, process_id, writing, kind=StaleAttempt) -> Failure:
        """Check that a write is refused and has changed nothing."""
        before = await row(sql, process_id)
        with pytest.raises(kind) as refusal:
            await writing
        assert await row(sql, process_id) == before
        assert await sql.fetchval("SELECT count(*) FROM attributes") == 0
        return refusal.value

    async def test_the_running_attempt_can(self, member, write):
        await submit(member)
        process = await take(member)
        await write(member, process.process_id, process.attempt_token)

    async def test_an_attempt_whose_process_went_to_another_cannot(
        self, *, member, fellow, lose, sql, write
    ):
        await submit(member)
        old = await take(member)
        await lose()
        new = await take(fellow)
        assert (new.process_id, new.attempt) == (old.process_id, 2)
        for _ in range(2):
            refusal = await self.refuse(
                sql, old.process_id, write(member, old.process_id, old.attempt_token)
            )
            assert (refusal.status, refusal.code) == (409, "stale_attempt")
        await fellow.close_successful(new.process_id, ["mine"], attempt_token=new.attempt_token)
        await self.refuse(sql, old.process_id, write(member, old.process_id, old.attempt_token))

    async def test_an_old_attempt_cannot_even_if_the_newer_is_the_same_runtimes(
        self, *, member, lose, sql, write
    ):
        await submit(member)
        old = await take(member)
        await lose()
        new = await take(member)
        await self.refuse(sql, old.process_id, write(member, old.process_id, old.attempt_token))
        assert (await member.get_process(old.process_id)).state is State.RUNNING
        await write(member, new.process_id, new.attempt_token)

    async def test_an_attempt_that_lost_its_lease_cannot_while_the_process_waits(
        self, *, member, lose, sql, write
    ):
        await submit(member)
        old = await take(member)
        await lose()
        refusal = await self.refuse(
            sql, old.process_id, write(member, old.process_id, old.attempt_token), Conflict
        )
        assert refusal.status == 409

    async def test_the_token_of_another_process_of_the_caller_is_worth_nothing(
        self, member, sql, write
    ):
        for _ in range(2):
            await submit(member)
        one, two = [await take(member) for _ in range(2)]
        await self.refuse(sql, one.process_id, write(member, one.process_id, two.attempt_token))

    @pytest.mark.parametrize("token", ["0" * 16, "x", "f" * 10_000, "' OR true --", " "])
    async def test_a_token_that_is_none_is_worth_nothing(self, *, member, sql, write, token):
        await submit(member)
        process = await take(member)
        await self.refuse(sql, process.process_id, write(member, process.process_id, token))

    async def test_a_token_makes_nobody_else_the_assignee(self, *, member, fellow, sql, write):
        await submit(member)
        process = await take(member)
        await self.refuse(
            sql,
            process.process_id,
            write(fellow, process.process_id, process.attempt_token),
            (StaleAttempt, Forbidden),
        )

    async def test_a_runtime_of_another_colony_finds_nothing_whatever_its_token(
        self, *, member, foreigner, people, sql, write
    ):
        await submit(member)
        mine = await take(member)
        await submit(foreigner, colony_id=people.other_owner.id)
        theirs = await foreigner.assign_process(people.other_owner.id, timeout=-1)
        for token in ("", mine.attempt_token, theirs.attempt_token):
            await self.refuse(
                sql, mine.process_id, write(foreigner, mine.process_id, token), NotFound
            )

    async def test_without_a_token_only_the_assignee_can(self, *, member, fellow, lose, sql, write):
        await submit(member)
        process_id = (await take(member)).process_id
        await self.refuse(sql, process_id, write(fellow, process_id, ""), Forbidden)
        await lose()
        await self.refuse(sql, process_id, write(member, process_id, ""), Forbidden)
        await take(fellow)
        await self.refuse(sql, process_id, write(member, process_id, ""), Forbidden)
        await write(fellow, process_id, "")

    async def test_a_deleted_process_is_not_there(self, *, member, sql, write):
        await submit(member)
        process = await take(member)
        await member.delete_process(process.process_id)
        await self.refuse(
            sql,
            process.process_id,
            write(member, process.process_id, process.attempt_token),
            NotFound,
        )


class TestRepeat:
    """The same close again is harmless, from the same attempt."""

    @pytest.mark.parametrize("with_token", [False, True])
    @pytest.mark.parametrize("how", ["close_successful", "close_failed"])
    async def test_the_same_close_again_changes_nothing(self, member, sql, how, with_token):
        await submit(member)
        process = await take(member)
        token = process.attempt_token if with_token else ""
        close = getattr(member, how)
        await close(process.process_id, ["one"], attempt_token=token)
        before = await row(sql, process.process_id)
        await close(process.process_id, ["one"], attempt_token=token)
        failure = await refused(close(process.process_id, ["two"], attempt_token=token))
        assert type(failure) is Conflict
        assert await row(sql, process.process_id) == before

    async def test_the_same_close_by_an_older_attempt_is_stale(self, member, lose):
        await submit(member)
        old = await take(member)
        await lose()
        new = await take(member)
        await member.close_successful(new.process_id, ["x"], attempt_token=new.attempt_token)
        with pytest.raises(StaleAttempt):
            await member.close_successful(old.process_id, ["x"], attempt_token=old.attempt_token)

    async def test_the_same_close_by_somebody_else_is_refused(self, member, fellow):
        await submit(member)
        process = await take(member)
        token = process.attempt_token
        await member.close_successful(process.process_id, ["x"], attempt_token=token)
        for given in (token, ""):
            with pytest.raises((StaleAttempt, Forbidden)):
                await fellow.close_successful(process.process_id, ["x"], attempt_token=given)


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
        await until(lambda: not server.hub._holders)
        await lapse()
        await server.ticker.run_once()
        after = await member.get_process(process.process_id)
        assert (after.state, after.retries) == (State.WAITING, 1)

    async def test_what_is_over_is_renewed_no_more(self, server, member, working):
        await member.close_successful(working.process_id, attempt_token=working.attempt_token)
        assert server.hub.renewals() == []

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
            async with asyncio.timeout(20):
                while (await member.get_process(working.process_id)).state is State.WAITING:
                    await asyncio.sleep(0)
            after = await member.get_process(working.process_id)
            assert after.assigned_runtime_id == fellow.key.id


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
        waiting = asyncio.ensure_future(fellow.assign_process(timeout=20))
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
        await submit(member)
        process = await take(member)
        await lapse()
        passes = []
        once = server.ticker.run_once

        async def noted(**options):
            passes.append(options)
            await once(**options)

        monkeypatch.setattr(server.ticker, "run_once", noted)
        await until(lambda: len(passes) > 25)
        assert all(one["up_for"] < USUAL_LEASE for one in passes)
        assert 2 <= sum(one["stir"] for one in passes[:25]) <= 3
        assert (await member.get_process(process.process_id)).state is State.RUNNING
        await once()
        assert (await member.get_process(process.process_id)).state is State.WAITING
