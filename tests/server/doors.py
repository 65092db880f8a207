"""The doors as a stranger sees them: raw bytes over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from colonies.core import wire
from colonies.core.envelope import Reply, open_reply, seal, unpack
from colonies.core.errors import Failure, FailureMessage
from colonies.core.identity import PrivateKey
from colonies.core.process import Process
from colonies.server.app import Server

LONG = 60.0
"""Seconds after which a test gives up on something that should have come at once."""


async def post(server: Server, body: bytes) -> tuple[int, Reply]:
    """Send one body to ``POST /api``; give the status and the reply."""
    head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
    return await read_response(*await send(server, head.encode() + body))


async def send(server: Server, raw: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a TCP connection and send bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    return reader, writer


async def read_response(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, Reply]:
    """Read one HTTP response and hang up."""
    status, body = await read_http(reader)
    await hang_up(writer)
    return status, wire.decode(body, Reply)


async def read_http(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one HTTP response."""
    async with asyncio.timeout(LONG):
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(headers[b"content-length"]))
    return int(head.split()[1]), body


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def failure_of(reply: Reply) -> FailureMessage:
    """Give the failure that an error reply carries, checking its shape."""
    assert reply.error
    assert reply.payload_type == "error"
    message = wire.decode(unpack(reply.payload), FailureMessage)
    assert message.status >= 400
    assert message.code
    assert message.message
    return message


class Talk:
    """One WebSocket, spoken by hand: replies by id, pushes in order."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self._replies: dict[str, Reply] = {}
        self._pushes: deque[Reply] = deque()

    async def send(
        self, payload_type: str, fields: dict[str, Any], key: PrivateKey | None, id_: str = ""
    ) -> None:
        """Send a signed message."""
        await self.websocket.send(seal(payload_type, fields, key, id_), text=True)

    async def ask(
        self, payload_type: str, fields: dict[str, Any], key: PrivateKey | None, id_: str = "q"
    ) -> Any:
        """Send a signed message and give what its reply carries, or raise its failure."""
        await self.send(payload_type, fields, key, id_)
        return await self.reply(id_)

    async def reply(self, id_: str) -> Any:
        """Give what the reply with this id carries, or raise its failure."""
        while id_ not in self._replies:
            await self._read()
        return open_reply(self._replies.pop(id_), Any)

    async def push(self) -> Reply:
        """Give the next push."""
        while not self._pushes:
            await self._read()
        return self._pushes.popleft()

    async def pushed(self) -> Process:
        """Give the process of the next push."""
        return open_reply(await self.push(), Process)

    async def pushes_so_far(self, key: PrivateKey) -> list[Reply]:
        """Give every push that was sent before the hub answers one more question."""
        await self.ask("getcallermsg", {}, key, "so far")
        pushes = list(self._pushes)
        self._pushes.clear()
        return pushes

    async def closed(self) -> int:
        """Wait until the hub has hung up; give the close code."""
        async with asyncio.timeout(LONG):
            await self.websocket.wait_closed()
        return self.websocket.close_code or 0

    async def vanish(self) -> None:
        """Be gone without a word."""
        self.websocket.transport.abort()
        await self.websocket.wait_closed()

    async def _read(self) -> None:
        async with asyncio.timeout(LONG):
            reply = wire.decode(await self.websocket.recv(), Reply)
        if reply.id is msgspec.UNSET:
            self._pushes.append(reply)
        else:
            self._replies[reply.id] = reply


@contextlib.asynccontextmanager
async def talk(server: Server, path: str = "/ws", **options: Any) -> AsyncIterator[Talk]:
    """Open a WebSocket of the hub."""
    url = f"ws://127.0.0.1:{server.port}{path}"
    plain = {"compression": None, "max_size": None, "proxy": None, "ping_interval": None}
    async with connect(url, **plain | options) as websocket:
        yield Talk(websocket)


async def refused(awaitable: Any) -> Failure:
    """Give the failure that something must raise."""
    try:
        result = await awaitable
    except Failure as failure:
        return failure
    raise AssertionError(f"not refused: {result!r}")


async def until(happened: Callable[[], bool], seconds: float = LONG) -> None:
    """Let the loop run until something has happened in it."""
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0)


async def idle(server: Server, count: int) -> None:
    """Wait until so many are in line for work."""
    await until(lambda: len(in_line(server)) == count)


def in_line(server: Server) -> set[Any]:
    """Give all who are in line for work."""
    return {waiter for line in server.hub.lines._by_type.values() for waiter in line}


async def blocked(sql: asyncpg.Connection, count: int = 1) -> list[int]:
    """Wait until so many statements of the hub wait for a lock; give their backends."""
    async with asyncio.timeout(LONG):
        while True:
            await sql.execute("SELECT pg_stat_clear_snapshot()")
            found = await sql.fetch(
                "SELECT pid FROM pg_stat_activity "
                "WHERE application_name = 'colonies' AND wait_event_type = 'Lock'"
            )
            if len(found) >= count:
                return [row["pid"] for row in found]


async def noticed(server: Server) -> None:
    """Give the hub time to notice what has happened on its sockets: two round trips of others."""
    for _ in range(2):
        async with talk(server) as other:
            await other.ask("versionmsg", {}, None)


async def is_silent(websocket: ClientConnection) -> bool:
    """Whether the hub says nothing before it answers a ping."""
    pong = await websocket.ping()
    async with asyncio.timeout(LONG):
        await pong
    try:
        async with asyncio.timeout(0):
            await websocket.recv()
    except TimeoutError:
        return True
    return False
