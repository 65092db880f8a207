"""Each fault does what it says, seen from the client's side and from the hub's."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed

from colonies.client import connect
from colonies.core import wire
from colonies.core.envelope import Reply, open_reply, seal
from colonies.core.process import Conditions, ProcessSpec, State
from tests.faults.fault import ALWAYS
from tests.faults.proxy import FaultProxy
from tests.server.doors import (
    LONG,
    Talk,
    hang_up,
    idle,
    noticed,
    read_http,
    send,
    talk,
)

SUBMIT = "submitprocessespecmsg"
GONE = (ConnectionClosed, OSError, asyncio.IncompleteReadError)

pytestmark = pytest.mark.settings(timeout=LONG)


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.port) as between:
        yield between


@pytest.fixture
def count(member):
    """Count what was submitted, past the proxy."""

    async def count() -> int:
        return len(await member.get_processes(State.WAITING))

    return count


class Raw:
    """One socket through the proxy, spoken by hand, over either door."""

    def __init__(self, colony, key, talking: Talk | None, streams) -> None:
        self._spec = ProcessSpec(conditions=Conditions(colony_id=colony, runtime_type="cli"))
        self._key = key
        self._talk = talking
        self._streams = streams

    async def send(self, payload_type=SUBMIT, id_="q") -> None:
        body = seal(payload_type, {"spec": self._spec}, self._key, id_)
        if self._talk:
            await self._talk.websocket.send(body, text=True)
            return
        head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
        self._streams[1].write(head.encode() + body)

    async def reply(self, id_="q"):
        if self._talk:
            return await self._talk.reply(id_)
        _, body = await read_http(self._streams[0])
        reply = wire.decode(body, Reply)
        assert reply.id == id_
        return open_reply(reply, dict)

    async def is_alive(self) -> bool:
        """Whether the next answer on this socket is to the next question."""
        await self.send("versionmsg", "alive")
        return bool(await self.reply("alive"))


@pytest.fixture(params=["ws", "http"])
async def raw(request, proxy, colony, people):
    async with AsyncExitStack() as stack:
        talking, streams = None, None
        if request.param == "ws":
            talking = await stack.enter_async_context(talk(proxy))
        else:
            streams = await send(proxy, b"")
            stack.push_async_callback(hang_up, streams[1])
        yield Raw(colony, people.runtime, talking, streams)


@pytest.fixture(params=[False, True], ids=["client-ws", "client-http"])
async def through(request, proxy, settings, colony, people):
    """The client, which may or may not try again by itself."""
    there = replace(settings, server_port=proxy.port)
    async with connect(there, key=people.runtime, http=request.param) as colonies:
        yield colonies


@contextlib.asynccontextmanager
async def submitting(client):
    """Submit beside the block; what comes of it is nobody's business after that."""
    task = asyncio.ensure_future(client.submit("work", runtime_type="cli"))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestRaw:
    """As bytes: a fault strikes once, and what comes after it passes."""

    async def test_nothing_is_changed_without_a_fault(self, raw, proxy, count):
        await raw.send()
        assert (await raw.reply())["state"] == State.WAITING
        assert await count() == 1
        assert await raw.is_alive()
        assert proxy.requests == {SUBMIT: 1, "versionmsg": 1}

    async def test_a_request_is_dropped(self, raw, proxy, count):
        fault = proxy.drop_request(SUBMIT)
        await raw.send()
        await fault.struck()
        assert await raw.is_alive()
        assert await count() == 0
        await raw.send()
        await raw.reply()
        assert await count() == 1

    async def test_a_reply_is_dropped(self, raw, proxy, count):
        fault = proxy.drop_reply(SUBMIT)
        await raw.send()
        await fault.struck()
        assert await count() == 1
        assert await raw.is_alive()

    async def test_a_request_is_delivered_twice(self, raw, proxy, count):
        fault = proxy.duplicate(SUBMIT)
        await raw.send()
        ids = {(await raw.reply())["processid"] for _ in range(2)}
        await fault.struck()
        assert len(ids) == await count() == 2
        assert await raw.is_alive()

    async def test_a_request_is_held_up(self, raw, proxy, count):
        proxy.delay(0.2, SUBMIT)
        began = time.monotonic()
        await raw.send()
        await raw.reply()
        assert time.monotonic() - began >= 0.2
        assert await count() == 1

    async def test_half_a_request_arrives(self, raw, proxy, count):
        fault = proxy.reset_mid_frame(SUBMIT)
        await raw.send()
        await fault.struck()
        with pytest.raises(GONE):
            await raw.reply()
        assert await count() == 0

    async def test_the_client_is_reset_before_the_reply(self, raw, proxy, count):
        fault = proxy.reset_after_request(SUBMIT)
        await raw.send()
        await fault.struck()
        with pytest.raises(GONE):
            await raw.reply()
        assert await count() == 1

    async def test_a_request_arrives_in_pieces(self, raw, proxy, count):
        fault = proxy.trickle(SUBMIT)
        await raw.send()
        assert (await raw.reply())["state"] == State.WAITING
        await fault.struck()
        assert await count() == 1
        assert await raw.is_alive()

    async def test_a_fault_strikes_only_what_it_is_for(self, raw, proxy, count):
        fault = proxy.drop_request(lambda message: message.fields["spec"].get("name") == "other")
        await raw.send()
        await raw.reply()
        assert (await count(), fault.done) == (1, 0)
        fault.matching = lambda message: message.fields["spec"]["name"] == ""
        await raw.send()
        await fault.struck()
        assert await count() == 1

    async def test_a_fault_can_be_disarmed(self, raw, proxy, count):
        proxy.drop_request(SUBMIT, times=ALWAYS).disarm()
        await raw.send()
        await raw.reply()
        assert await count() == 1

    async def test_connections_are_cut_and_new_ones_are_not(self, raw, proxy):
        assert await raw.is_alive()
        proxy.cut()
        with pytest.raises(GONE):
            await raw.is_alive()
        async with talk(proxy) as again:
            await again.ask("versionmsg", {}, None)

    async def test_what_falls_into_a_black_hole_comes_when_it_closes(
        self, raw, proxy, server, count
    ):
        assert await raw.is_alive()
        proxy.black_hole()
        await raw.send()
        await noticed(server)
        assert await count() == 0
        proxy.black_hole(on=False)
        await raw.reply()
        assert await count() == 1

    async def test_new_connections_are_refused_and_old_ones_are_not(self, raw, proxy):
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await send(proxy, b"")
        assert await raw.is_alive()
        await proxy.refuse(on=False)
        async with talk(proxy) as again:
            await again.ask("versionmsg", {}, None)


class TestClient:
    """Through the client library, which may try again: what is certain in any case."""

    async def test_nothing_is_changed_without_a_fault(self, through, count):
        await through.submit("work", runtime_type="cli")
        assert await count() == 1
        process = await through.assign_process(timeout=5)
        await through.close_successful(process.process_id, ["x" * 70_000])
        assert (await through.get_process(process.process_id)).output == ["x" * 70_000]

    async def test_a_request_is_dropped(self, through, proxy, count):
        fault = proxy.drop_request(SUBMIT, times=ALWAYS)
        async with submitting(through):
            await fault.struck()
            assert await count() == 0

    async def test_a_reply_is_dropped(self, through, proxy, count):
        fault = proxy.drop_reply(SUBMIT)
        async with submitting(through):
            await fault.struck()
            assert await count() >= 1

    async def test_a_request_is_delivered_twice(self, through, proxy, count):
        """What was meant once is done twice, unless the hub can tell that."""
        fault = proxy.duplicate(SUBMIT)
        async with submitting(through) as task:
            await fault.struck()
            await task
            assert await count() in (1, 2)

    async def test_a_request_is_held_up_or_comes_in_pieces(self, through, proxy, count):
        proxy.delay(0.05, SUBMIT)
        await through.submit("work", runtime_type="cli")
        proxy.trickle(SUBMIT)
        await through.submit("work", runtime_type="cli")
        assert await count() == 2

    async def test_half_a_request_arrives(self, through, proxy, count):
        fault = proxy.reset_mid_frame(SUBMIT, times=ALWAYS)
        async with submitting(through):
            await fault.struck()
            assert await count() == 0

    async def test_the_client_is_reset_before_the_reply(self, through, proxy, count):
        fault = proxy.reset_after_request(SUBMIT)
        async with submitting(through):
            await fault.struck()
            assert await count() >= 1

    async def test_whole_connections(self, through, proxy, count):
        proxy.black_hole()
        async with submitting(through) as task:
            assert await count() == 0
            proxy.black_hole(on=False)
            await task
            assert await count() == 1
        proxy.cut()
        await proxy.refuse()
        async with submitting(through):
            assert await count() == 1


class TestTransparency:
    """What the hub must still see of its peers, and they of it."""

    @pytest.mark.parametrize("path", ["/ws", "/pubsub"])
    async def test_pushes_pass(self, proxy, member, people, path):
        submitted = await member.submit("work", runtime_type="cli")
        async with talk(proxy, path) as talking:
            fields = {"processid": submitted.id, "states": [0], "state": 0, "timeout": 60}
            await talking.send("subscribeprocessmsg", fields, people.runtime, "s")
            assert (await talking.pushed()).process_id == submitted.id

    async def test_the_hub_sees_that_a_long_poll_was_left(self, proxy, server, colony, people):
        fields = {"colonyid": colony, "timeout": 60}
        body = seal("assignprocessmsg", fields, people.runtime)
        head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
        _, writer = await send(proxy, head.encode() + body)
        await idle(server, 1)
        await hang_up(writer)
        await idle(server, 0)

    async def test_a_client_without_a_hub_is_hung_up_on(self, unused_tcp_port):
        async with FaultProxy(unused_tcp_port) as proxy:
            reader, writer = await send(proxy, b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            await hang_up(writer)

    async def test_pieces_are_small(self):
        pieces, whole = [], asyncio.Event()

        async def listen(reader, writer):
            while piece := await reader.read(100_000):
                pieces.append(piece)
                if b"!" in piece:
                    whole.set()
            writer.close()

        upstream = await asyncio.start_server(listen, "127.0.0.1", 0)
        async with upstream, FaultProxy(upstream.sockets[0].getsockname()[1]) as proxy:
            proxy.trickle()
            body = b"x" * 200 + b"!"
            head = f"POST /api HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            _, writer = await send(proxy, head + body)
            async with asyncio.timeout(LONG):
                await whole.wait()
            await hang_up(writer)
        assert b"".join(pieces) == head + body
        assert len(pieces) > 5
