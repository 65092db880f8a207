"""procrastinate, on the same PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from bench.peer import CONNECTIONS, PRODUCERS, Queue, produce, server

NAME = "procrastinate, PostgreSQL"
CONCURRENCY = 50
SETTINGS = (
    f"async, {PRODUCERS} enqueue one by one over a pool of {CONNECTIONS}; one worker, "
    f"concurrency {CONCURRENCY}, a pool of {CONNECTIONS}, notified; finished jobs are kept"
)

UNFINISHED = "SELECT count(*) AS left FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"


def make_app() -> App:
    """Make the application that both sides share."""
    connector = PsycopgConnector(conninfo=server(), min_size=CONNECTIONS, max_size=CONNECTIONS)
    app = App(connector=connector)

    @app.task(name="noop")
    async def noop() -> None:
        pass

    return app


def worker() -> list[str]:
    """Give the command line of the worker."""
    return [sys.executable, "-m", "bench.peer.procrastinate"]


class _Queue:
    def __init__(self, app: App) -> None:
        self._app = app
        self._noop = app.tasks["noop"]

    async def enqueue(self, seconds: float, most: int) -> int:
        return await produce(self._noop.defer_async, seconds, most)

    async def left(self) -> int:
        row = await self._app.connector.execute_query_one_async(UNFINISHED)
        return int(row["left"])


@asynccontextmanager
async def open_queue() -> AsyncIterator[Queue]:
    """Make the tables, and connect."""
    app = make_app()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        yield _Queue(app)


async def work() -> None:
    """Work until stopped."""
    app = make_app()
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


if __name__ == "__main__":
    asyncio.run(work())
