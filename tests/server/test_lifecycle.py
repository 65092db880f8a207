"""Who gets which process, and what becomes of it when its time is over."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from colonies.core.errors import Malformed, NothingToAssign
from colonies.core.identity import PrivateKey
from colonies.core.process import Process, State
from colonies.core.wire import ZERO_TIME
from colonies.server import lifecycle
from tests.conftest import add_runtime

OVER = "now() - interval '1 s'"


async def submit(member, **options) -> str:
    return (await member.submit("work", **{"runtime_type": "cli"} | options)).id


async def take(member, **options) -> Process:
    return await member.assign_process(timeout=-1, **options)


async def taken(member, count, **options) -> list[str]:
    return [(await take(member, **options)).process_id for _ in range(count)]


async def test_an_assigned_process_runs_and_is_the_runtimes_alone(member, client, people, colony):
    process_id = await submit(member, max_exec_time=60)
    process = await take(member)
    assert (process.process_id, process.state) == (process_id, State.RUNNING)
    assert (process.is_assigned, process.assigned_runtime_id) == (True, people.runtime.id)
    assert process.start_time > process.submission_time
    assert (process.exec_deadline - process.start_time).total_seconds() == 60
    assert await member.get_process(process_id) == replace(process, attempt_token="")
    with pytest.raises(NothingToAssign):
        await take(member)


async def test_higher_priority_first_then_oldest_first(member):
    ids = [await submit(member, priority=priority) for priority in (0, 5, -1, 5, 0)]
    assert await taken(member, 5) == [ids[1], ids[3], ids[0], ids[4], ids[2]]


async def test_latest_is_the_newest_of_the_highest_priority(member):
    ids = [await submit(member, priority=priority) for priority in (0, 5, -1, 5, 0)]
    assert await taken(member, 5, latest=True) == [ids[3], ids[1], ids[4], ids[0], ids[2]]


@pytest.mark.parametrize("latest", [False, True])
async def test_priority_counts_also_between_what_is_addressed_and_what_is_not(
    member, people, latest
):
    low = await submit(member, runtime_type="", runtime_ids=[people.runtime.id], priority=0)
    high = await submit(member, priority=9)
    assert await taken(member, 2, latest=latest) == [high, low]


async def test_a_colony_has_a_queue_of_its_own(member, client, people):
    foreigner = client.acting_as(people.foreigner)
    await submit(member)
    with pytest.raises(NothingToAssign):
        await foreigner.assign_process(people.other_owner.id, timeout=-1)


ME, OTHER = "me", "f" * 64


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"runtime_type": "other"}, False),
        ({"runtime_type": ""}, False),
        ({"runtime_ids": [ME]}, True),
        ({"runtime_ids": [OTHER]}, False),
        ({"runtime_ids": [OTHER, ME]}, True),
        ({"runtime_ids": ["*"]}, True),
        ({"runtime_ids": [OTHER, "*"]}, True),
        ({"runtime_ids": ["*"], "runtime_type": ""}, False),
        ({"runtime_ids": [ME], "runtime_type": "other"}, False),
        ({"runtime_ids": [ME], "runtime_type": ""}, True),
        ({"runtime_ids": [OTHER], "runtime_type": ""}, False),
        ({"cores": 4, "mem": 100, "gpus": 1}, True),
        ({"cores": 5}, False),
        ({"mem": 101}, False),
        ({"gpus": 2}, False),
        ({"runtime_ids": [ME], "runtime_type": "", "cores": 5}, False),
        ({"cores": -1, "mem": -1, "gpus": -1}, True),
    ],
)
@pytest.mark.parametrize("latest", [False, True])
async def test_conditions_decide_in_sql_as_they_do_in_the_core(
    *, client, member, people, conditions, fits, latest
):
    key = PrivateKey.generate()
    runtime = await add_runtime(client, people.colony_owner, key, cores=4, mem=100, gpus=1)
    ids = [key.id if one == ME else one for one in conditions.get("runtime_ids", [])]
    options = {"runtime_type": "cli"} | conditions | {"runtime_ids": ids}
    # Without a name, as one without a type is resolved by it.
    process = (await member.submit("", **options)).process
    assert process.spec.conditions.fit(runtime) is fits
    assigned = client.acting_as(key).assign_process(timeout=-1, latest=latest)
    if fits:
        assert (await assigned).process_id == process.process_id
    else:
        with pytest.raises(NothingToAssign):
            await assigned


@pytest.mark.parametrize("figures", [{"cores": -1}, {"mem": -1}, {"gpus": -1}])
async def test_whatever_a_runtime_declares_meets_figures_that_ask_for_nothing(
    client, member, people, figures
):
    key = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, key, **figures)
    process_id = await submit(member)
    assert (await take(client.acting_as(key))).process_id == process_id


async def test_what_nobody_can_have_does_not_stand_in_the_way(member):
    for _ in range(20):
        await submit(member, runtime_ids=[OTHER])
        await submit(member, gpus=1)
    process_id = await submit(member)
    assert (await take(member)).process_id == process_id


async def test_nothing_to_assign_begins_with_the_words_that_v1_clients_compare(member, people):
    with pytest.raises(NothingToAssign) as nothing:
        await take(member)
    expected = f"No processes can be selected for runtime with Id {people.runtime.id}"
    assert nothing.value.message.startswith(expected)
    assert nothing.value.status == 404


async def test_a_timeout_of_0_is_refused(member, socket, colony, people):
    for fields in ({}, {"timeout": 0}, {"timeout": None}):
        with pytest.raises(Malformed) as refusal:
            await socket.ask("assignprocessmsg", {"colonyid": colony} | fields, people.runtime)
        assert refusal.value.field == "timeout"


async def test_who_waits_too_long_fails_with_the_text_of_v1(member, server, sql):
    overdue = await submit(member, max_wait_time=60)
    patient = await submit(member, max_wait_time=600)
    await sql.execute(f"UPDATE processes SET wait_deadline = {OVER} WHERE process_id = $1", overdue)
    await server.ticker.run_once()
    process = await member.get_process(overdue)
    assert (process.state, process.errors) == (
        State.FAILED,
        ["Maximum waiting time limit exceeded"],
    )
    assert process.end_time > process.submission_time
    assert (await member.get_process(patient)).state is State.WAITING


async def run_over(member, server, sql) -> Process:
    process = await take(member)
    await sql.execute(f"UPDATE processes SET exec_deadline = {OVER} WHERE state = 1")
    await server.ticker.run_once()
    return await member.get_process(process.process_id)


async def test_without_retries_who_runs_too_long_fails_with_the_text_of_v1(member, server, sql):
    await submit(member, max_exec_time=60, max_retries=0)
    process = await run_over(member, server, sql)
    assert process.state is State.FAILED
    assert process.errors == ["Maximum execution time limit exceeded"]
    assert (process.retries, process.is_assigned) == (0, True)


async def test_with_one_retry_who_runs_too_long_is_tried_once_more(member, server, sql, people):
    await submit(member, max_exec_time=60, max_wait_time=60, max_retries=1)
    process = await run_over(member, server, sql)
    assert (process.state, process.retries, process.is_assigned) == (State.WAITING, 1, False)
    assert process.assigned_runtime_id == ""
    assert process.start_time == process.exec_deadline == ZERO_TIME
    assert process.errors == []
    assert (process.wait_deadline - process.submission_time).total_seconds() > 60
    process = await run_over(member, server, sql)
    assert (process.state, process.retries) == (State.FAILED, 1)


async def test_with_retries_without_end_who_runs_too_long_is_tried_again(member, server, sql):
    await submit(member, max_exec_time=60, max_retries=-1)
    for attempt in range(1, 5):
        process = await run_over(member, server, sql)
        assert (process.state, process.retries) == (State.WAITING, attempt)


async def test_a_process_that_comes_back_keeps_its_place_in_the_queue(member, server, sql):
    first = await submit(member, max_exec_time=60, max_retries=-1)
    second = await submit(member)
    await run_over(member, server, sql)
    assert await taken(member, 2) == [first, second]


async def test_more_deadlines_than_one_batch_are_acted_on_at_once(member, server, sql, monkeypatch):
    monkeypatch.setattr(lifecycle, "EXPIRY_BATCH", 3)
    for _ in range(10):
        await submit(member, max_wait_time=60)
    await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}")
    await server.ticker.run_once()
    assert (await member.get_colony_stats()).failed_processes == 10


async def test_what_has_ended_stays_as_it_is_whatever_its_deadlines_say(member, server, sql):
    await submit(member, max_exec_time=60, max_wait_time=60)
    process = await take(member)
    await member.close_successful(process.process_id, ["done"])
    await sql.execute(f"UPDATE processes SET wait_deadline = {OVER}, exec_deadline = {OVER}")
    await server.ticker.run_once()
    ended = await member.get_process(process.process_id)
    assert (ended.state, ended.output) == (State.SUCCESS, ["done"])


async def test_no_two_runtimes_ever_get_the_same_process(client, member, people):
    keys = [PrivateKey.generate() for _ in range(20)]
    for key in keys:
        await add_runtime(client, people.colony_owner, key)
    got: Counter[str] = Counter()

    async def work(key: PrivateKey) -> None:
        runtime = client.acting_as(key)
        while True:
            try:
                process = await runtime.assign_process(timeout=-1)
            except NothingToAssign:
                return
            got[process.process_id] += 1
            await runtime.close_successful(process.process_id, [key.id])

    submitted = await asyncio.gather(*(submit(member) for _ in range(300)))
    await asyncio.gather(*(work(key) for key in keys))
    assert got == Counter(submitted)
    assert (await member.get_colony_stats()).successful_processes == 300
