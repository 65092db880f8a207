"""What tests of the embedded database say again and again."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from colonies.server.embedded import EmbeddedPostgres


async def run(postgres: EmbeddedPostgres, statement: str) -> object:
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
