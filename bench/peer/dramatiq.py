"""dramatiq, on Redis."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peer import THREADS, Queue, produce_in_threads, server

NAME = "dramatiq, Redis"
PROCESSES = 2
WORKER_THREADS = 8
SETTINGS = (
    f"{THREADS} thread enqueues; {PROCESSES} processes of {WORKER_THREADS} threads, "
    "results ignored, acknowledged when done"
)

broker = RedisBroker(url=server())
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> None:
    """Do nothing."""


def worker() -> list[str]:
    """Give the command line of the worker."""
    options = ["--processes", str(PROCESSES), "--threads", str(WORKER_THREADS)]
    return [sys.executable, "-m", "dramatiq", "bench.peer.dramatiq", *options]


class _Queue:
    async def enqueue(self, seconds: float, most: int) -> int:
        return await produce_in_threads(noop.send, seconds, most)

    async def left(self) -> int:
        return broker.client.hlen("dramatiq:default.msgs")


@asynccontextmanager
async def open_queue() -> AsyncIterator[Queue]:
    """Connect."""
    yield _Queue()
    broker.close()
