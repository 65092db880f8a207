"""What every part stands on: one durable PostgreSQL, and hubs as programs of their own.

Each hub has a database of its own, and runs as an operator would run it. What it is made of can be
weighed apart from the outside: the hub, PostgreSQL, and whoever asks.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

import asyncpg
import msgspec
import psutil

from bench.scale import Scale
from colonies import PrivateKey, Runtime, Settings, connect
from colonies.core import wire
from colonies.core.process import Conditions, ProcessSpec, State

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("colonies")
TYPE = "bench"

TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1"
WRITES = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

FILL = """
INSERT INTO processes (colony_id, process_id, state, submission_time, wait_deadline, end_time,
    spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time,
    max_retries)
SELECT $1, encode(sha256(gen_random_uuid()::text::bytea), 'hex'), $2::integer,
       now() + number * interval '1 microsecond', now() + interval '1 day',
       CASE WHEN $2 >= 2 THEN now() END, $3, $4, '{}', 0, 0, 0, 0, 86400, 0, 0
FROM generate_series(1, $5) AS number
"""

ADD_RUNTIMES = """
INSERT INTO runtimes (colony_id, runtime_id, runtime_type, name, cpu, cores, mem, gpu, gpus, state,
                      commission_time, location)
SELECT $1, id, $3, left(id, 32), '', 0, 0, '', 0, 1, now(), '{}' FROM unnest($2::text[]) AS id
"""


class People(msgspec.Struct, frozen=True):
    """The keys of everybody who takes part."""

    server: PrivateKey
    colony: PrivateKey
    runtime: PrivateKey

    @classmethod
    def generate(cls) -> People:
        """Make new ones."""
        return cls(*(PrivateKey.generate() for _ in range(3)))


class Cpu(msgspec.Struct, frozen=True):
    """Seconds of processor time that each side has used so far, and writing transactions.

    The client is this process; what a `crowd` takes is not counted.
    """

    hub: float
    postgres: float
    client: float
    writes: int

    def __sub__(self, before: Cpu) -> Cpu:
        return Cpu(
            self.hub - before.hub,
            self.postgres - before.postgres,
            self.client - before.client,
            self.writes - before.writes,
        )


class Hub(msgspec.Struct, frozen=True):
    """A hub that runs, and a way into its database beside it."""

    settings: Settings
    people: People
    program: psutil.Process
    postgres: psutil.Process
    database: str
    sql: asyncpg.Connection
    beside: asyncpg.Connection  # in another database: what it asks is not counted

    def resident_bytes(self) -> int:
        """Give the memory that the hub takes now; with workers, their sum."""
        return sum(one.memory_info().rss for one in _family(self.program))

    async def cpu(self) -> Cpu:
        """Give the processor time used so far."""
        return Cpu(
            cpu_seconds(self.program),
            cpu_seconds(self.postgres),
            time.process_time(),
            await self.beside.fetchval(WRITES),
        )

    async def transactions(self) -> int:
        """Give how many transactions this database has seen; PostgreSQL tells a second late."""
        found: int = await self.beside.fetchval(TRANSACTIONS, self.database)
        return found

    async def fill(self, state: State, number: int, runtime_type: str = TYPE) -> None:
        """Add processes, and let PostgreSQL know how many there are."""
        await fill(self.sql, self.people.colony.id, state, number, runtime_type)

    async def add_runtimes(self, keys: list[PrivateKey], runtime_type: str = TYPE) -> None:
        """Add approved runtimes, without a signed message for each."""
        ids = [key.id for key in keys]
        await self.sql.execute(ADD_RUNTIMES, self.people.colony.id, ids, runtime_type)

    async def clear(self) -> None:
        """Forget every process."""
        await self.sql.execute("TRUNCATE processes, requests")


class World:
    """One PostgreSQL; hubs and databases on it as they are wanted, while the block lasts."""

    def __init__(self, url: str, folder: Path, scale: Scale) -> None:
        """Take the address of a PostgreSQL of our kind, and where logs may go."""
        self.url = url
        self.folder = folder
        self.scale = scale
        self._numbers = count(1)
        self._kept: dict[tuple[tuple[str, object], ...], Hub] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Make an empty database; give its name. It is dropped at the end of the block."""
        name = f"bench_{os.getpid()}_{next(self._numbers)}"
        beside = await asyncpg.connect(self.url)
        try:
            await beside.execute(f"CREATE DATABASE {name}")
            yield name
            await beside.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await beside.close()

    def url_of(self, database: str) -> str:
        """Give the address of a database."""
        return self.url.replace("/colonies?", f"/{database}?")

    @asynccontextmanager
    async def hub(self, **variables: object) -> AsyncIterator[Hub]:
        """Have a hub, a new one unless the scale says that parts may share them."""
        if not self.scale.shares_hubs:
            async with self.new_hub(**variables) as hub:
                yield hub
            return
        key = tuple(variables.items())
        if key not in self._kept:
            self._kept[key] = await self._stack.enter_async_context(self.new_hub(**variables))
        await self._kept[key].clear()
        yield self._kept[key]

    @asynccontextmanager
    async def new_hub(self, **variables: object) -> AsyncIterator[Hub]:
        """Start a hub with a colony and an approved runtime; ``variables`` are its settings."""
        people = People.generate()
        async with self.database() as name, self._program(name, people, variables) as (port, pid):
            settings = Settings(
                server_host="127.0.0.1", server_port=port, colony_id=people.colony.id, timeout=60
            )
            await settle_in(settings, people)
            beside = await asyncpg.connect(self.url)
            sql = await asyncpg.connect(self.url_of(name))
            postgres = psutil.Process(await sql.fetchval("SELECT pg_backend_pid()")).parent()
            assert postgres is not None
            try:
                yield Hub(settings, people, psutil.Process(pid), postgres, name, sql, beside)
            finally:
                await sql.close()
                await beside.close()

    @asynccontextmanager
    async def _program(
        self, database: str, people: People, variables: dict[str, object]
    ) -> AsyncIterator[tuple[int, int]]:
        """Run a hub; gives its port and its process id."""
        given = {f"COLONIES_{name.upper()}": str(value) for name, value in variables.items()}
        start = (COMMAND, "server", "start", "--port", "0", "--bind", "127.0.0.1")
        with (self.folder / f"{database}.log").open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                *(*start, "--serverid", people.server.id),
                stdout=PIPE,
                stderr=log,
                env={
                    **{name: value for name, value in os.environ.items() if "COLONIES" not in name},
                    "COLONIES_DATABASE_URL": self.url_of(database),
                    **given,
                },
            )
        try:
            assert child.stdout is not None
            line = (await child.stdout.readline()).decode()
            if not line:
                raise RuntimeError(f"the hub did not start: see {log.name}")
            yield int(line.rpartition(":")[2]), child.pid
        finally:
            with suppress(ProcessLookupError):
                child.terminate()
            await child.wait()


async def settle_in(settings: Settings, people: People) -> None:
    """Add a colony with one approved runtime."""
    async with connect(settings, key=people.server) as colonies:
        await colonies.add_colony(people.colony.id, "bench")
        owner = colonies.acting_as(people.colony)
        await owner.add_runtime(
            Runtime(
                runtime_id=people.runtime.id,
                name="bench",
                runtime_type=TYPE,
                colony_id=people.colony.id,
            )
        )
        await owner.approve_runtime(people.runtime.id)


async def fill(
    sql: asyncpg.Connection, colony_id: str, state: State, number: int, runtime_type: str
) -> None:
    """Add processes to a colony, and do now what autovacuum does sooner or later."""
    conditions = Conditions(colony_id=colony_id, runtime_type=runtime_type)
    spec = wire.encode(ProcessSpec(func="noop", conditions=conditions)).decode()
    await sql.execute(FILL, colony_id, state, spec, runtime_type, number, timeout=600)
    await settle(sql)


async def settle(sql: asyncpg.Connection) -> None:
    """Let PostgreSQL do now what it does sooner or later."""
    await sql.execute("VACUUM (ANALYZE) processes", timeout=600)
    await sql.execute("CHECKPOINT", timeout=600)


def cpu_seconds(root: psutil.Process) -> float:
    """Give the processor time of a program and all that it started, the ended included."""
    total = 0.0
    for one in _family(root):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _family(root: psutil.Process) -> Iterator[psutil.Process]:
    yield root
    yield from root.children(recursive=True)


def raise_file_limit() -> int:
    """Open as many files at once as the system lets us; gives how many.

    A hub does the same, but `compare` also measures those that did not.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextmanager
def stopwatch(into: list[float]) -> Iterator[None]:
    """Note how many milliseconds the block took."""
    started = time.perf_counter()
    yield
    into.append((time.perf_counter() - started) * 1000)
