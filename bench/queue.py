"""The hub's own statements on a database, without the hub around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from bench.world import ADD_RUNTIMES, TYPE, World, fill, settle
from colonies.core.process import Conditions, Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.server import lifecycle
from colonies.server.db import Database
from colonies.server.intent import Intent
from colonies.server.lifecycle import Assignment
from colonies.server.queue import Bookmarks
from colonies.server.schema import bring_up_to_date

COLONY = new_id()
RUNTIME = Runtime(runtime_id=new_id(), colony_id=COLONY, runtime_type=TYPE)
SPEC = ProcessSpec(
    name="bench",
    func="noop",
    args=["one", "two"],
    max_wait_time=86_400,
    conditions=Conditions(colony_id=COLONY, runtime_type=TYPE),
)


class Queue(msgspec.Struct, frozen=True):
    """One colony's processes, as the hub sees them, and a connection beside it."""

    url: str
    db: Database
    sql: asyncpg.Connection
    bookmarks: Bookmarks

    async def fill(self, state: State, number: int) -> None:
        """Add processes, and let PostgreSQL know how many there are."""
        await fill(self.sql, COLONY, state, number, TYPE)

    async def settle(self) -> None:
        """Let PostgreSQL do now what it does sooner or later."""
        await settle(self.sql)

    async def clear(self) -> None:
        """Forget every process."""
        await self.sql.execute("TRUNCATE processes, requests")

    async def submit(self) -> None:
        """Submit as the hub does."""
        await lifecycle.submit(self.db, SPEC, nobodys_twice())

    async def claim(self, count: int = 1) -> list[Process]:
        """Claim as the hub does for a runtime that asked."""
        return await lifecycle.claim(
            self.db,
            RUNTIME,
            self.bookmarks,
            count=count,
            is_leased=True,
            intent=nobodys_twice(),
        )

    async def close(self, process: Process) -> None:
        """Close as the hub does for the runtime."""
        await lifecycle.close(
            self.db,
            Assignment.of(process),
            State.SUCCESS,
            output=["done"],
            errors=[],
            intent=nobodys_twice(),
        )


def nobodys_twice() -> Intent:
    """Give an intention that is remembered, as those of native clients are."""
    return Intent.of(RUNTIME.runtime_id, new_id(), b"")


@asynccontextmanager
async def open_queue(world: World) -> AsyncIterator[Queue]:
    """Open a database with one colony and one approved runtime in it."""
    async with world.database() as name:
        url = world.url_of(name)
        db = Database(url, connections=10)
        await db.open()
        await bring_up_to_date(db)
        sql = await asyncpg.connect(url)
        await sql.execute("INSERT INTO colonies VALUES ($1, 'bench')", COLONY)
        await sql.execute(ADD_RUNTIMES, COLONY, [RUNTIME.runtime_id], TYPE)
        try:
            yield Queue(url, db, sql, Bookmarks())
        finally:
            await sql.close()
            await db.close()
