"""A bad network on purpose: a TCP proxy that knows where messages begin and end.

It stands between a client and a hub, understands ``POST /api`` and WebSocket frames just enough to
act on one message at a time, and loses, repeats, delays or cuts what it was told to::

    async with FaultProxy(server.port) as proxy:
        fault = proxy.drop_reply("submitprocessespecmsg")
        ...  # somebody submits through proxy.port
        await fault.struck()
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from tests.faults.fault import Fault, Kind, Matching, Message
from tests.faults.framing import CLOSED, Reader
from tests.faults.link import Link, Side


class FaultProxy:
    """A port that leads to the hub's, badly. Enter it, so that nothing is left running."""

    def __init__(self, upstream_port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.upstream_port = upstream_port
        self.requests: Counter[str] = Counter()  # by payload type, as they came
        self._faults: list[Fault] = []
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._claim: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._passes = asyncio.Event()
        self._passes.set()

    async def __aenter__(self) -> Self:
        # Bound but not listening: it keeps the port ours while it refuses.
        self._claim = self._bind(0)
        self.port = self._claim.getsockname()[1]
        await self.refuse(on=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets close a turn of the loop later
        if self._claim is not None:
            self._claim.close()

    # For the next messages that match.

    def drop_request(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let a request never arrive; the socket stays open."""
        return self._arm(Kind.DROP_REQUEST, matching, times)

    def drop_reply(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let a request arrive and its reply be lost; the socket stays open."""
        return self._arm(Kind.DROP_REPLY, matching, times)

    def duplicate(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let a request arrive twice; both replies pass."""
        return self._arm(Kind.DUPLICATE, matching, times)

    def delay(self, seconds: float, matching: Matching = None, *, times: int = 1) -> Fault:
        """Hold a request up, and what comes behind it on its connection."""
        return self._arm(Kind.DELAY, matching, times, seconds)

    def reset_mid_frame(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let half of a request arrive, and reset both sides."""
        return self._arm(Kind.RESET_MID_FRAME, matching, times)

    def reset_after_request(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let a request arrive, and reset the client's side before the reply.

        The hub's side stays open until it has answered, so that it certainly was done.
        """
        return self._arm(Kind.RESET_AFTER_REQUEST, matching, times)

    def trickle(self, matching: Matching = None, *, times: int = 1) -> Fault:
        """Let a request arrive in small pieces."""
        return self._arm(Kind.TRICKLE, matching, times)

    # For whole connections.

    def cut(self) -> None:
        """Reset every connection there is, on both sides."""
        for link in list(self._links):
            link.reset()

    def black_hole(self, *, on: bool = True) -> None:
        """Let nothing pass, as an unplugged cable does: TCP brings it all once it is back."""
        if on:
            self._passes.clear()
        else:
            self._passes.set()

    async def refuse(self, *, on: bool = True) -> None:
        """Refuse new connections; those there are go on."""
        if on and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif not on and self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._speak, sock=self._bind(self.port))

    def _speak(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Reader(), self._serve)

    def _bind(self, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self.host, port))
        return bound

    def _arm(self, kind: Kind, matching: Matching, times: int, seconds: float = 0.0) -> Fault:
        fault = Fault(kind, matching, times, seconds)
        self._faults.append(fault)
        return fault

    def take_fault(self, message: Message) -> Fault | None:
        """Give what shall happen to a message, and count it."""
        self.requests[message.payload_type] += 1
        for fault in self._faults:
            if fault.matches(message):
                fault.times -= 1
                return fault
        return None

    async def pass_on(self, writer: asyncio.StreamWriter, raw: bytes) -> None:
        """Write once anything passes at all."""
        await self._passes.wait()
        writer.write(raw)
        await writer.drain()

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[Side]:
        """Open a connection to the hub, and leave nothing of it."""
        await self._passes.wait()
        loop, reader = asyncio.get_running_loop(), Reader()
        transport, protocol = await loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader), self.host, self.upstream_port
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(*CLOSED):
                async with self.dial() as hub:
                    link = Link(self, (reader, writer), hub)
                    self._links.add(link)
                    try:
                        await link.run()
                        await self._passes.wait()  # nor does the end of a connection
                    finally:
                        self._links.discard(link)
        except asyncio.CancelledError:
            pass  # by us, at the end: asyncio would log it
        finally:
            writer.close()
