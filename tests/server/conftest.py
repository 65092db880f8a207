"""A hub that is watched: whatever it complains of fails the test."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from colonies.client import Colonies
from colonies.core.identity import PrivateKey
from colonies.server.app import Server
from colonies.server.db import Database
from tests.conftest import add_runtime
from tests.programs import data_folder
from tests.server.doors import Talk, talk
from tests.server.embedding import Journal
from tests.server.hubs import reaching
from tests.server.leases import OVER

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
    heard += [event for event in log if event["event"] in COMPLAINTS or "exc_info" in event]
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


@pytest.fixture
async def statements(server, monkeypatch):
    """The names of the statements that the hub runs, as it runs them."""
    run: list[str] = []
    fetch = Database._fetch

    async def noted(self, name, arguments):
        run.append(name)
        return await fetch(self, name, arguments)

    monkeypatch.setattr(Database, "_fetch", noted)
    return run


@pytest.fixture
async def second(settings, server, colony) -> AsyncIterator[Server]:
    """Another hub on the same database."""
    async with Server(settings) as second:
        yield second


@pytest.fixture
async def there(second, people) -> AsyncIterator[Colonies]:
    """Our approved runtime, as the second hub sees it."""
    async with reaching(second, people.runtime) as colonies:
        yield colonies


@pytest.fixture
async def away(second) -> AsyncIterator[Talk]:
    """A WebSocket of the second hub, spoken by hand."""
    async with talk(second) as talking:
        yield talking


@pytest.fixture
async def others(client, people, colony):
    """Three more approved runtimes of our colony."""
    keys = [PrivateKey.generate() for _ in range(3)]
    for key in keys:
        await add_runtime(client, people.colony_owner, key)
    return [client.acting_as(key) for key in keys]


@pytest.fixture
def fellow(others):
    """Another approved runtime of our colony."""
    return others[0]


@pytest.fixture
def owner(client, people, colony):
    """The owner of our colony."""
    return client.acting_as(people.colony_owner)


@pytest.fixture
def foreigner(client, people, colony):
    """An approved runtime of the other colony."""
    return client.acting_as(people.foreigner)


@pytest.fixture
def lapse(sql):
    """Let every lease that has an end have passed."""

    async def lapse() -> None:
        await sql.execute(
            f"UPDATE processes SET leased_until = {OVER} "
            "WHERE state = 1 AND leased_until IS NOT NULL"
        )

    return lapse


@pytest.fixture
def lose(server, lapse):
    """Let every lease pass and have it noticed."""

    async def lose() -> None:
        await lapse()
        await server.ticker.run_once(stir=False)

    return lose


@pytest.fixture
def subscribe(colony, people):
    """Have processes of our colony pushed over a socket."""

    async def subscribe(talk, credit=1, name="work", key=people.runtime, **more):
        fields = {"colonyid": colony, "credit": credit} | more
        return await talk.ask("subscribeassignmentsmsg", fields, key, name)

    return subscribe


@pytest.fixture
def journal() -> Iterator[Journal]:
    """What is logged, to be waited for."""
    journal = Journal()
    with capture_logs(processors=[journal]):
        yield journal


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A data folder of a PostgreSQL of its own; what runs in it afterwards fails the test."""
    with data_folder(tmp_path) as folder:
        yield folder
