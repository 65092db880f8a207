"""Processes: submitted, listed, closed and deleted."""

import msgspec
import pytest

from colonies.core.errors import Conflict, Forbidden, Malformed, NotFound, TooLarge
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, Held, Process, ProcessSpec, State
from colonies.core.wire import ZERO_TIME
from colonies.server import db
from tests.conftest import add_runtime, held


@pytest.fixture
def owner(client, people, colony):
    return client.acting_as(people.colony_owner)


async def submit(member, **options):
    return (await member.submit("work", runtime_type="cli", **options)).id


async def take(member) -> Process:
    return await member.assign_process(timeout=-1)


async def test_a_submitted_process_waits_with_all_that_was_sent(member, colony, sql):
    before = await sql.fetchval("SELECT now()")
    spec = ProcessSpec(
        name="n", func="f", args=["a", ""], kwargs={"k": "v"}, priority=-3, max_wait_time=60,
        max_exec_time=30, max_retries=2, env={"E": "1"},
        conditions=Conditions(
            colony_id=colony, runtime_ids=["r"], runtime_type="cli", dependencies=["d"],
            cores=1, mem=2, gpus=3,
        ),
    )  # fmt: skip
    process = await member.submit_process_spec(spec)
    assert process.spec == spec
    assert (process.state, process.is_assigned, process.retries) == (State.WAITING, False, 0)
    assert process.submission_time >= before
    assert (process.wait_deadline - process.submission_time).total_seconds() == 60
    assert process.start_time == process.end_time == process.exec_deadline == ZERO_TIME
    assert (process.input, process.output, process.errors) == ([], [], [])
    assert (process.parents, process.children, process.process_graph_id) == ([], [], "")
    assert await member.get_process(process.process_id) == process


async def test_empty_is_empty_and_never_null(socket, colony, people):
    conditions = {"colonyid": colony, "runtimeids": None, "dependencies": None}
    spec = {"args": None, "env": None, "kwargs": None, "conditions": conditions}
    process = await socket.ask("submitprocessespecmsg", {"spec": spec}, people.runtime)
    lists = ("attributes", "parents", "children", "in", "out", "errors")
    assert [process[name] for name in lists] == [[]] * len(lists)
    assert process["spec"]["args"] == process["spec"]["conditions"]["runtimeids"] == []
    assert process["spec"]["env"] == process["spec"]["kwargs"] == {}
    for payload_type in ("getprocessesmsg", "getprocesshistmsg"):
        asked = {"colonyid": colony, "state": 3, "count": 5, "seconds": 5}
        assert await socket.ask(payload_type, asked, people.runtime) == []


async def test_a_star_is_kept_as_no_restriction(member):
    process = (await member.submit("work", runtime_ids=["*", "x"], runtime_type="cli")).process
    assert process.spec.conditions.runtime_ids == []


@pytest.mark.parametrize("limit", [0, -1, -100])
async def test_limits_of_0_or_less_are_none(member, server, sql, limit):
    process = (
        await member.submit("work", runtime_type="cli", max_wait_time=limit, max_exec_time=limit)
    ).process
    assert process.wait_deadline == ZERO_TIME
    assigned = await take(member)
    assert assigned.exec_deadline == ZERO_TIME
    await server.ticker.run_once()
    assert (await member.get_process(process.process_id)).state is State.RUNNING


async def test_figures_at_their_limits_are_kept(member, colony):
    for number in (2**31 - 1, -(2**31)):
        spec = ProcessSpec(
            priority=number, max_wait_time=number, max_exec_time=number, max_retries=number,
            conditions=Conditions(
                colony_id=colony, runtime_type="cli", cores=number, mem=number, gpus=number
            ),
        )  # fmt: skip
        assert (await member.submit_process_spec(spec)).spec == spec
    assigned = await take(member)
    assert assigned.spec.priority == -(2**31)


async def test_lists_are_in_the_order_of_their_state(member, sql):
    ids = [await submit(member) for _ in range(4)]
    assert [one.process_id for one in await member.get_processes(State.WAITING)] == ids
    # Started in another order than submitted, ended in yet another.
    await sql.execute("UPDATE processes SET priority = 1 WHERE process_id = $1", ids[3])
    started = [(await take(member)).process_id for _ in range(4)]
    assert started == [ids[3], *ids[:3]]
    running = [one.process_id for one in await member.get_processes(State.RUNNING)]
    assert running == started
    for process_id in ids[:2]:
        await member.close_successful(process_id)
    for process_id in ids[2:]:
        await member.close_failed(process_id)
    successful = [one.process_id for one in await member.get_processes(State.SUCCESS)]
    failed = [one.process_id for one in await member.get_processes(State.FAILED)]
    assert (successful, failed) == (ids[1::-1], ids[:1:-1])


async def test_lists_have_a_count_of_0_to_100(member):
    ids = [await submit(member) for _ in range(3)]
    assert await member.get_processes(State.WAITING, count=0) == []
    assert [one.process_id for one in await member.get_processes(State.WAITING, count=2)] == ids[:2]
    assert len(await member.get_processes(State.WAITING, count=100)) == 3
    for count in (-1, 101, 2**31):
        with pytest.raises(Malformed) as refusal:
            await member.get_processes(State.WAITING, count=count)
        assert refusal.value.field == "count"


@pytest.mark.parametrize("state", State)
async def test_a_list_goes_on_after_any_of_it(member, sql, state):
    ids = {await submit(member) for _ in range(7)}
    await sql.execute(
        """UPDATE processes SET state = $1::integer, submission_time = now(), start_time = now(),
           end_time = CASE WHEN $1::integer >= 2 THEN now() END""",
        state,
    )
    await sql.execute(
        """UPDATE processes SET submission_time = submission_time - interval '1 second',
           start_time = start_time - interval '1 s', end_time = end_time - interval '1 s'
           WHERE process_id = ANY ($1)""",
        sorted(ids)[3:],
    )
    listed = []
    while page := await member.get_processes(state, count=2, after=listed):
        listed += page
    whole = [one.process_id for one in listed]
    assert (len(whole), set(whole)) == (7, ids)
    assert whole == [one.process_id for one in await member.get_processes(state)]


async def test_a_process_is_found_by_the_beginning_of_its_id(member):
    ids = [await submit(member) for _ in range(3)]
    await take(member)
    for process_id in ids:
        for beginning in (process_id[:8], process_id):
            found = await member.get_processes(beginning=beginning)
            assert [one.process_id for one in found] == [process_id]
    assert await member.get_processes(beginning="0" * 64) == []
    for beginning in ("abc", "ABCD", "abcd%", "g000", "a" * 65, "abcd\n"):
        with pytest.raises(Malformed) as refusal:
            await member.get_processes(beginning=beginning)
        assert refusal.value.field == "beginning"


async def test_a_state_that_is_none_cannot_be_listed(member):
    for state in (-1, 5):
        with pytest.raises(Malformed) as refusal:
            await member.get_processes(state)
        assert refusal.value.field == "state"


async def test_history_is_of_the_last_seconds_oldest_first(member, sql, people):
    ids = [await submit(member) for _ in range(4)]
    await sql.execute(
        "UPDATE processes SET submission_time = now() - interval '100 s' WHERE process_id = $1",
        ids[2],
    )
    recent = await member.get_process_hist(State.WAITING, 50)
    assert [one.process_id for one in recent] == [ids[0], ids[1], ids[3]]
    longer = await member.get_process_hist(State.WAITING, 150)
    assert [one.process_id for one in longer] == [ids[2], ids[0], ids[1], ids[3]]
    for seconds in (0, -50, -(2**31)):
        assert await member.get_process_hist(State.WAITING, seconds) == []
    assert len(await member.get_process_hist(State.WAITING, 2**31 - 1)) == 4


async def test_history_may_be_of_one_runtime(member, client, people):
    other = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, other)
    for _ in range(2):
        await submit(member)
    mine = await take(member)
    theirs = await take(client.acting_as(other))
    for key, process in ((people.runtime, mine), (other, theirs)):
        history = await member.get_process_hist(State.RUNNING, 50, runtime_id=key.id)
        assert [one.process_id for one in history] == [process.process_id]
    assert await member.get_process_hist(State.RUNNING, 50, runtime_id="f" * 64) == []


@pytest.mark.parametrize("state", [-1, 5, 32767, 32768, 2**31 - 1, -(2**31)])
async def test_history_of_a_state_that_is_none_is_empty(socket, colony, people, state):
    asked = {"colonyid": colony, "seconds": 50, "state": state}
    assert await socket.ask("getprocesshistmsg", asked, people.runtime) == []


async def test_a_close_ends_a_process_with_its_output(member, sql):
    await submit(member)
    process = await take(member)
    await member.close_successful(process.process_id, ["one", ""])
    ended = await member.get_process(process.process_id)
    assert ended == msgspec.structs.replace(
        process,
        state=State.SUCCESS,
        output=["one", ""],
        end_time=ended.end_time,
        attempt_token="",
    )
    assert ended.end_time > ended.start_time
    assert ended.is_assigned


async def test_a_failure_ends_a_process_with_its_errors(member):
    await submit(member)
    process = await take(member)
    await member.close_failed(process.process_id, ["because"])
    ended = await member.get_process(process.process_id)
    assert (ended.state, ended.errors, ended.output) == (State.FAILED, ["because"], [])


@pytest.mark.parametrize("how", ["close_successful", "close_failed"])
async def test_the_same_close_again_is_fine_and_changes_nothing(member, how):
    await submit(member)
    process = await take(member)
    close = getattr(member, how)
    await close(process.process_id, ["first"])
    ended = await member.get_process(process.process_id)
    await close(process.process_id, ["first"])
    assert await member.get_process(process.process_id) == ended
    with pytest.raises(Conflict):
        await close(process.process_id, ["second"])
    with pytest.raises(Conflict):
        await close(process.process_id)
    other = {"close_successful": "close_failed", "close_failed": "close_successful"}[how]
    with pytest.raises(Conflict):
        await getattr(member, other)(process.process_id, ["first"])
    assert await member.get_process(process.process_id) == ended


async def test_a_waiting_process_cannot_be_closed(member):
    process_id = await submit(member)
    with pytest.raises(Forbidden, match="not assigned to the caller"):
        await member.close_successful(process_id)
    assert (await member.get_process(process_id)).state is State.WAITING


async def test_a_process_that_went_back_is_no_longer_the_first_runtimes_to_close(
    member, client, people, server, sql
):
    other = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, other)
    await submit(member, max_exec_time=60, max_retries=-1)
    process = await take(member)
    await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
    await server.ticker.run_once()
    with pytest.raises(Forbidden):
        await member.close_successful(process.process_id)
    again = await take(client.acting_as(other))
    assert again.process_id == process.process_id
    with pytest.raises(Forbidden):
        await member.close_successful(process.process_id, ["late"])
    await client.acting_as(other).close_successful(process.process_id, ["mine"])
    assert (await member.get_process(process.process_id)).output == ["mine"]


async def test_a_process_that_is_released_is_for_anybody_to_take_unharmed(member, client, people):
    other = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, other)
    process_id = await submit(member, max_exec_time=60, max_retries=0)
    await take(member)
    await member.release(process_id)
    released = await member.get_process(process_id)
    assert (released.state, released.is_assigned, released.retries) == (State.WAITING, False, 0)
    assert (released.assigned_runtime_id, released.exec_deadline) == ("", ZERO_TIME)
    with pytest.raises(Forbidden):
        await member.release(process_id)
    assert (await take(client.acting_as(other))).process_id == process_id
    await client.acting_as(other).close_successful(process_id)
    with pytest.raises(Conflict):
        await client.acting_as(other).release(process_id)


async def test_null_lists_close_as_empty_ones(socket, member, people):
    for payload_type, field in (("closesuccessfulmsg", "out"), ("closefailedmsg", "errors")):
        await submit(member)
        process = await take(member)
        asked = {"processid": process.process_id, field: None}
        assert await socket.ask(payload_type, asked, people.runtime) == {}
        assert (await member.get_process(process.process_id)).output == []


@pytest.mark.parametrize("state", State)
async def test_a_process_is_deleted_in_any_state(member, sql, state):
    process_id = await submit(member, env={"A": "B"})
    if state is not State.WAITING:
        await take(member)
    match state:
        case State.SUCCESS:
            await member.close_successful(process_id)
        case State.FAILED:
            await member.close_failed(process_id)
    await member.delete_process(process_id)
    for attempt in (member.get_process, member.delete_process, member.close_successful):
        with pytest.raises(NotFound):
            await attempt(process_id)
    assert await sql.fetchval("SELECT count(*) FROM attributes") == 0


async def test_all_processes_of_a_colony_go_and_those_of_others_stay(
    member, owner, client, people, sql
):
    for _ in range(3):
        await submit(member, env={"A": "B"})
    await take(member)
    theirs = await client.acting_as(people.foreigner).submit(
        "work", colony_id=people.other_owner.id, runtime_type="cli", env={"A": "B"}
    )
    await owner.delete_all_processes()
    assert [row["process_id"] for row in await sql.fetch("SELECT * FROM processes")] == [theirs.id]
    assert await sql.fetchval("SELECT count(*) FROM attributes") == 1
    assert len(await owner.get_runtimes()) == 2


async def test_a_sign_of_life_tells_which_processes_are_lost(member, client, people):
    for _ in range(3):
        await submit(member)
    kept, closed, deleted = [held(await take(member)) for _ in range(3)]
    await member.close_successful(closed.process_id)
    await member.delete_process(deleted.process_id)
    waiting = await submit(member)
    unknown = [Held(process_id=waiting), Held(process_id="f" * 64, attempt_token="f" * 16)]
    lost = await member.renew([kept, closed, deleted, *unknown])
    assert lost == [closed.process_id, deleted.process_id, waiting, "f" * 64]
    assert await member.renew([]) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("func", "x\0"), ("priority", 2**31), ("maxexectime", -(2**31) - 1), ("maxretries", 1.5),
        ("maxwaittime", "10"), ("args", {}), ("args", [1]), ("env", {"A": 1}), ("env", ["A"]),
        ("conditions", []), ("name", 5), ("lease", -1), ("lease", 86_401), ("lease", 2**31),
        ("lease", 2**70), ("lease", 1.5), ("lease", "30"),
    ],
)  # fmt: skip
async def test_a_spec_with_a_fault_is_told_which(socket, colony, people, field, value):
    spec = {"conditions": {"colonyid": colony}, field: value}
    with pytest.raises(Malformed) as refusal:
        await socket.ask("submitprocessespecmsg", {"spec": spec}, people.runtime)
    assert refusal.value.field.startswith(f"spec.{field}")


@pytest.mark.parametrize("where", ["name", "runtimetype"])
async def test_a_very_long_name_is_kept_or_refused_but_breaks_nothing(
    socket, colony, people, where
):
    long = "".join(PrivateKey.generate().id for _ in range(200))
    try:
        if where == "name":
            new = {"runtimeid": PrivateKey.generate().id, "colonyid": colony, "name": long}
            await socket.ask("addruntimemsg", {"runtime": new}, people.colony_owner)
        else:
            spec = {"conditions": {"colonyid": colony, "runtimetype": long}}
            await socket.ask("submitprocessespecmsg", {"spec": spec}, people.runtime)
    except Malformed:
        return


async def test_a_list_that_is_too_large_for_a_reply_is_refused_and_says_how_many_fit(
    member, colony, monkeypatch
):
    monkeypatch.setattr(db, "MAX_REPLY_BYTES", 3000)
    for _ in range(3):
        await member.submit("work", "x" * 1000, runtime_type="cli")
    for listing in (member.get_processes(State.WAITING), member.get_process_hist(State.WAITING, 9)):
        with pytest.raises(TooLarge, match="here the first 2: ask for fewer"):
            await listing
    assert len(await member.get_processes(State.WAITING, count=2)) == 2


async def test_a_single_process_is_always_listed(member, colony, monkeypatch):
    monkeypatch.setattr(db, "MAX_REPLY_BYTES", 3000)
    await member.submit("work", "x" * 10_000, runtime_type="cli")
    assert len(await member.get_processes(State.WAITING)) == 1


async def test_a_history_of_many_is_read_to_its_end(member, colony, monkeypatch):
    monkeypatch.setattr(db, "ROWS_AT_ONCE", 2)
    ids = [await submit(member) for _ in range(5)]
    listed = await member.get_process_hist(State.WAITING, 50)
    assert [one.process_id for one in listed] == ids
