"""Requests that are sent again: signed anew, with the id of the same intention."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple

import asyncpg
import msgspec

from colonies.core import wire
from colonies.core.envelope import Reply, new_request_id, open_reply, seal
from colonies.core.identity import PrivateKey
from colonies.core.process import Process
from colonies.server.app import Server
from tests.conftest import TABLES
from tests.server.doors import LONG, hang_up, read_http, send, talk


class Asked(NamedTuple):
    """Something that is asked, and may be asked again."""

    payload_type: str
    fields: dict[str, Any]
    key: PrivateKey
    req: str

    def sealed(self, id_: str = "") -> bytes:
        """Sign it, for the first time or again."""
        return seal(self.payload_type, self.fields, self.key, id_, req=self.req)


def asked(payload_type: str, fields: dict[str, Any], key: PrivateKey, req: str = "") -> Asked:
    """Make a new intention."""
    return Asked(payload_type, fields, key, req or new_request_id())


async def by_api(server: Server, one: Asked) -> Reply:
    """Ask through ``POST /api``."""
    body = one.sealed()
    head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await send(server, head.encode() + body)
    try:
        _, answer = await read_http(reader)
    finally:
        await hang_up(writer)
    return wire.decode(answer, Reply)


async def by_ws(server: Server, one: Asked) -> Reply:
    """Ask through a ``/ws`` of its own."""
    (reply,) = await by_one_ws(server, one, 1)
    return reply


async def by_one_ws(server: Server, one: Asked, count: int) -> list[Reply]:
    """Ask so many times at once through one ``/ws``."""
    async with talk(server) as talking, asyncio.timeout(LONG):
        for number in range(count):
            await talking.websocket.send(one.sealed(str(number)), text=True)
        replies = [wire.decode(await talking.websocket.recv(), Reply) for _ in range(count)]
    return [msgspec.structs.replace(reply, id=msgspec.UNSET) for reply in replies]


async def ask(server: Server, one: Asked) -> Any:
    """Ask, and give what the answer carries, or raise its failure."""
    return open_reply(await by_api(server, one), Any)


async def ask_process(server: Server, one: Asked) -> Process:
    """Ask for a process."""
    return open_reply(await by_api(server, one), Process)


def content(reply: Reply) -> tuple[bool, str]:
    """Give what an answer says, whichever way it came."""
    return reply.error, msgspec.json.encode(open_reply_of_any(reply), order="sorted").decode()


def open_reply_of_any(reply: Reply) -> Any:
    """Read an answer, also one that says no."""
    return open_reply(msgspec.structs.replace(reply, error=False), Any)


async def everything(sql: asyncpg.Connection) -> dict[str, Counter[str]]:
    """Give all rows of all tables, to see that nothing was changed; hubs give signs of life."""
    return {
        table: Counter(map(repr, await sql.fetch(f"SELECT * FROM {table}")))
        for table in TABLES
        if table != "hubs"
    }
