"""What faults are driven against: a durable PostgreSQL, a hub that is a program, a colony on it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import asyncpg

from colonies.client import Colonies, connect
from colonies.core.errors import ColoniesError, NotFound
from colonies.core.identity import PrivateKey
from colonies.core.process import Process
from colonies.core.runtime import Runtime
from colonies.core.wire import ZERO_TIME
from colonies.server.embedded import EmbeddedPostgres
from colonies.settings import Settings
from tests.faults.checker import Violation, judge
from tests.faults.history import read_histories
from tests.faults.story import End, Final, Past

TIMES = int(os.environ.get("FAULTS", "1"))
"""How many times as long as in CI everything goes on."""

SEED = os.environ.get("SEED") or str(random.randrange(10**9))
"""What every schedule is drawn from; the same one gives the same kills after the same pauses."""

TYPE = "worker"
READERS = 50
STARTING = 30.0

FINALS = """
SELECT process_id, colony_id, spec ->> 'name' AS name, state, output, errors, attempt, retries,
       assigned_runtime_id AS runtime_id, extract(epoch FROM start_time)::float AS start,
       extract(epoch FROM end_time)::float AS end,
       ARRAY(SELECT ROW (attempt, runtimeid, extract(epoch FROM starttime)::float,
                         extract(epoch FROM endtime)::float,
                         extract(epoch FROM leaseduntil)::float, ending)
             FROM jsonb_to_recordset(past)
                  AS one (attempt integer, runtimeid text, starttime timestamptz,
                          endtime timestamptz, leaseduntil timestamptz, ending text)
             ORDER BY attempt) AS past
FROM processes
"""


def schedule(name: str) -> random.Random:
    """Give the dice of one test, which are its own and replayed by the same seed."""
    return random.Random(f"{SEED} {name}")


class HubProgram:
    """A hub as an operator runs it, killed and started again on the same port."""

    def __init__(self, database_url: str, server_id: str, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._argv = [
            sys.executable, "-m", "colonies.cli", "server", "start", "--bind", "127.0.0.1",
            "--port", str(self.port), "--serverid", server_id,
        ]  # fmt: skip
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "COLONIES_DATABASE_URL": database_url,
        }
        self._log = log

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._argv, env=self._env, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        async with asyncio.timeout(STARTING):
            line = await self.process.stdout.readline()
        assert str(self.port).encode() in line, self._log.read_text()[-2000:]

    async def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.kill()
        await self.process.wait()
        await self.process.stdout.read()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
            await self.process.stdout.read()


@dataclass
class World:
    """A hub, a colony with approved runtimes, and a folder for histories."""

    database_url: str
    hub: HubProgram
    settings: Settings
    folder: Path
    server_owner: PrivateKey
    colony_owner: PrivateKey
    runtimes: list[PrivateKey] = field(default_factory=list)

    @property
    def colony_id(self) -> str:
        return self.colony_owner.id

    def connect(self, key: PrivateKey) -> Colonies:
        return connect(self.settings, key=key)

    async def add_runtimes(self, count: int) -> list[PrivateKey]:
        """Let more runtimes in."""
        keys = [PrivateKey.generate() for _ in range(count)]
        async with self.connect(self.colony_owner) as owner:
            for key in keys:
                await owner.add_runtime(self.member(key))
                await owner.approve_runtime(key.id)
        self.runtimes += keys
        return keys

    def member(self, key: PrivateKey) -> Runtime:
        return Runtime(
            runtime_id=key.id, name=key.id[:16], runtime_type=TYPE, colony_id=self.colony_id
        )

    async def quiet(self, *, within: float) -> None:
        """Wait until no process waits or runs any more."""
        async with self.connect(self.colony_owner) as owner, asyncio.timeout(within):
            while True:
                try:
                    stats = await owner.get_colony_stats()
                except ColoniesError:
                    continue
                if stats.waiting_processes + stats.running_processes == 0:
                    return
                await pause(0.2)

    async def judge(self) -> list[Violation]:
        """Read everything twice and hold it against what everybody has seen."""
        events = read_histories(self.folder)
        stored = await self.stored()
        ids = {one.process_id for one in stored}
        ids |= {event.process_id for event in events if event.process_id}
        return judge(events, End(await self._seen(sorted(ids)), stored))

    async def stored(self) -> list[Final]:
        """Give every process as the database has it."""
        connection = await asyncpg.connect(self.database_url, target_session_attrs="primary")
        rows = await connection.fetch(FINALS)
        await connection.close()
        return [Final(**dict(row) | {"past": [Past(*one) for one in row["past"]]}) for row in rows]

    async def _seen(self, process_ids: list[str]) -> list[Final]:
        found: list[Final] = []
        left = iter(process_ids)

        async def read(owner: Colonies) -> None:
            for process_id in left:
                with suppress(NotFound):
                    found.append(shown(await owner.get_process(process_id)))

        async with self.connect(self.colony_owner) as owner:
            await asyncio.gather(*(read(owner) for _ in range(READERS)))
        return found


def shown(process: Process) -> Final:
    """Give a process as the API shows it."""
    times = [
        None if one == ZERO_TIME else one.timestamp()
        for one in (process.start_time, process.end_time)
    ]
    return Final(
        process_id=process.process_id,
        colony_id=process.colony_id,
        name=process.spec.name,
        state=process.state,
        output=process.output,
        errors=process.errors,
        attempt=process.attempt,
        retries=process.retries,
        runtime_id=process.assigned_runtime_id,
        start=times[0],
        end=times[1],
    )


@asynccontextmanager
async def world(folder: Path, *, runtimes: int) -> AsyncIterator[World]:
    """Give everything, running; durable, as an operator would have it."""
    async with (
        EmbeddedPostgres(folder / "postgres") as postgres,
        world_on(postgres.url, folder, runtimes=runtimes) as made,
    ):
        yield made


@asynccontextmanager
async def world_on(database_url: str, folder: Path, *, runtimes: int) -> AsyncIterator[World]:
    """Give everything, running on a database that is there."""
    shared_memory = Path("/dev/shm")
    histories = tempfile.TemporaryDirectory(
        prefix="colonies-histories-", dir=shared_memory if shared_memory.is_dir() else None
    )
    server_owner, colony_owner = PrivateKey.generate(), PrivateKey.generate()
    with histories as name:
        async with HubProgram(database_url, server_owner.id, folder / "hub.log") as hub:
            settings = Settings(
                server_host="127.0.0.1",
                server_port=hub.port,
                colony_id=colony_owner.id,
                keychain=str(folder / "keychain"),
                timeout=60,
                try_timeout=5,
            )
            async with connect(settings, key=server_owner) as owner:
                await owner.add_colony(colony_owner.id, "faults")
            made = World(database_url, hub, settings, Path(name), server_owner, colony_owner)
            await made.add_runtimes(runtimes)
            yield made


async def pause(seconds: float) -> None:
    """Let a schedule come to its next fault, or look again at what nothing tells of."""
    await asyncio.sleep(seconds)


def report(text: str) -> None:
    """Say what was shown, where ``pytest -rP`` or ``-s`` lets it be read."""
    sys.stdout.write(f"{text}, SEED={SEED}\n")


def explain(violations: list[Violation]) -> str:
    """Say what went wrong, and how to see it again."""
    lines = [f"{one.kind}: {one.text}" for one in violations[:20]]
    return f"SEED={SEED}, {len(violations)} violations\n" + "\n".join(lines)
