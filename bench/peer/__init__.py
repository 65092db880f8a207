"""Other people's queues, each set up as its own documentation says that it is fast.

A module of a peer has ``NAME``, ``SETTINGS`` (what the table says of it), ``worker()`` (the command
line of its worker), ``open_queue()`` (gives a `Queue`) and what its worker imports. Where it finds
its server is in the environment, as the worker reads it too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

SERVER = "BENCH_SERVER"
"""The variable that has the address of the peer's PostgreSQL or Redis."""

PRODUCERS = 50
THREADS = 1
"""Of a client that blocks. More were slower: they take turns at one interpreter."""
CONNECTIONS = 10


class Queue(Protocol):
    """The side of a peer that enqueues."""

    async def enqueue(self, seconds: float, most: int) -> int:
        """Enqueue for so long, or so many; gives how many."""

    async def left(self) -> int:
        """Give how many have not been executed yet."""


def server() -> str:
    """Give the address of the peer's server."""
    return os.environ[SERVER]


async def produce(
    one: Callable[[], Awaitable[object]], seconds: float, most: int, *, of: int = 1
) -> int:
    """Enqueue by fifty at once, each call ``of`` so many."""
    end = time.perf_counter() + seconds
    done = 0

    async def go_on() -> None:
        nonlocal done
        while done < most and time.perf_counter() < end:
            done += of
            await one()

    await asyncio.gather(*(go_on() for _ in range(1 if of > 1 else PRODUCERS)))
    return done


async def produce_in_threads(one: Callable[[], object], seconds: float, most: int) -> int:
    """The same by a client that blocks, in a few threads."""
    end = time.perf_counter() + seconds

    def go_on() -> int:
        done = 0
        while done < most // THREADS and time.perf_counter() < end:
            one()
            done += 1
        return done

    return sum(await asyncio.gather(*(asyncio.to_thread(go_on) for _ in range(THREADS))))
