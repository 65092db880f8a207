"""``whymsg``: the figures behind the sentences, from a real colony."""

import pytest

from colonies.core.errors import Forbidden, NotFound
from colonies.core.explanation import MOST_AHEAD
from colonies.core.identity import PrivateKey
from colonies.core.process import State
from tests.conftest import add_runtime
from tests.server.doors import refused, talk
from tests.server.leases import submit, take

HEARD = "UPDATE runtimes SET last_heard_from_time = now() - $2 * interval '1 s' "


@pytest.fixture
def heard(sql):
    """Let a runtime have been heard from so many seconds ago."""

    async def heard(key, seconds=0) -> None:
        await sql.execute(f"{HEARD} WHERE runtime_id = $1", key.id, seconds)

    return heard


@pytest.fixture
def recruit(client, people, colony, heard):
    """Let another runtime in, heard from just now."""

    async def recruit(owner=None, seconds=0, **figures):
        key = PrivateKey.generate()
        await add_runtime(client, owner or people.colony_owner, key, **figures)
        await heard(key, seconds)
        return client.acting_as(key)

    return recruit


@pytest.fixture
def why(member):
    async def why(process_id) -> list[str]:
        return (await member.why(process_id)).reasons

    return why


class TestNobody:
    async def test_of_the_type(self, member, why, recruit, people):
        await recruit(people.other_owner, runtime_type="odd")
        process_id = await submit(member, runtime_type="odd")
        assert await why(process_id) == ["no approved runtime of type odd"]

    async def test_who_is_let_in(self, *, client, people, member, owner, why):
        process_id = await submit(member, runtime_type="odd")
        keys = [PrivateKey.generate() for _ in range(4)]
        for key in keys:
            await add_runtime(client, people.colony_owner, key, approve=False, runtime_type="odd")
        assert (await why(process_id))[1:] == ["4 wait for approval"]
        await owner.reject_runtime(keys[0].id)
        assert (await why(process_id))[1:] == ["3 wait for approval", "1 is rejected"]
        for key in keys[1:]:
            await owner.reject_runtime(key.id)
        assert (await why(process_id))[1:] == ["4 are rejected"]

    async def test_that_it_is_for(self, *, member, owner, people, foreigner, why):
        ids = [people.pending.id, foreigner.key.id, "f" * 64]
        process_id = await submit(member, runtime_type="", runtime_ids=ids)
        nobody = "none of the runtimes that it is for is an approved runtime of the colony"
        assert await why(process_id) == [nobody, "1 waits for approval"]
        await owner.reject_runtime(people.pending.id)
        assert await why(process_id) == [nobody, "1 is rejected"]


class TestNotFit:
    async def test_who_has_too_little(self, member, recruit, why):
        for figures in (
            {"cores": 1, "mem": 10, "gpus": 0},
            {"cores": 8, "mem": 10, "gpus": 2},
            {"cores": 8, "mem": 100, "gpus": -1},
        ):
            await recruit(runtime_type="big", **figures)
        conditions = {"runtime_type": "big", "cores": 8, "mem": 100, "gpus": 2}
        assert await why(await submit(member, **conditions)) == [
            "1 of type big has fewer than 8 cores",
            "2 of type big have less than 100 MiB of memory",
            "2 of type big have fewer than 2 GPUs",
        ]

    async def test_who_is_not_in_the_list(self, member, recruit, why):
        one = await recruit()
        await recruit()
        process_id = await submit(member, runtime_ids=[one.key.id])
        assert await why(process_id) == [
            "2 of type cli are not among the runtimes that it is for",
            "of 1 that fit, 0 are busy, 0 silent, 1 idle",
        ]

    async def test_who_it_is_addressed_to_and_has_too_little(self, member, recruit, why):
        one = await recruit(runtime_type="odd", cores=1)
        process_id = await submit(member, runtime_type="", runtime_ids=[one.key.id], cores=2)
        assert await why(process_id) == ["1 of them has fewer than 2 cores"]

    async def test_anybody_is_no_list(self, member, heard, why):
        await heard(member.key)
        process_id = await submit(member, runtime_ids=["*"])
        assert await why(process_id) == ["of 1 that fit, 0 are busy, 0 silent, 1 idle"]


class TestNotTaken:
    async def test_who_is_idle_busy_and_silent(self, *, member, recruit, heard, why, foreigner):
        await heard(member.key)
        await heard(foreigner.key)
        busy, silent = await recruit(), await recruit(seconds=61)
        await submit(member)
        await submit(foreigner, colony_id=(await foreigner.get_caller()).memberships[0].colony_id)
        await take(busy)
        process_id = await submit(member)
        assert await why(process_id) == ["of 3 that fit, 1 is busy, 1 silent, 1 idle"]
        await heard(silent.key, 59)
        assert await why(process_id) == ["of 3 that fit, 1 is busy, 0 silent, 2 idle"]

    async def test_the_only_one_is_busy(self, member, heard, why):
        await heard(member.key)
        for _ in range(2):
            await submit(member)
        await take(member)
        (process,) = await member.get_processes(State.WAITING)
        assert await why(process.process_id) == ["the one that fits is busy"]

    async def test_all_are_busy(self, member, recruit, heard, why):
        await heard(member.key)
        other = await recruit()
        for _ in range(3):
            await submit(member)
        for runtime in (member, other, member):
            await take(runtime)
        process_id = await submit(member)
        assert await why(process_id) == ["the 2 that fit are busy"]

    async def test_who_was_never_heard_from_is_silent(self, member, why):
        assert await why(await submit(member)) == [
            "the one that fits has not been heard from for a minute"
        ]

    async def test_who_works_on_a_live_connection_is_busy_not_silent(
        self, *, server, member, subscribe, people, heard, why
    ):
        """Whoever speaks over the connection that it was given work by is there."""
        for _ in range(2):
            await submit(member)
        async with talk(server) as socket:
            await subscribe(socket)
            await socket.pushed()
            await server.ticker.run_once()
            await heard(people.runtime, 90)
            await socket.ask("getcallermsg", {}, people.runtime)
            await socket.websocket.pong()
            await server.ticker.run_once()
            (process,) = await member.get_processes(State.WAITING)
            assert await why(process.process_id) == ["the one that fits is busy"]

    async def test_work_for_another_colony_keeps_nobody_busy_here(
        self, *, client, people, member, heard, why
    ):
        await add_runtime(client, people.other_owner, people.runtime)
        await submit(member, colony_id=people.other_owner.id)
        await member.assign_process(people.other_owner.id, timeout=-1)
        await heard(member.key)
        assert await why(await submit(member)) == ["of 1 that fit, 0 are busy, 0 silent, 1 idle"]


class TestAhead:
    @pytest.fixture
    async def idle(self, member, heard):
        await heard(member.key)
        return "of 1 that fit, 0 are busy, 0 silent, 1 idle"

    @pytest.mark.usefixtures("idle")
    async def test_those_of_higher_priority_and_the_older(self, member, why, foreigner):
        theirs = (await foreigner.get_caller()).memberships[0].colony_id
        await submit(foreigner, colony_id=theirs, priority=9)
        ids = {number: await submit(member, priority=p) for number, p in enumerate((0, 5, 0, -1))}
        await submit(member, runtime_type="odd", priority=9)
        ahead = {number: (await why(one))[1:] for number, one in ids.items()}
        text = " ahead of it in the queue"
        assert ahead == {0: [f"1{text}"], 1: [], 2: [f"2{text}"], 3: [f"3{text}"]}

    @pytest.mark.usefixtures("idle")
    async def test_what_does_not_wait_is_not_ahead(self, member, why):
        ids = [await submit(member) for _ in range(4)]
        await member.assign_process(timeout=-1)
        await member.cancel_process(ids[1])
        await member.delete_process(ids[2])
        assert await why(ids[3]) == ["the one that fits is busy"]

    @pytest.mark.usefixtures("idle")
    async def test_of_very_many_some_are_counted(self, member, why, sql):
        process_id = await submit(member, priority=-1)
        copy = """
            INSERT INTO processes (colony_id, process_id, state, submission_time, spec,
                runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
                max_exec_time, max_retries)
            SELECT colony_id, 'p' || number, state, submission_time, spec, runtime_type,
                runtime_ids, cores, mem, gpus, 0, 0, 0, 0
            FROM processes, generate_series(1, $1) AS number WHERE process_id = $2"""
        await sql.execute(copy, MOST_AHEAD, process_id)
        assert (await why(process_id))[1:] == ["1000 ahead of it in the queue"]
        again = await submit(member, priority=-2)
        assert (await why(again))[1:] == ["more than 1000 ahead of it in the queue"]

    async def test_what_is_addressed_to_others_is_not_ahead(self, member, recruit, why, idle):
        other = await recruit()
        for _ in range(3):
            await submit(member, runtime_type="", runtime_ids=[other.key.id])
        for _ in range(2):
            await submit(member, runtime_type="", runtime_ids=[other.key.id, member.key.id])
        process_id = await submit(member, runtime_type="", runtime_ids=[member.key.id])
        assert await why(process_id) == [idle, "2 ahead of it in the queue"]


class TestRunning:
    @pytest.mark.parametrize(
        ("retries", "then"), [(0, "no retry is left: it fails"), (1, "next retry")]
    )
    async def test_when_its_lease_ends_and_what_then(self, member, why, sql, retries, then):
        await submit(member, lease=1000, max_retries=retries)
        process = await take(member)
        runs = f"runtime {member.key.id} is running it, attempt 1"
        assert await why(process.process_id) == [runs]
        await sql.execute("UPDATE processes SET leased_until = now() + interval '400 seconds'")
        first, silent = await why(process.process_id)
        assert first == runs
        sentence, _, seconds = silent.removesuffix(" s").rpartition(" ")
        assert sentence.startswith("it has not been heard from for 6")
        assert sentence.endswith(f" s; unless it is, {then} in")
        assert 300 < int(seconds) <= 400

    async def test_after_the_last_retry_none_is_left(self, member, why, sql, lose):
        await submit(member, max_retries=1)
        await take(member)
        await lose()
        process = await take(member)
        await sql.execute("UPDATE processes SET leased_until = now() + interval '9 seconds'")
        runs, silent = await why(process.process_id)
        assert runs.endswith("attempt 2")
        assert "no retry is left" in silent

    async def test_without_a_lease_there_is_no_end_to_wait_for(self, member, why):
        await submit(member)
        process = await member.assign_process(timeout=-1)
        assert len(await why(process.process_id)) == 1

    async def test_who_cancelled_it(self, member, owner, why):
        await submit(member)
        process = await take(member)
        await owner.cancel_process(process.process_id, "no need")
        assert (await why(process.process_id))[1:] == [
            f"cancelled by {owner.key.id}: no need; its runtime is stopping it"
        ]

    async def test_what_has_ended_and_how(self, member, why):
        await submit(member)
        process_id = (await take(member)).process_id
        await member.close_failed(process_id, ["one", "two"])
        assert await why(process_id) == ["it has ended: failed", "one", "two"]


async def test_only_those_who_may_read_the_process_are_told(
    *, client, people, member, owner, foreigner
):
    process_id = await submit(member)
    assert (await owner.why(process_id)) == (await member.why(process_id))
    for key in (people.stranger, people.foreigner, people.other_owner, people.server_owner):
        theirs = client.acting_as(key)
        for asked in (process_id, "f" * 64):
            assert type(await refused(theirs.why(asked))) is NotFound
    assert type(await refused(client.acting_as(people.pending).why(process_id))) is Forbidden
