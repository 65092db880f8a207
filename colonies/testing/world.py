"""A hub in this process with a colony on it, and somebody who asks it for work to be done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from colonies.client import Colonies, SubmittedProcess, connect
from colonies.core.identity import PrivateKey
from colonies.core.process import Process
from colonies.core.runtime import Runtime as Member
from colonies.server.app import Server
from colonies.server.embedded import EmbeddedPostgres
from colonies.settings import Settings
from colonies.testing.child import Launched, Order, launch
from colonies.testing.running import Running, run
from runtimes.base import Runtime

LONG = 20.0
"""Seconds after which a test gives up on something that should have come soon."""

ASKER = "asker"
"""The type of the runtime that asks; no work is for it."""


class World:
    """A hub on a free port, and a colony of one approved runtime, as which `client` asks.

    ``owner`` is the same connection as seen by the colony's owner. Made by `open_world`.
    """

    def __init__(self, settings: Settings, owner: PrivateKey, folder: Path) -> None:
        self.settings = settings
        self.colony_id = owner.id
        self.client: Colonies
        self.owner: Colonies
        self._owner_key = owner
        self._folder = folder
        self._hub = Server(settings)

    async def submit(self, func: str, *args: Any, **options: Any) -> SubmittedProcess:
        """Submit a call as `Colonies.submit` does."""
        return await self.client.submit(func, *args, **options)

    async def ended(self, process_id: str, timeout: float | None = LONG) -> Process:
        """Give a process when it has ended; raise TimeoutError after so many seconds."""
        return await self.client.wait_for(process_id, timeout)

    async def log_of(self, process_id: str) -> str:
        """Give all that a process has logged, in one text."""
        page = await self.client.get_logs(process_id)
        texts = [entry.text for entry in page.entries]
        while page.next_position < page.length:
            page = await self.client.get_logs(process_id, page.next_position)
            texts += [entry.text for entry in page.entries]
        return "".join(texts)

    @asynccontextmanager
    async def running(
        self,
        plugin: Runtime,
        *,
        slots: int = 1,
        grace: float = 1.0,
        drain: float = 0.0,
        key: PrivateKey | None = None,
    ) -> AsyncIterator[Running]:
        """Have a plugin work for the colony, as ``colonies-run`` would, while the block lasts.

        Its type is that of the plugin; grace and drain are in seconds. At the end of the block it
        leaves, as after SIGTERM. With the key of an earlier one it is its next life.
        """
        running = run(
            plugin,
            self.settings,
            owner=self._owner_key,
            key=key or PrivateKey.generate(),
            folder=self._folder,
            slots=slots,
            grace=grace,
            drain=drain,
        )
        async with running as ready:
            yield ready

    @asynccontextmanager
    async def launched(
        self, plugin: type[Runtime], plugin_settings: Any, *, key: PrivateKey, grace: float = 1.0
    ) -> AsyncIterator[Launched]:
        """Have a plugin work in a process of its own, which is killed at the end of the block.

        It must be one that can be imported by its name.
        """
        order = Order(
            plugin=f"{plugin.__module__}:{plugin.__qualname__}",
            plugin_settings=plugin_settings,
            settings=self.settings,
            owner=self._owner_key.hex,
            key=key.hex,
            folder=str(self._folder),
            grace=grace,
        )
        async with launch(order) as launched:
            yield launched

    async def stop_hub(self) -> None:
        """Take the hub away; who is connected notices."""
        await self._hub.__aexit__(None, None, None)

    async def start_hub(self) -> None:
        """Bring the hub back where it was."""
        self._hub = Server(self.settings)
        await self._hub.__aenter__()

    async def open(self, stack: AsyncExitStack, hub_owner: PrivateKey) -> None:
        """Start the hub and people it; called once, by `open_world`."""
        await self.start_hub()
        stack.push_async_callback(self.stop_hub)
        self.settings = msgspec.structs.replace(self.settings, server_port=self._hub.port)
        client = await stack.enter_async_context(connect(self.settings))
        await client.acting_as(hub_owner).add_colony(self.colony_id, "testing")
        self.owner = client.acting_as(self._owner_key)
        asker = PrivateKey.generate()
        await self.owner.add_runtime(
            Member(runtime_id=asker.id, name=ASKER, runtime_type=ASKER, colony_id=self.colony_id)
        )
        await self.owner.approve_runtime(asker.id)
        self.client = client.acting_as(asker)


@asynccontextmanager
async def open_world(database_url: str = "", **changes: Any) -> AsyncIterator[World]:
    """Open a hub with a colony while the block lasts; without a database it has one of its own.

    ``changes`` are settings of the hub. What is in the database stays there, but each world has a
    colony of its own.
    """
    hub_owner, colony_owner = PrivateKey.generate(), PrivateKey.generate()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="colonies-testing-")))
        if not database_url:
            postgres = EmbeddedPostgres(folder / "database", fsync=False)
            database_url = (await stack.enter_async_context(postgres)).url
        plain = Settings(
            server_host="127.0.0.1",
            server_port=0,
            bind="127.0.0.1",
            tls=False,
            server_id=hub_owner.id,
            colony_id=colony_owner.id,
            keychain=str(folder / "keychain"),
            database_url=database_url,
            tick=0.1,
        )
        world = World(msgspec.structs.replace(plain, **changes), colony_owner, folder)
        await world.open(stack, hub_owner)
        yield world
