"""Subscriptions that come back with the socket, beside new ones that are made just then."""

import asyncio

import pytest
from msgspec.structs import replace
from websockets.asyncio.server import serve

from colonies.client import connect
from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, error_reply, pack
from colonies.core.errors import Conflict
from colonies.core.identity import PrivateKey
from colonies.core.process import Process, State
from tests.server.doors import LONG


class Hub:
    """Hangs up after the first answer, then answers nothing new before what is old is back."""

    def __init__(self) -> None:
        self.sockets = 0
        self.asked: list[str] = []
        self.held: list[str] = []

    async def __call__(self, websocket) -> None:
        self.sockets += 1
        self.asked.clear()
        async for frame in websocket:
            id_ = wire.decode(frame, Envelope).id
            if self.sockets == 1:
                await websocket.send(_answer(id_), text=True)
                return
            if id_ in self.asked:
                refusal = error_reply(Conflict(f"there is a subscription <{id_}>"), id_)
                await websocket.send(wire.encode(refusal), text=True)
                continue
            self.asked.append(id_)
            if id_ != "s1":
                continue
            for one in self.asked:
                await websocket.send(_answer(one), text=True)
                push = Reply(payload=pack(Process(process_id=one)), subscription=one)
                await websocket.send(wire.encode(push), text=True)


def _answer(id_) -> bytes:
    return wire.encode(Reply(payload_type="x", payload=pack({}), id=id_))


async def test_a_subscription_under_way_is_not_made_again_with_those_that_were_lost(settings):
    hub = Hub()
    async with serve(hub, "127.0.0.1", 0) as server:
        there = replace(settings, server_port=server.sockets[0].getsockname()[1])
        async with connect(there, key=PrivateKey(f"{1:064x}")) as colonies, asyncio.timeout(LONG):
            old = await colonies.subscribe_processes("old", states=[State.WAITING])
            while colonies._transport._websocket is not None:
                await asyncio.sleep(0)
            new = await colonies.subscribe_processes("new", states=[State.WAITING])
            assert (await anext(old)).process_id == "s1"
            assert (await anext(new)).process_id != "s1"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(new)
