"""Runtimes."""

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest

from colonies.core.errors import AlreadyExists, Forbidden, Malformed, NotFound
from colonies.core.identity import PrivateKey
from colonies.core.process import State
from colonies.core.runtime import Approval, Figures, Location, Runtime
from colonies.core.wire import ZERO_TIME
from tests.conftest import add_runtime, held
from tests.server.doors import idle


@pytest.fixture
def owner(client, people, colony):
    return client.acting_as(people.colony_owner)


def new_runtime(colony: str, **fields) -> Runtime:
    identity = PrivateKey.generate().id
    plain = {"runtime_id": identity, "name": identity, "colony_id": colony, "runtime_type": "cli"}
    return Runtime(**plain | fields)


async def test_a_runtime_is_stored_as_sent_but_pending_and_commissioned_now(owner, colony, sql):
    sent = new_runtime(
        colony,
        cpu="fast",
        cores=8,
        mem=4096,
        gpu="big",
        gpus=2,
        state=Approval.APPROVED,
        commission_time=datetime(2000, 1, 1, tzinfo=UTC),
        last_heard_from_time=datetime(2001, 2, 3, 4, 5, 6, 789000, UTC),
        location=Location(1.5, -2.5),
    )
    now = await sql.fetchval("SELECT now()")
    runtime = await owner.add_runtime(sent)
    assert runtime.commission_time >= now
    expected = msgspec.structs.replace(
        sent, state=Approval.PENDING, commission_time=runtime.commission_time
    )
    assert runtime == expected == await owner.get_runtime(sent.runtime_id)


async def test_ids_and_names_are_unique_in_the_colony_and_free_to_others(
    owner, client, colony, people
):
    ours = new_runtime(colony)
    await owner.add_runtime(ours)
    with pytest.raises(AlreadyExists) as refusal:
        await owner.add_runtime(msgspec.structs.replace(ours, name="other"))
    assert refusal.value.field == "runtime.runtimeid"
    with pytest.raises(AlreadyExists) as refusal:
        await owner.add_runtime(new_runtime(colony, name=ours.name))
    assert refusal.value.field == "runtime.name"
    theirs = msgspec.structs.replace(ours, colony_id=people.other_owner.id)
    assert (await client.acting_as(people.other_owner).add_runtime(theirs)).name == ours.name


async def test_a_runtime_says_its_labels_itself_all_at_once(owner, member, people):
    await member.label_runtime({"os": "linux", "rack": "7"})
    await member.label_runtime({"rack": "8", "site/room": "b 2 ü"})
    expected = {"rack": "8", "site/room": "b 2 ü"}
    assert expected == (await owner.get_runtime(people.runtime.id)).labels
    await member.label_runtime({})
    assert {} == (await owner.get_runtime(people.runtime.id)).labels


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({"": "x"}, "labels"),
        ({"a b": "x"}, "labels"),
        ({"a\n": "x"}, "labels"),
        ({"a": "x\ny"}, "labels.a"),
        ({"a": "x" * 257}, "labels.a"),
        ({str(number): "x" for number in range(65)}, "labels"),
        ({"a": 1}, "labels[...]"),
    ],
)
async def test_a_label_is_one_that_people_can_write_down(owner, member, people, labels, field):
    with pytest.raises(Malformed) as refusal:
        await member.label_runtime(labels)
    assert field == refusal.value.field
    assert {} == (await owner.get_runtime(people.runtime.id)).labels


FIGURES = Figures(cores=64, mem=2**20, gpus=8, cpu="fast", gpu="big")


async def test_a_runtime_says_itself_what_it_has_and_stays_what_else_it_is(owner, member, people):
    before = await owner.get_runtime(people.runtime.id)
    await member.update_runtime(FIGURES)
    after = await owner.get_runtime(people.runtime.id)
    assert FIGURES == after.figures
    known = msgspec.structs.asdict(FIGURES)
    assert after == msgspec.structs.replace(before, **known)


@pytest.mark.parametrize("approval", ["pending", "approved", "rejected"])
async def test_an_owner_says_what_any_runtime_has_and_lets_nobody_in_by_it(owner, people, approval):
    runtime_id = people.pending.id
    if approval != "pending":
        await (owner.approve_runtime if approval == "approved" else owner.reject_runtime)(
            runtime_id
        )
    await owner.update_runtime(FIGURES, runtime_id)
    after = await owner.get_runtime(runtime_id)
    assert (FIGURES, approval) == (after.figures, after.state.name.lower())


async def test_nobody_says_what_a_runtime_of_another_colony_has(client, people, colony):
    theirs = client.acting_as(people.other_owner)
    for colony_id in (colony, people.other_owner.id):
        with pytest.raises((Forbidden, NotFound)):
            await theirs.update_runtime(FIGURES, people.runtime.id, colony_id)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cores": -1}, "figures.cores"),
        ({"mem": 2**31}, "figures.mem"),
        ({"gpus": "1"}, "figures.gpus"),
        ({"gpu": "x" * 257}, "figures.gpu"),
        ({"cpu": 1}, "figures.cpu"),
    ],
)
async def test_what_a_runtime_has_can_be_counted(socket, colony, people, change, field):
    fields = {"colonyid": colony, "figures": {"cores": 1, "mem": 1, "gpus": 0} | change}
    with pytest.raises(Malformed) as refusal:
        await socket.ask("updateruntimemsg", fields, people.runtime)
    assert field == refusal.value.field


async def test_who_has_less_is_given_less_and_who_has_more_again_more(
    *, server, socket, subscribe, member
):
    await member.update_runtime(Figures(cores=8, mem=1, gpus=0))
    await subscribe(socket, 5)
    await idle(server, 1)
    await member.update_runtime(Figures(cores=1, mem=1, gpus=0))
    too_large = await member.submit("work", runtime_type="cli", cores=8)
    small = await member.submit("work", runtime_type="cli")
    assert (await socket.pushed()).process_id == small.id
    await member.update_runtime(Figures(cores=8, mem=1, gpus=0))
    assert (await socket.pushed()).process_id == too_large.id


@pytest.mark.parametrize("identity", ["", "x", "Z" * 64, "0" * 64 + "\n"])
async def test_an_id_is_64_lower_case_hex_characters(owner, colony, identity):
    with pytest.raises(Malformed) as refusal:
        await owner.add_runtime(new_runtime(colony, runtime_id=identity))
    assert refusal.value.field == "runtime.runtimeid"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_time_that_no_calendar_has_in_utc_is_malformed_or_kept(
    socket, colony, people, text
):
    identity = PrivateKey.generate().id
    runtime = {"runtimeid": identity, "colonyid": colony, "lastheardfromtime": text}
    with contextlib.suppress(Malformed):
        await socket.ask("addruntimemsg", {"runtime": runtime}, people.colony_owner)


async def test_runtimes_are_listed_in_the_order_they_came(owner, colony):
    added = [(await owner.add_runtime(new_runtime(colony))).runtime_id for _ in range(4)]
    assert [one.runtime_id for one in await owner.get_runtimes()][-4:] == added


async def test_a_runtime_is_let_in_and_shut_out_as_often_as_the_owner_likes(owner, people):
    for _ in range(2):
        for _ in range(2):
            await owner.approve_runtime(people.pending.id)
            assert (await owner.get_runtime(people.pending.id)).state is Approval.APPROVED
        await owner.reject_runtime(people.pending.id)
        assert (await owner.get_runtime(people.pending.id)).state is Approval.REJECTED


async def test_an_assign_is_a_sign_of_life(owner, member, server, people, sql):
    assert (await owner.get_runtime(people.runtime.id)).last_heard_from_time == ZERO_TIME
    await member.submit("work", runtime_type="cli")
    now = await sql.fetchval("SELECT now()")
    await member.assign_process(timeout=-1)
    await server.ticker.run_once()
    assert (await owner.get_runtime(people.runtime.id)).last_heard_from_time >= now
    assert (await owner.get_runtime(people.pending.id)).last_heard_from_time == ZERO_TIME


@pytest.mark.parametrize("call", ["close", "attribute", "renew"])
async def test_everything_that_a_working_runtime_says_is_a_sign_of_life(
    owner, member, server, people, call
):
    await member.submit("work", runtime_type="cli")
    process = await member.assign_process(timeout=-1)
    server.hub.take_heard()
    match call:
        case "close":
            await member.close_successful(process.process_id)
        case "attribute":
            await member.add_attribute(process.process_id, "key", "value")
        case "renew":
            await member.renew([held(process)])
    await server.ticker.run_once()
    assert (await owner.get_runtime(people.runtime.id)).last_heard_from_time > ZERO_TIME


async def test_what_a_deleted_runtime_was_running_returns_to_the_queue(
    owner, client, member, people, colony
):
    for _ in range(3):
        await member.submit("work", runtime_type="cli", max_exec_time=100)
    running = [await member.assign_process(timeout=-1) for _ in range(3)]
    await member.close_successful(running[0].process_id, ["done"])
    await owner.delete_runtime(people.runtime.id)
    with pytest.raises(NotFound):
        await owner.get_runtime(people.runtime.id)
    ended = await owner.get_process(running[0].process_id)
    assert (ended.state, ended.assigned_runtime_id) == (State.SUCCESS, people.runtime.id)
    for process in running[1:]:
        returned = await owner.get_process(process.process_id)
        assert returned.state is State.WAITING
        assert not returned.is_assigned
        assert returned.assigned_runtime_id == ""
        assert (returned.retries, returned.leased_until) == (0, ZERO_TIME)
        assert returned.start_time == returned.end_time == returned.exec_deadline == ZERO_TIME
        assert returned.submission_time == process.submission_time
    other = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, other)
    taken = await client.acting_as(other).assign_process(timeout=-1)
    assert taken.process_id == running[1].process_id


async def test_deleting_a_runtime_leaves_its_namesake_in_another_colony_alone(
    owner, client, people, colony
):
    await add_runtime(client, people.other_owner, people.runtime)
    await owner.delete_runtime(people.runtime.id)
    theirs = client.acting_as(people.other_owner)
    assert (await theirs.get_runtime(people.runtime.id)).state is Approval.APPROVED
