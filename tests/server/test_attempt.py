"""Attempts: one writer at a time, and only its runtime knows its token."""

import asyncio

import pytest

from colonies.core import wire
from colonies.core.envelope import unpack
from colonies.core.errors import Conflict, Failure, Forbidden, NotFound, StaleAttempt
from colonies.core.process import Process, State
from tests.server.doors import refused, talk, until
from tests.server.leases import listeners, row, submit, take


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
            async with asyncio.timeout(60):
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
