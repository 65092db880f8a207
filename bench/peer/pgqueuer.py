"""PgQueuer, on the same PostgreSQL, one by one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgPoolDriver

from bench.peer import CONNECTIONS, PRODUCERS, Queue, produce, server

NAME = "PgQueuer, PostgreSQL, one by one"
BATCH = 100
WORKER = f"one worker on uvloop, takes {BATCH} at a time, a pool of {CONNECTIONS}"
SETTINGS = f"asyncpg, {PRODUCERS} enqueue one by one over a pool of {CONNECTIONS}; {WORKER}"

UNFINISHED = "SELECT count(*) FROM pgqueuer"


def worker() -> list[str]:
    """Give the command line of the worker."""
    return [sys.executable, "-m", "bench.peer.pgqueuer"]


class _Queue:
    def __init__(self, pool: asyncpg.Pool, many: int) -> None:
        self._pool = pool
        self.queries = Queries(AsyncpgPoolDriver(pool))
        self._many = many

    async def enqueue(self, seconds: float, most: int) -> int:
        return await produce(
            self._one if self._many == 1 else self._batch, seconds, most, of=self._many
        )

    async def _one(self) -> object:
        return await self.queries.enqueue("noop", None)

    async def _batch(self) -> object:
        many = self._many
        return await self.queries.enqueue(["noop"] * many, [None] * many, [0] * many)

    async def left(self) -> int:
        return int(await self._pool.fetchval(UNFINISHED))


@asynccontextmanager
async def open_queue(many: int = 1) -> AsyncIterator[Queue]:
    """Make the tables, and connect; ``many`` are enqueued by one call."""
    async with asyncpg.create_pool(server(), min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        queue = _Queue(pool, many)
        await queue.queries.install()
        yield queue


async def work() -> None:
    """Work until stopped."""
    async with asyncpg.create_pool(server(), min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        pgq = PgQueuer(AsyncpgPoolDriver(pool))

        @pgq.entrypoint("noop")
        async def noop(_job: object) -> None:
            pass

        await pgq.run(dequeue_timeout=timedelta(seconds=1), batch_size=BATCH)


if __name__ == "__main__":
    uvloop.run(work())
