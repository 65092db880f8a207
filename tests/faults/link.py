"""One connection through the proxy: reads message by message, and does what is armed."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from tests.faults.fault import Fault, Kind, Message, json_object
from tests.faults.framing import HttpMessage, Incoming, Reader, read_frames, read_http

CHUNK = 7
"""Bytes at a time of what trickles."""

UNHEARD = (Kind.DROP_REPLY, Kind.RESET_AFTER_REQUEST)
"""What the hub shall certainly have done, and nobody hear of."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that is a reset: nobody is told, and nothing more is sent."""


Side = tuple[Reader, asyncio.StreamWriter]


class Proxy(Protocol):
    """What a link needs of whom it is part of."""

    def take_fault(self, message: Message) -> Fault | None:
        """Give what shall happen to a message, and count it."""

    async def pass_on(self, writer: asyncio.StreamWriter, raw: bytes) -> None:
        """Write once anything passes at all."""

    def dial(self) -> AbstractAsyncContextManager[Side]:
        """Open a connection to the hub."""


class Link:
    """One client's connection and its twin to the hub."""

    def __init__(self, proxy: Proxy, client: Side, hub: Side) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_hub, self._to_hub = hub
        self._unheard: dict[Any, Fault] = {}  # faults of replies to come, by the request's id

    async def run(self) -> None:
        """Pass messages on until a side is gone."""
        while (request := await read_http(self._from_client)) is not None:
            if request.is_upgrade:
                await self._switch(request)
                return
            await self._exchange(request)

    def reset(self) -> None:
        """Reset both sides."""
        for writer in (self._to_client, self._to_hub):
            reset(writer)

    # POST /api: one request, then its response.

    async def _exchange(self, request: HttpMessage) -> None:
        message = Message(request.path, request.body)
        fault = self._proxy.take_fault(message)
        kind = fault and fault.kind
        if kind is Kind.DROP_REQUEST:
            await fault.strike()
            return
        copies = [await self._copy(request)] if kind is Kind.DUPLICATE else []
        if not await self._deliver(request.raw, fault):
            return
        if kind is Kind.RESET_AFTER_REQUEST:
            reset(self._to_client)
        response = await self._response(to_the_end=kind in UNHEARD)
        if response is None:
            self._to_client.close()
            return
        if kind not in UNHEARD:
            for one in [*copies, response.raw]:
                await self._proxy.pass_on(self._to_client, one)
        if kind in (*UNHEARD, Kind.DUPLICATE):
            await fault.strike()

    async def _response(self, *, to_the_end: bool) -> HttpMessage | None:
        """Read what the hub answers; unless ``to_the_end``, no longer than somebody waits."""
        reading = asyncio.ensure_future(read_http(self._from_hub))
        leaving = asyncio.ensure_future(self._from_client.ended.wait())
        try:
            await asyncio.wait(
                {reading} if to_the_end else {reading, leaving},
                return_when=asyncio.FIRST_COMPLETED,
            )
            return reading.result() if reading.done() else None
        finally:
            for task in (reading, leaving):
                task.cancel()
            await asyncio.gather(reading, leaving, return_exceptions=True)

    async def _copy(self, request: HttpMessage) -> bytes:
        """Deliver over a connection of its own: ours may end after its first response."""
        async with self._proxy.dial() as (reader, writer):
            await self._proxy.pass_on(writer, request.raw)
            response = await read_http(reader)
        return response.raw if response else b""

    # WebSockets: frames both ways.

    async def _switch(self, request: HttpMessage) -> None:
        await self._proxy.pass_on(self._to_hub, request.raw)
        response = await read_http(self._from_hub)
        if response is None:
            return
        await self._proxy.pass_on(self._to_client, response.raw)
        pumps = [
            asyncio.ensure_future(self._requests(request.path)),
            asyncio.ensure_future(self._replies()),
        ]
        try:
            # The client may be gone before the hub has done what nobody shall hear of.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._unheard and not pumps[1].done():
                await asyncio.wait(pumps[1:])
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self, door: str) -> None:
        async for incoming in read_frames(self._from_client):
            if incoming.is_control:
                await self._proxy.pass_on(self._to_hub, incoming.raw)
            elif not await self._request(Message(door, incoming.content), incoming):
                return

    async def _request(self, message: Message, incoming: Incoming) -> bool:
        fault = self._proxy.take_fault(message)
        kind = fault and fault.kind
        if kind is Kind.DROP_REQUEST:
            await fault.strike()
            return True
        if kind in UNHEARD:
            self._unheard[message.id] = fault
        if kind is Kind.DUPLICATE:
            await self._proxy.pass_on(self._to_hub, incoming.raw)
        if not await self._deliver(incoming.raw, fault):
            return False
        if kind is Kind.DUPLICATE:
            await fault.strike()
        if kind is Kind.RESET_AFTER_REQUEST:
            reset(self._to_client)
            return False
        return True

    async def _replies(self) -> None:
        async for incoming in read_frames(self._from_hub):
            reply = {} if incoming.is_control else json_object(incoming.content)
            is_push = incoming.is_control or "subscription" in reply
            fault = None if is_push else self._unheard.pop(reply.get("id"), None)
            if fault is None:
                await self._proxy.pass_on(self._to_client, incoming.raw)
                continue
            await fault.strike()
            if self._from_client.ended.is_set() and not self._unheard:
                return

    async def _deliver(self, raw: bytes, fault: Fault | None) -> bool:
        """Bring a request to the hub; gives whether there is still a connection."""
        kind = fault and fault.kind
        if kind is Kind.RESET_MID_FRAME:
            await self._proxy.pass_on(self._to_hub, raw[: len(raw) // 2])
            self.reset()
            await fault.strike()
            return False
        if kind is Kind.DELAY:
            await asyncio.sleep(fault.seconds)
        pieces = [raw]
        if kind is Kind.TRICKLE:
            pieces = [raw[at : at + CHUNK] for at in range(0, len(raw), CHUNK)]
        for piece in pieces:
            await self._proxy.pass_on(self._to_hub, piece)
            await asyncio.sleep(0)
        if kind in (Kind.DELAY, Kind.TRICKLE):
            await fault.strike()
        return True


def reset(writer: asyncio.StreamWriter) -> None:
    """Drop a connection so that the peer is reset."""
    if (bare := writer.get_extra_info("socket")) is not None and not writer.is_closing():
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
