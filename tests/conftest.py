"""What tests stand on: a real PostgreSQL, a real hub on a free port, people with real keys."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import hypothesis
import msgspec
import pytest

from colonies.client import Colonies, connect
from colonies.core.identity import PrivateKey
from colonies.core.process import Held, Process
from colonies.core.runtime import Runtime
from colonies.server.app import Server
from colonies.server.db import Database
from colonies.server.embedded import EmbeddedPostgres
from colonies.server.schema import bring_up_to_date
from colonies.settings import Settings
from tests.programs import PATIENCE

# How long an example takes says how much the machine has to do, and nothing of the product.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

NEVER = 3600.0
"""A tick that does not come by itself; tests call ``ticker.run_once``."""

TABLES = (
    "attributes", "log_entries", "logs", "processes", "process_graphs", "crons", "generator_args",
    "generators", "functions", "runtimes", "colonies", "requests", "hubs",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path_factory):
    """No test sees the settings or the keys of whoever runs it."""
    for variable in os.environ:
        if variable.startswith("COLONIES_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL of this test process alone."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), fsync=False)
    asyncio.run(postgres.__aenter__())
    yield postgres.url
    asyncio.run(postgres.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def database_url(postgres_url) -> str:
    """A database with our tables."""

    async def create() -> None:
        db = Database(postgres_url, connections=1)
        await db.open()
        await bring_up_to_date(db)
        await db.close()

    asyncio.run(create())
    return postgres_url


@pytest.fixture
async def db(database_url) -> AsyncIterator[Database]:
    """An open database, empty again after the test (DELETE: 2 ms, TRUNCATE: 24)."""
    database = Database(database_url, connections=4)
    await database.open()
    yield database
    await at_rest(database)
    async with database.transaction() as tx:
        await tx.run_script("".join(f"DELETE FROM {table};" for table in TABLES))
    await database.close()


BUSY = """
    SELECT count(*) FROM pg_stat_activity LEFT JOIN pg_locks USING (pid)
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND (state <> 'idle' OR locktype = 'advisory')
"""


async def at_rest(database: Database) -> None:
    """Wait until the server does nothing any more for hubs that have gone, and nobody leads.

    It finds out when it is done: a beat would be written after the cleaning, and the lead be taken
    as long as that.
    """
    async with asyncio.timeout(PATIENCE), database._acquire() as connection:
        while await connection.fetchval(BUSY):
            pass


@dataclass
class People:
    """Who takes part: one key each."""

    server_owner: PrivateKey = field(default_factory=PrivateKey.generate)
    colony_owner: PrivateKey = field(default_factory=PrivateKey.generate)
    runtime: PrivateKey = field(default_factory=PrivateKey.generate)
    pending: PrivateKey = field(default_factory=PrivateKey.generate)
    other_owner: PrivateKey = field(default_factory=PrivateKey.generate)
    foreigner: PrivateKey = field(default_factory=PrivateKey.generate)
    stranger: PrivateKey = field(default_factory=PrivateKey.generate)


@pytest.fixture
def people() -> People:
    return People()


def pytest_xdist_auto_num_workers() -> int:
    """Give the workers of ``-n auto``: two more than cores, as tests wait most of their time."""
    return (os.cpu_count() or 1) + 2


def pytest_configure(config):
    # Else programs started here ignore Ctrl-C if the tests run in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "settings(**changes): how the hub of this test differs")
    config.addinivalue_line("markers", "slurm: nodes lost, runtimes killed, a thousand jobs")
    config.addinivalue_line("markers", "real_k8s: asks the cluster of KUBECONFIG; skipped without")
    config.addinivalue_line("markers", "faults: kills and stops programs for minutes; runs alone")


@pytest.fixture
def settings(people, database_url, tmp_path, request) -> Settings:
    """Settings of hub and client; ``@pytest.mark.settings(name=value)`` changes some."""
    plain = Settings(
        server_host="127.0.0.1",
        server_port=0,
        bind="127.0.0.1",
        server_id=people.server_owner.id,
        colony_id=people.colony_owner.id,
        keychain=str(tmp_path / "keychain"),
        database_url=database_url,
        tick=NEVER,
        stranger_timeout=NEVER,
        timeout=60,
    )
    changes = {}
    for marker in reversed(list(request.node.iter_markers("settings"))):
        changes |= marker.kwargs
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture
async def server(settings, db) -> AsyncIterator[Server]:
    """A hub without anybody in it. Its ticker stands still: call ``ticker.run_once``."""
    async with Server(settings) as running:
        yield running


@pytest.fixture
async def client(server, settings) -> AsyncIterator[Colonies]:
    """One connection to the hub; ``client.acting_as(key)`` speaks for somebody."""
    async with connect(msgspec.structs.replace(settings, server_port=server.port)) as colonies:
        yield colonies


@pytest.fixture
async def colony(client, people) -> str:
    """Two colonies: ours with an approved and a pending runtime, the other with a foreigner."""
    owner = client.acting_as(people.server_owner)
    await owner.add_colony(people.colony_owner.id, "ours")
    await owner.add_colony(people.other_owner.id, "theirs")
    await add_runtime(client, people.colony_owner, people.runtime)
    await add_runtime(client, people.colony_owner, people.pending, approve=False)
    await add_runtime(client, people.other_owner, people.foreigner)
    return people.colony_owner.id


async def add_runtime(
    client: Colonies,
    owner: PrivateKey,
    key: PrivateKey,
    *,
    approve: bool = True,
    runtime_type: str = "cli",
    **figures,
) -> Runtime:
    """Add a runtime, named by its id, and let it in."""
    acting = client.acting_as(owner)
    runtime = await acting.add_runtime(
        Runtime(
            runtime_id=key.id,
            name=f"runtime-{key.id[:12]}",
            runtime_type=runtime_type,
            colony_id=owner.id,
            **figures,
        )
    )
    if approve:
        await acting.approve_runtime(key.id)
    return runtime


def held(process: Process) -> Held:
    """Give the attempt that a process was assigned for."""
    return Held(process_id=process.process_id, attempt_token=process.attempt_token)


@pytest.fixture
async def member(client, colony, people) -> Colonies:
    """The hub as seen by the approved runtime of our colony, of type ``cli``."""
    return client.acting_as(people.runtime)
