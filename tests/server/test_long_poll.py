"""The long poll: woken by what it can have, and never the loss of a process."""

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed

from colonies.core.envelope import seal
from colonies.core.errors import Forbidden, NothingToAssign
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, ProcessSpec
from colonies.server import lifecycle
from colonies.server.intent import NOBODYS
from tests.conftest import add_runtime
from tests.server.doors import LONG, blocked, idle, in_line, noticed, refused, send, talk, until
from tests.server.leases import submit

SECONDS = 20


def poll(member, seconds: int = SECONDS) -> asyncio.Task:
    return asyncio.ensure_future(member.assign_process(timeout=seconds))


async def test_it_is_woken_by_a_submit_it_can_have(server, member):
    waiting = poll(member)
    await idle(server, 1)
    process_id = await submit(member)
    assert (await waiting).process_id == process_id


async def test_it_is_woken_by_what_is_addressed_to_it(server, member, people):
    waiting = poll(member)
    await idle(server, 1)
    process_id = await submit(member, runtime_type="", runtime_ids=[people.runtime.id])
    assert (await waiting).process_id == process_id


@pytest.mark.parametrize(
    "conditions",
    [
        {"runtime_type": "other"},
        {"runtime_ids": ["f" * 64]},
        {"runtime_ids": ["f" * 64], "runtime_type": ""},
        {"cores": 1},
    ],
)
async def test_it_is_not_woken_by_a_submit_it_cannot_have(server, member, conditions):
    waiting = poll(member)
    await idle(server, 1)
    (waiter,) = in_line(server)
    await submit(member, **conditions)
    assert in_line(server) == {waiter}
    process_id = await submit(member)
    assert (await waiting).process_id == process_id


async def test_it_is_not_woken_by_another_colony(server, member, client, people):
    theirs = client.acting_as(people.foreigner)
    waiting = asyncio.ensure_future(theirs.assign_process(people.other_owner.id, timeout=SECONDS))
    await idle(server, 1)
    await submit(member)
    await idle(server, 1)
    assert not waiting.done()
    process = await theirs.submit("work", colony_id=people.other_owner.id, runtime_type="cli")
    assert (await waiting).process_id == process.id


async def test_n_processes_wake_at_most_n(server, member):
    waiting = [poll(member) for _ in range(6)]
    await idle(server, 6)
    await server.db.fetch_value("get_schema_version")
    submitted = {await submit(member) for _ in range(2)}
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 2:
        more, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {task.result().process_id for task in done} == submitted
    await idle(server, 4)
    for _ in rest:
        await submit(member)
    assert len({(await task).process_id for task in rest}) == 4


async def test_it_is_woken_by_a_process_that_comes_back(server, member, fellow, sql):
    process_id = await submit(member, max_exec_time=60, max_retries=-1)
    await fellow.assign_process(timeout=-1)
    waiting = poll(member)
    await idle(server, 1)
    await sql.execute("UPDATE processes SET exec_deadline = now() - interval '1 s'")
    await server.ticker.run_once(stir=False)
    assert (await waiting).process_id == process_id


async def test_it_is_woken_by_the_end_of_another_runtime(server, member, fellow, owner):
    process_id = await submit(member)
    await fellow.assign_process(timeout=-1)
    waiting = poll(member)
    await idle(server, 1)
    await owner.delete_runtime(fellow.key.id)
    assert (await waiting).process_id == process_id


async def test_it_ends_with_nothing_after_its_time(server, member):
    with pytest.raises(NothingToAssign):
        await member.assign_process(timeout=1)
    assert len(server.hub.lines) == 0
    assert server.hub.lines.queues() == []


@pytest.mark.settings(stranger_timeout=0.2)
async def test_it_may_be_the_first_thing_a_socket_asks(server, colony, people):
    """And last longer than the time a socket has for its first message."""
    asked = {"colonyid": colony, "timeout": 1}

    async def ask_first_of_all() -> None:
        """On a slow machine it may be too late with it, and tries again."""
        while True:
            async with talk(server) as fresh:
                with suppress(ConnectionClosed):
                    await fresh.ask("assignprocessmsg", asked, people.runtime)

    async with asyncio.timeout(LONG):
        assert isinstance(await refused(ask_first_of_all()), NothingToAssign)


async def test_a_socket_that_closes_takes_no_process_along(server, member, colony, people, fellow):
    for leave in ("close", "vanish"):
        async with talk(server) as gone:
            await gone.send(
                "assignprocessmsg", {"colonyid": colony, "timeout": SECONDS}, people.runtime
            )
            await idle(server, 1)
            await (gone.vanish() if leave == "vanish" else gone.websocket.close())
            await until(lambda: not server.hub.lines)
        process_id = await submit(member)
        assert (await fellow.assign_process(timeout=-1)).process_id == process_id


async def test_a_request_that_hangs_up_takes_no_process_along(
    server, member, colony, people, fellow
):
    body = seal("assignprocessmsg", {"colonyid": colony, "timeout": SECONDS}, people.runtime)
    head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    _, writer = await send(server, head + body)
    await idle(server, 1)
    writer.transport.abort()
    await until(lambda: not server.hub.lines)
    process_id = await submit(member)
    assert (await fellow.assign_process(timeout=-1)).process_id == process_id


@pytest.mark.parametrize("door", ["/ws", "POST /api"])
async def test_who_vanishes_during_the_claim_takes_no_process_along(
    *, server, member, colony, people, fellow, sql, door
):
    process_id = await submit(member)
    asked = {"colonyid": colony, "timeout": SECONDS}
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("LOCK TABLE processes IN EXCLUSIVE MODE")
    if door == "/ws":
        async with talk(server) as gone:
            await gone.send("assignprocessmsg", asked, people.runtime)
            await blocked(sql)
            await gone.vanish()
    else:
        body = seal("assignprocessmsg", asked, people.runtime)
        head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
        _, writer = await send(server, head.encode() + body)
        await blocked(sql)
        writer.transport.abort()
    await noticed(server)
    await transaction.commit()
    assert (await fellow.assign_process(timeout=SECONDS)).process_id == process_id


@pytest.mark.settings(max_in_flight=1)
async def test_who_vanishes_with_messages_yet_unread_takes_no_process_along(
    server, member, colony, people, fellow
):
    """The hub reads no further while as many as it takes are in flight, but must notice."""
    async with talk(server) as gone:
        asked = {"colonyid": colony, "timeout": SECONDS}
        await gone.send("assignprocessmsg", asked, people.runtime)
        await idle(server, 1)
        for _ in range(3):
            await gone.send("getcallermsg", {}, people.runtime)
        await noticed(server)
        await gone.vanish()
    await until(lambda: not server.hub.lines.queues())
    process_id = await submit(member)
    assert (await fellow.assign_process(timeout=-1)).process_id == process_id


async def test_rejecting_its_runtime_ends_it_with_403(server, member, owner, people):
    waiting = [poll(member) for _ in range(3)]
    await idle(server, 3)
    await owner.reject_runtime(people.runtime.id)
    for task in waiting:
        with pytest.raises(Forbidden):
            await task
    assert server.hub.lines.queues() == []


async def test_deleting_its_runtime_ends_it_with_403(server, member, owner, people):
    waiting = poll(member)
    await idle(server, 1)
    await owner.delete_runtime(people.runtime.id)
    with pytest.raises(Forbidden):
        await waiting


async def test_deleting_its_colony_ends_it_with_403(server, member, client, people, colony):
    waiting = poll(member)
    await idle(server, 1)
    await client.acting_as(people.server_owner).delete_colony(colony)
    with pytest.raises(Forbidden):
        await waiting


@pytest.mark.parametrize("addressed", [False, True])
async def test_a_wake_up_that_went_astray_is_made_good_by_the_next_pass(
    server, member, people, addressed
):
    waiting = poll(member)
    await idle(server, 1)
    spec = (await member.submit("work", runtime_type="elsewhere")).process.spec
    where = {"runtime_type": "cli"}
    if addressed:
        where = {"runtime_type": "", "runtime_ids": [people.runtime.id]}
    fields = {"colony_id": spec.conditions.colony_id} | where
    lost = await lifecycle.submit(
        server.db, type(spec)(conditions=type(spec.conditions)(**fields)), NOBODYS
    )
    await server.ticker.run_once()
    async with asyncio.timeout(LONG):
        assert (await waiting).process_id == lost.process_id


@pytest.mark.usefixtures("colony")
async def test_who_takes_another_process_than_offered_passes_the_offer_on(server, client, people):
    """One big and one small runtime are idle; the big one was offered what the small can do."""
    keys = [PrivateKey.generate(), PrivateKey.generate()]
    await add_runtime(client, people.colony_owner, keys[0], cores=8)
    await add_runtime(client, people.colony_owner, keys[1], cores=1)
    big, small = [client.acting_as(key) for key in keys]
    first = poll(big)
    await idle(server, 1)
    second = poll(small)
    await idle(server, 2)
    await server.db.fetch_value("get_schema_version")
    wanted = Conditions(colony_id=people.colony_owner.id, runtime_type="cli")
    light, heavy = [
        await lifecycle.submit(
            server.db,
            ProcessSpec(conditions=replace(wanted, cores=cores), priority=cores),
            NOBODYS,
        )
        for cores in (1, 8)
    ]
    server.hub.publish([light, heavy])
    assert (await first).process_id == heavy.process_id
    async with asyncio.timeout(LONG):
        assert (await second).process_id == light.process_id
