"""``getprocesseventsmsg``: what has happened to a process, as it was recorded."""

import pytest

from colonies.core.errors import Forbidden, NotFound
from colonies.core.history import Happening
from colonies.core.process import State
from tests.conftest import add_runtime
from tests.server.doors import refused
from tests.server.leases import OVER, row, submit, take

SUBMITTED, ASSIGNED = Happening.SUBMITTED, Happening.ASSIGNED
ANY = object()


@pytest.fixture
def history(member):
    """Give what has happened, as (event, attempt, runtime id), checking that time goes by."""

    async def history(process_id, reader=None) -> list[tuple[Happening, int, str]]:
        events = await (reader or member).get_process_events(process_id)
        times = [one.time for one in events]
        assert times == sorted(times)
        process = await (reader or member).get_process(process_id)
        assert times[0] == process.submission_time
        if process.state.is_final:
            assert times[-1] == process.end_time
        return [(one.event, one.attempt, one.runtime_id) for one in events]

    return history


@pytest.fixture
def overrun(server, sql):
    async def overrun() -> None:
        await sql.execute(f"UPDATE processes SET exec_deadline = {OVER} WHERE state = 1")
        await server.ticker.run_once(stir=False)

    return overrun


class TestOneAttempt:
    async def test_waiting(self, member, history):
        assert await history(await submit(member)) == [(SUBMITTED, 0, "")]

    async def test_running(self, member, history):
        process_id = await submit(member)
        process = await take(member)
        assert await history(process_id) == [(SUBMITTED, 0, ""), (ASSIGNED, 1, member.key.id)]
        events = await member.get_process_events(process_id)
        assert events[-1].time == process.start_time

    @pytest.mark.parametrize(
        ("how", "last", "text"),
        [
            ("close_successful", Happening.SUCCESSFUL, ""),
            ("close_failed", Happening.FAILED, "one; two"),
        ],
    )
    async def test_ended(self, member, history, how, last, text):
        process_id = await submit(member)
        await take(member)
        await getattr(member, how)(process_id, ["one", "two"])
        assert (await history(process_id))[1:] == [
            (ASSIGNED, 1, member.key.id),
            (last, 1, member.key.id),
        ]
        assert (await member.get_process_events(process_id))[-1].text == text

    async def test_never_started(self, server, member, sql, history):
        process_id = await submit(member, max_wait_time=60)
        await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
        await server.ticker.run_once()
        assert await history(process_id) == [(SUBMITTED, 0, ""), (Happening.FAILED, 0, "")]

    @pytest.mark.parametrize("how", ["lease", "time"])
    async def test_lost_for_good(self, *, member, lose, overrun, history, how):
        process_id = await submit(member, max_retries=0, max_exec_time=60)
        await take(member)
        await (lose() if how == "lease" else overrun())
        assert (await history(process_id))[1:] == [
            (ASSIGNED, 1, member.key.id),
            (Happening.FAILED, 1, member.key.id),
        ]


class TestCancelled:
    async def test_in_the_queue(self, member, owner, history):
        process_id = await submit(member)
        await owner.cancel_process(process_id, "no need")
        assert await history(process_id) == [(SUBMITTED, 0, ""), (Happening.CANCELLED, 0, "")]
        text = (await member.get_process_events(process_id))[-1].text
        assert text == f"by {owner.key.id}: no need"

    @pytest.mark.parametrize("last", ["cancelled", "successful", "grace", "deleted"])
    async def test_while_it_ran(self, *, server, member, owner, people, sql, history, last):
        process_id = await submit(member)
        await take(member)
        await owner.cancel_process(process_id, "no need")
        mine = [(SUBMITTED, 0, ""), *((one, 1, member.key.id) for one in (
            ASSIGNED, Happening.CANCELLING))]  # fmt: skip
        assert await history(process_id) == mine
        match last:
            case "cancelled":
                await member.close_failed(process_id, ["stopped"])
            case "successful":
                await member.close_successful(process_id)
            case "grace":
                await sql.execute(
                    "UPDATE processes SET cancel_time = cancel_time - interval '1 h', "
                    "start_time = start_time - interval '1 h', "
                    "submission_time = submission_time - interval '1 h'"
                )
                await server.ticker.run_once()
            case "deleted":
                await owner.delete_runtime(people.runtime.id)
        end = Happening.SUCCESSFUL if last == "successful" else Happening.CANCELLED
        assert await history(process_id, owner) == [*mine, (end, 1, people.runtime.id)]

    async def test_in_the_queue_after_a_loss(self, member, lose, history):
        process_id = await submit(member)
        await take(member)
        await lose()
        await member.cancel_process(process_id)
        me = member.key.id
        assert await history(process_id) == [
            (SUBMITTED, 0, ""),
            (ASSIGNED, 1, me),
            (Happening.LEASE_LOST, 1, me),
            (Happening.CANCELLED, 0, ""),
        ]


class TestManyAttempts:
    async def test_each_return_is_told_with_its_attempt_and_runtime(
        self, *, client, people, member, fellow, owner, lose, overrun, history
    ):
        process_id = await submit(member, max_exec_time=60)
        starts = [await take(member)]
        await member.release(process_id)
        starts.append(await take(fellow))
        await lose()
        starts.append(await take(member))
        await overrun()
        starts.append(await take(member))
        await owner.delete_runtime(people.runtime.id)
        await add_runtime(client, people.colony_owner, people.runtime)
        starts.append(await take(fellow))
        await fellow.close_successful(process_id)
        me, other = member.key.id, fellow.key.id
        assert await history(process_id) == [
            (SUBMITTED, 0, ""),
            (ASSIGNED, 1, me), (Happening.RELEASED, 1, me),
            (ASSIGNED, 2, other), (Happening.LEASE_LOST, 2, other),
            (ASSIGNED, 3, me), (Happening.OVERRUN, 3, me),
            (ASSIGNED, 4, me), (Happening.RUNTIME_DELETED, 4, me),
            (ASSIGNED, 5, other), (Happening.SUCCESSFUL, 5, other),
        ]  # fmt: skip
        events = await member.get_process_events(process_id)
        assigned = [one.time for one in events if one.event is ASSIGNED]
        assert assigned == [one.start_time for one in starts]
        returned = [one.text for one in events if one.event not in (ASSIGNED, SUBMITTED)]
        assert returned == ["back in the queue"] * 4 + [""]

    async def test_what_could_not_be_handed_over_is_told_as_released(self, member, history):
        process_id = await submit(member)
        process = await take(member)
        await member.release(process_id, attempt_token=process.attempt_token)
        assert [one for one, *_ in await history(process_id)][1:] == [ASSIGNED, Happening.RELEASED]

    @pytest.mark.parametrize("count", [99, 100, 101, 130])
    async def test_of_more_than_100_the_first_and_the_last_are_kept(
        self, member, sql, history, count
    ):
        process_id = await submit(member, lease=1)
        for _ in range(count):
            await member.assign_process(timeout=-1)
            await member.release(process_id)
        past = [attempt for what, attempt, _ in await history(process_id) if what is ASSIGNED]
        numbers = list(range(1, count + 1))
        assert past == (numbers if count <= 100 else [1, *numbers[-99:]])
        assert await sql.fetchval("SELECT jsonb_array_length(past) FROM processes") <= 100
        await take(member)
        last = (await history(process_id))[-1]
        assert last == (ASSIGNED, count + 1, member.key.id)

    async def test_a_refused_end_leaves_no_trace(self, member, fellow, lose, history):
        process_id = await submit(member)
        old = await take(member)
        await lose()
        await take(fellow)
        before = await history(process_id)
        for late in (
            member.close_failed(process_id, attempt_token=old.attempt_token),
            member.release(process_id, attempt_token=old.attempt_token),
        ):
            await refused(late)
        assert await history(process_id) == before


async def test_it_goes_with_the_process(member, sql):
    process_id = await submit(member)
    await take(member)
    await member.release(process_id)
    await member.delete_process(process_id)
    assert isinstance(await refused(member.get_process_events(process_id)), NotFound)
    assert await row(sql, process_id) is None


async def test_only_those_who_may_read_the_process_may_read_it(
    *, client, people, member, owner, history
):
    process_id = await submit(member)
    assert await history(process_id, owner) == [(SUBMITTED, 0, "")]
    for key in (people.stranger, people.foreigner, people.other_owner, people.server_owner):
        theirs = client.acting_as(key)
        for asked in (process_id, "f" * 64):
            assert type(await refused(theirs.get_process_events(asked))) is NotFound
    pending = client.acting_as(people.pending)
    assert type(await refused(pending.get_process_events(process_id))) is Forbidden


async def test_two_processes_have_their_own(member, history):
    ids = [await submit(member) for _ in range(2)]
    await member.close_successful((await take(member)).process_id)
    assert len(await history(ids[0])) == 3
    assert await history(ids[1]) == [(SUBMITTED, 0, "")]
    assert (await member.get_process(ids[1])).state is State.WAITING
