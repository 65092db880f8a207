"""What tests of attempts and leases say again and again."""

from __future__ import annotations

import asyncpg

from colonies.client import Colonies
from colonies.core.process import Process
from colonies.server import lifecycle
from colonies.server.app import Server
from colonies.server.db import Database

OVER = "now() - interval '1 s'"
"""What to set a deadline to that shall have passed."""


async def submit(member: Colonies, **options) -> str:
    """Submit something that any runtime of ours may have, again and again; give its id."""
    return (await member.submit("work", **{"runtime_type": "cli", "max_retries": -1} | options)).id


async def take(member: Colonies) -> Process:
    """Be assigned what is next, with a lease."""
    return await member.assign_process(timeout=-1, leased=True)


def listeners(server: Server) -> int:
    """Count those who listen for changes."""
    return len(server.hub.listeners)


async def row(sql: asyncpg.Connection, process_id: str) -> asyncpg.Record:
    """Give the row of a process, whole, to see that nothing was changed."""
    return await sql.fetchrow("SELECT * FROM processes WHERE process_id = $1", process_id)


async def lease_left(sql: asyncpg.Connection, process_id: str) -> float:
    """Give the seconds until a lease passes, by the clock that counts."""
    text = "SELECT extract(epoch FROM leased_until - now()) FROM processes WHERE process_id = $1"
    return float(await sql.fetchval(text, process_id))


async def expired(db: Database) -> list[Process]:
    """Act on everything that is due, and give what has changed."""
    return [process async for batch, _ in lifecycle.expire(db, grace=30) for process in batch]
