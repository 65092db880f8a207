"""The client's socket: replies, pushes, losses and returns."""

import asyncio
import contextlib
from contextlib import suppress

import pytest
from msgspec.structs import replace
from websockets.asyncio.server import serve

from colonies.client import connect
from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, pack
from colonies.core.errors import (
    AlreadyExists,
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    Malformed,
    NotFound,
    NothingToAssign,
)
from colonies.core.identity import PrivateKey
from colonies.core.process import Held, State
from colonies.server.app import Server
from tests.conftest import held
from tests.server.doors import LONG

KEY = PrivateKey(f"{1:064x}")


async def test_calls_in_flight_are_answered_each_by_its_own_reply(client, colony, people):
    keys = [people.runtime, people.pending, people.stranger, people.colony_owner] * 10
    callers = await asyncio.gather(*(client.acting_as(key).get_caller() for key in keys))
    assert [caller.id for caller in callers] == [key.id for key in keys]


async def test_a_long_poll_holds_up_no_other_call(member):
    waiting = asyncio.ensure_future(member.assign_process(timeout=60))
    process = await member.submit("work", runtime_type="cli")
    assert (await waiting).process_id == process.id


async def test_errors_come_out_as_their_classes(member, client, people):
    with pytest.raises(NotFound):
        await member.get_process("f" * 64)
    with pytest.raises(Forbidden):
        await member.get_colonies()
    with pytest.raises(NothingToAssign):
        await member.assign_process(timeout=-1)
    with pytest.raises(Malformed):
        await member.get_processes(State.WAITING, count=-1)
    with pytest.raises(AlreadyExists):
        await client.acting_as(people.server_owner).add_colony(people.colony_owner.id)
    process = await member.submit("work", runtime_type="cli")
    await member.assign_process(timeout=-1)
    await member.close_successful(process.id)
    with pytest.raises(Conflict) as refusal:
        await member.close_failed(process.id)
    assert refusal.value.code == "conflict"


@pytest.mark.parametrize("how", ["success", "failure"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_waiting_ends_with_the_process(member, how, when):
    submitted = await member.submit("work", runtime_type="cli")
    await member.assign_process(timeout=-1)

    async def end():
        if how == "success":
            await member.close_successful(submitted.id, ["done"])
        else:
            await member.close_failed(submitted.id, ["why"])

    if when == "before":
        await end()
        process = await submitted.wait(LONG)
    else:
        waiting = asyncio.ensure_future(submitted.wait(LONG))
        await asyncio.sleep(0)
        await end()
        process = await waiting
    expected = {"success": (State.SUCCESS, ["done"], []), "failure": (State.FAILED, [], ["why"])}
    assert (process.state, process.output, process.errors) == expected[how]


async def test_waiting_ends_with_its_time(member):
    submitted = await member.submit("work", runtime_type="cli")
    with pytest.raises(TimeoutError):
        await submitted.wait(0.1)


async def test_waiting_for_a_process_that_is_deleted_ends(member):
    submitted = await member.submit("work", runtime_type="cli")
    async with await member.subscribe_process(submitted.id) as changes:
        await member.delete_process(submitted.id)
        with pytest.raises(NotFound):
            async with asyncio.timeout(LONG):
                await anext(changes)


async def test_without_a_hub_the_connection_is_lost(settings, unused_port):
    async with connect(replace(settings, server_port=unused_port), key=KEY) as colonies:
        for _ in range(2):
            with pytest.raises(ConnectionLost, match=f"no hub at ws://127.0.0.1:{unused_port}"):
                await colonies.get_caller()


@pytest.fixture
async def unused_port():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@contextlib.asynccontextmanager
async def raw_server(answer: bytes = b""):
    """A server that says one thing and hangs up, or says nothing and does not."""
    writers = []

    async def accept(reader, writer):
        writers.append(writer)
        await reader.read(1)
        if answer:
            writer.write(answer)
            await writer.drain()
            writer.close()
        await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("http", [False, True])
async def test_a_hub_that_is_silent_is_given_up_on(settings, http):
    async with raw_server() as port:
        quiet = replace(settings, server_port=port, timeout=0.2)
        async with connect(quiet, key=KEY, http=http) as colonies:
            with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.2 s"):
                await colonies.get_caller()


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
    ],
)
async def test_what_is_no_hub_is_a_lost_connection(settings, http, answer):
    async with raw_server(answer) as port:
        there = replace(settings, server_port=port)
        async with connect(there, key=KEY, http=http) as colonies:
            with pytest.raises(ConnectionLost):
                await colonies.get_caller()


async def test_a_body_that_breaks_off_is_a_lost_connection(settings):
    closed = asyncio.Event()

    async def accept(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connect(replace(settings, server_port=port), key=KEY, http=True) as colonies:
            with pytest.raises(ConnectionLost):
                await colonies.get_caller()
        await closed.wait()


async def test_a_call_under_way_when_the_hub_goes_is_lost(settings, db, people):
    async with Server(settings) as server:
        there = replace(settings, server_port=server.port)
        colonies = connect(there, key=people.server_owner)
        await colonies.add_colony(people.server_owner.id)
        watching = await colonies.subscribe_processes("cli", states=[State.WAITING])
    await colonies.close()
    with pytest.raises(ConnectionLost):
        await anext(watching)
    with pytest.raises(ConnectionLost):
        await colonies.get_caller()


async def test_after_the_hub_came_back_calls_work_and_subscriptions_go_on(
    *, settings, db, people, client, colony, server
):
    """The hub of the fixtures only fills the database; another one is stopped and started."""
    async with Server(settings) as first:
        there = replace(settings, server_port=first.port)
        member = connect(there, key=people.runtime)
        changes = await member.subscribe_processes("cli", states=[State.WAITING])
        work = await member.subscribe_assignments(credit=1)
        await member.get_caller()
    asking = asyncio.ensure_future(member.get_caller())
    async with Server(there) as second:
        async with asyncio.timeout(LONG):
            assert (await asking).id == people.runtime.id
            while len(second.hub.listeners) + len(second.hub.lines) < 2:
                await asyncio.sleep(0)
            process = await member.submit("work", runtime_type="cli")
            assert (await anext(changes)).process_id == process.id
            assert (await anext(work)).process_id == process.id
        await member.close()


async def test_what_is_held_is_asked_anew_at_every_subscription(
    settings, db, people, client, colony
):
    holding: list[Held] = []
    async with Server(settings) as first:
        there = replace(settings, server_port=first.port)
        member = connect(there, key=people.runtime)
        work = await member.subscribe_assignments(credit=1, holding=lambda: holding)
        first_id = (await member.submit("work", runtime_type="cli")).id
        holding.append(held(await anext(work)))
    async with Server(there) as second:
        async with asyncio.timeout(LONG):
            while not second.hub.holders:
                await asyncio.sleep(0)
            second_id = (await member.submit("work", runtime_type="cli")).id
            await member.close_successful(first_id)
            assert (await anext(work)).process_id == second_id
        await member.close()


async def test_a_subscription_refused_when_the_hub_came_back_ends_with_why(
    settings, db, people, client, colony
):
    async with Server(settings) as first:
        there = replace(settings, server_port=first.port)
        member = connect(there, key=people.runtime)
        changes = await member.subscribe_processes("cli", states=[State.WAITING])
    await client.acting_as(people.colony_owner).reject_runtime(people.runtime.id)
    async with Server(there):
        with pytest.raises(Forbidden):
            async with asyncio.timeout(LONG):
                await anext(changes)
        await member.close()


async def test_a_socket_lost_right_after_the_answer_is_subscribed_again(settings):
    """The answer and the end arrive together: the subscription is gone with the socket."""
    asked: list[str] = []
    again = asyncio.Event()

    async def hub(websocket):
        async for frame in websocket:
            envelope = wire.decode(frame, Envelope)
            asked.append(envelope.payload_type)
            answer = Reply(payload_type=envelope.payload_type, payload=pack({}), id=envelope.id)
            if len(asked) == 1:
                transport = websocket.transport
                websocket.protocol.send_text(wire.encode(answer))
                websocket.protocol.send_close()
                transport.write(b"".join(websocket.protocol.data_to_send()))
                transport.close()
                return
            again.set()
            await websocket.send(wire.encode(answer), text=True)

    async with serve(hub, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(replace(settings, server_port=port), key=KEY) as colonies:
            await colonies.subscribe_processes("cli", states=[State.WAITING])
            async with asyncio.timeout(LONG):
                await again.wait()
    assert asked == ["subscribeprocessesmsg"] * 2


async def test_closing_twice_is_fine_and_ends_everything(client, member):
    changes = await member.subscribe_processes("cli", states=[State.WAITING])
    waiting = asyncio.ensure_future(anext(changes))
    polling = asyncio.ensure_future(member.assign_process(timeout=60))
    await member.get_caller()
    await client.close()
    await client.close()
    for task in (waiting, polling):
        with pytest.raises(ConnectionLost):
            await task
    with pytest.raises(ConnectionLost):
        await member.get_caller()


async def test_a_subscription_that_was_closed_is_closed_on_the_hub(member, server):
    async with await member.subscribe_processes("cli", states=[State.WAITING]) as changes:
        assert len(server.hub.listeners) == 1
    assert len(server.hub.listeners) == 0
    await changes.close()


async def test_a_cancelled_call_leaves_the_socket_usable(member):
    task = asyncio.ensure_future(member.assign_process(timeout=60))
    await member.get_caller()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await member.get_caller()).id == member.key.id
