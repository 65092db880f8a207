"""Texts that come to the client: at once where they are whole, and in order in any case."""

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from colonies.client import connect
from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, pack
from colonies.core.identity import PrivateKey
from colonies.core.process import Process, State

KEY = PrivateKey.generate()
LONG = 30.0


class Hub:
    """Answers each call, and then writes what it is told to, all at once."""

    def __init__(self, *texts: list[bytes]) -> None:
        self._texts = texts
        self.left = asyncio.Event()

    async def __call__(self, websocket) -> None:
        with suppress(ConnectionClosed):
            await self._answer(websocket)
        self.left.set()

    async def _answer(self, websocket) -> None:
        async for frame in websocket:
            envelope = wire.decode(frame, Envelope)
            answer = Reply(payload_type=envelope.payload_type, payload=pack({}), id=envelope.id)
            websocket.protocol.send_text(wire.encode(answer))
            for number in range(len(self._texts)):
                self._write(websocket.protocol, number, str(envelope.id))
            websocket.transport.write(b"".join(websocket.protocol.data_to_send()))

    def _write(self, protocol, number: int, name: str) -> None:
        first, *rest = (part.replace(b"NAME", name.encode()) for part in self._texts[number])
        protocol.send_text(first, fin=not rest)
        for left in range(len(rest), 0, -1):
            protocol.send_continuation(rest[len(rest) - left], fin=left == 1)


def push(process_id: str) -> bytes:
    payload = pack(Process(process_id=process_id))
    return wire.encode(Reply(payload_type="p", payload=payload, subscription="NAME"))


async def test_texts_in_pieces_stay_in_order(settings):
    hub = Hub([push("1")], [push("2")[:20], push("2")[20:50], push("2")[50:]], [push("3")])
    async with serve(hub, "127.0.0.1", 0) as server:
        there = replace(settings, server_port=server.sockets[0].getsockname()[1])
        async with connect(there, key=KEY) as colonies, asyncio.timeout(LONG):
            changes = await colonies.subscribe_processes("cli", states=[State.WAITING])
            assert [(await anext(changes)).process_id for _ in range(3)] == ["1", "2", "3"]
            colonies._connection().forget("s1")  # or its end would be told to this hub


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"payload": "\xff"}'])
async def test_what_is_no_reply_ends_the_connection(settings, text):
    hub = Hub([text])
    async with serve(hub, "127.0.0.1", 0) as server:
        there = replace(settings, server_port=server.sockets[0].getsockname()[1])
        async with connect(there, key=KEY) as colonies, asyncio.timeout(LONG):
            await colonies.delete_process("0" * 64)
            await hub.left.wait()
            await colonies.delete_process("0" * 64)  # by another socket
