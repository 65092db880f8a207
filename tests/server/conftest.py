"""A hub that is watched: whatever it complains of fails the test."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from colonies.server.app import Server
from tests.server.doors import Talk, talk

COMPLAINTS = {"call failed", "connection failed", "tick failed"}


@pytest.fixture
async def log() -> AsyncIterator[list[dict]]:
    """What structlog was told."""
    with capture_logs() as events:
        yield events


@pytest.fixture
async def complaints(log, caplog) -> AsyncIterator[list[object]]:
    """Tracebacks in the log, from us or from a library, and what the loop had to handle."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    caplog.set_level(logging.WARNING)
    yield heard
    heard += [event for event in log if event["event"] in COMPLAINTS]
    heard += [record.getMessage() for record in caplog.get_records("call") if record.exc_info]
    assert heard == []


@pytest.fixture
async def server(complaints, server) -> Server:
    """The hub, watched."""
    return server


@pytest.fixture
async def socket(server, colony) -> AsyncIterator[Talk]:
    """A WebSocket spoken by hand."""
    async with talk(server) as talking:
        yield talking


@pytest.fixture
async def sql(database_url, db) -> AsyncIterator[asyncpg.Connection]:
    """A connection of our own to the hub's database, for moving its clock and for looking."""
    connection = await asyncpg.connect(database_url)
    yield connection
    with contextlib.suppress(asyncpg.InterfaceError):
        await connection.close()
