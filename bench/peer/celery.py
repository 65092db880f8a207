"""Celery, on Redis."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
from celery import Celery

from bench.peer import THREADS, Queue, produce_in_threads, server

NAME = "Celery, Redis"
PROCESSES = 2
PREFETCH = 64
SETTINGS = (
    f"{THREADS} thread enqueues; prefork, {PROCESSES} processes, prefetch {PREFETCH} each, "
    "results ignored, acknowledged early, no gossip, mingle or heartbeat"
)

app = Celery("bench", broker=server())
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = PREFETCH


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""


def worker() -> list[str]:
    """Give the command line of the worker."""
    options = ["--pool", "prefork", "--concurrency", str(PROCESSES), "--loglevel", "warning"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [sys.executable, "-m", "celery", "--app", "bench.peer.celery", "worker", *options]


class _Queue:
    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def enqueue(self, seconds: float, most: int) -> int:
        return await produce_in_threads(noop.delay, seconds, most)

    async def left(self) -> int:
        # Acknowledged when a process takes it: with two processes, at most two are not yet done.
        return self._client.llen("celery") + self._client.hlen("unacked")


@asynccontextmanager
async def open_queue() -> AsyncIterator[Queue]:
    """Connect."""
    with redis.Redis.from_url(server()) as client:
        yield _Queue(client)
    app.close()
