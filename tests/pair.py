"""Two PostgreSQL servers, of which one follows the other and takes its place.

Reached over TCP on the loopback by a URL that names both, as operators have it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

import asyncpg

from colonies.server.embedded import _end_with_parent
from colonies.server.programs import Programs, choose_account, find_bin_folder, make_reachable
from tests.programs import processes_in

STARTING = 30.0
USER = "colonies"
NAMES = ("one", "two")

FOLLOWS = """
SELECT count(*) FROM pg_stat_replication
WHERE application_name = 'standby' AND state = 'streaming' AND sync_state = $1
"""


class Node:
    """One server: its folder, its port, its processes."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.data = folder / "data"
        self._programs = programs
        self._log = folder / "log"
        folder.mkdir()

    def initialise(self) -> None:
        self._make_folder()
        trust = ["--auth=trust", f"--username={USER}"]
        self._run("initdb", "--no-sync", "--no-locale", "--encoding=UTF8", *trust)

    def copy(self, other: Node) -> None:
        """Become a standby of another, from the beginning."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._make_folder()
        source = f"host=127.0.0.1 port={other.port} user={USER} application_name=standby"
        fast = ["--checkpoint=fast", "--no-sync", "--wal-method=stream", "--write-recovery-conf"]
        self._run("pg_basebackup", "--dbname", source, *fast)

    async def start(self) -> None:
        settings = [
            f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=",
            "dynamic_shared_memory_type=mmap", "wal_receiver_timeout=5s", "wal_sender_timeout=5s",
        ]  # fmt: skip
        options = [word for setting in settings for word in ("-c", setting)]
        with self._log.open("ab") as log:
            self._server = self._programs.spawn(
                "postgres", *options, data=self.data,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=_end_with_parent(),
            )  # fmt: skip
        async with asyncio.timeout(STARTING):
            while True:
                with suppress(OSError, asyncpg.CannotConnectNowError):
                    return await (await self.connect()).close()
                assert self._server.poll() is None, self._log.read_text()
                await asyncio.sleep(0.02)

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        return await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=USER, database=database, ssl=False
        )

    async def set(self, name: str, value: str) -> None:
        """Change a setting of the running server, for the sessions that are open, too."""
        connection = await self.connect()
        await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    def promote(self) -> None:
        """Make a primary of a standby; it is one when this returns."""
        self._run("pg_ctl", "promote", "--wait")

    def freeze(self) -> None:
        """Stop it where it stands: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        with suppress(AttributeError):
            self._server.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in processes_in(self.data):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _make_folder(self) -> None:
        self.data.mkdir(mode=0o700)
        if self._programs.account:
            os.chown(self.data, *self._programs.account)

    def _run(self, program: str, *arguments: str) -> None:
        status, output = self._programs.run(program, *arguments, data=self.data)
        assert status == 0, output.decode()


class Pair:
    """A primary with a synchronous standby and an empty database ``colonies``, while entered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __aenter__(self) -> Self:
        programs, _ = make_reachable(Programs(find_bin_folder(None), choose_account()))
        self.primary, self.standby = (Node(programs, self._folder / name) for name in NAMES)
        # The standby comes first, so that whoever tries only the first finds nothing.
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self.standby, self.primary))
        self.url = f"postgresql://{USER}@{hosts}/colonies?sslmode=disable"
        async with AsyncExitStack() as stack:
            stack.callback(self.primary.kill)
            stack.callback(self.standby.kill)
            self.primary.initialise()
            await self.primary.start()
            connection = await self.primary.connect()
            await connection.execute("CREATE DATABASE colonies")
            await connection.close()
            await self.follow()
            stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.primary.kill()
        self.standby.kill()

    async def follow(self) -> None:
        """Make the standby anew, and have every commit wait for it."""
        self.standby.copy(self.primary)
        await self.standby.start()
        await self._until_it_follows("async")
        await self.primary.set("synchronous_standby_names", "standby")
        await self._until_it_follows("sync")

    async def promote(self) -> None:
        """Have the standby take the place of the primary; the other is of no use until `follow`."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    async def _until_it_follows(self, how: str) -> None:
        connection = await self.primary.connect()
        async with asyncio.timeout(STARTING):
            while not await connection.fetchval(FOLLOWS, how):
                await asyncio.sleep(0.02)
        await connection.close()
