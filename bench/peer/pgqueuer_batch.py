"""PgQueuer, on the same PostgreSQL, with batches that the caller makes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from bench.peer import Queue, pgqueuer
from bench.peer.pgqueuer import worker

__all__ = ["NAME", "SETTINGS", "open_queue", "worker"]

MANY = 1000
NAME = f"PgQueuer, PostgreSQL, batches of {MANY:,}"
SETTINGS = f"asyncpg, one enqueues {MANY:,} a call; {pgqueuer.WORKER}"


def open_queue() -> AbstractAsyncContextManager[Queue]:
    """Make the tables, and connect."""
    return pgqueuer.open_queue(MANY)
