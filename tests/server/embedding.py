"""What tests of the embedded database say again and again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg

from colonies.server.embedded import EmbeddedPostgres
from tests.programs import PATIENCE


class Journal:
    """What is logged: awaited, not slept for."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict] = asyncio.Queue()

    def __call__(self, _logger: object, method: str, event: dict) -> dict:
        self._events.put_nowait({**event, "level": method, "at": time.monotonic()})
        return event

    async def next(self, name: str) -> dict:
        """Wait for the next event of this name, passing over others."""
        async with asyncio.timeout(PATIENCE):
            while (event := await self._events.get())["event"] != name:
                pass
        return event


async def run(postgres: EmbeddedPostgres, statement: str) -> object:
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
