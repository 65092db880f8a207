"""A plugin at work in this process: in the daemon that ``colonies-run`` starts, and watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from colonies.client import connect
from colonies.core.identity import PrivateKey
from colonies.core.process import Process
from colonies.core.runtime import Runtime as Member
from colonies.settings import Settings
from runtimes.base import Job, Outcome, Runtime
from runtimes.daemon import Daemon, Habits
from runtimes.membership import Membership
from runtimes.outcomes import Outcomes
from runtimes.presence import Presence
from runtimes.tenure import Tenure

HEARTBEAT = 0.5
"""Seconds between signs of life, so that what was missed is noticed soon."""


class Running:
    """A plugin at work, and which of its executions have begun and ended."""

    def __init__(self, plugin: Runtime) -> None:
        self.daemon: Daemon
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._execute = plugin.execute
        plugin.execute = self._watch  # type: ignore[method-assign]

    async def begun(self, process_id: str) -> None:
        """Wait until the plugin executes a process."""
        await self._until(lambda: process_id in self._begun)

    async def busy(self) -> None:
        """Wait until the plugin executes anything."""
        await self._until(lambda: bool(self._begun))

    async def ended(self, process_id: str) -> None:
        """Wait until an execution of a process has ended, for whatever reason."""
        await self._until(lambda: process_id in self._ended)

    def stop(self) -> None:
        """Have it leave, as after SIGTERM."""
        self.daemon.stop()

    async def _until(self, has_happened: Callable[[], bool]) -> None:
        while not has_happened():
            self._changed.clear()
            await self._changed.wait()

    async def _watch(self, process: Process, job: Job) -> Outcome:
        """Execute, on the plugin's loop, and note it on ours."""
        self._note(self._begun, process)
        try:
            return await self._execute(process, job)
        finally:
            self._note(self._ended, process)

    def _note(self, happened: set[str], process: Process) -> None:
        with suppress(RuntimeError):  # nobody watches any more
            self._loop.call_soon_threadsafe(self._add, happened, process.process_id)

    def _add(self, happened: set[str], process_id: str) -> None:
        happened.add(process_id)
        self._changed.set()


@asynccontextmanager
async def run(
    plugin: Runtime,
    settings: Settings,
    *,
    owner: PrivateKey,
    key: PrivateKey,
    folder: Path,
    slots: int,
    grace: float,
    drain: float,
) -> AsyncIterator[Running]:
    """Run a plugin with this key in the colony that ``owner`` owns; it leaves with the block."""
    member = Member(
        runtime_id=key.id,
        runtime_type=plugin.runtime_type,
        name=f"{plugin.runtime_type}-{key.id[:12]}",
        colony_id=owner.id,
    )
    plugin.runtime_id, plugin.grace = key.id, grace
    running = Running(plugin)
    try:
        async with AsyncExitStack() as stack:
            plugin.mark = stack.enter_context(Presence(folder, key.id)).mark
            colonies = await stack.enter_async_context(connect(settings, key=key))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            running.daemon = Daemon(
                colonies,
                plugin,
                membership=Membership(colonies, member, owner),
                outcomes=Outcomes(folder, member.runtime_id, member.colony_id),
                habits=Habits(slots=slots, heartbeat=HEARTBEAT, drain=drain),
                tenure=lambda one, thread: Tenure(one, thread, folder, member.runtime_id),
            )
            working = tasks.create_task(running.daemon.run())
            try:
                yield running
            finally:
                running.stop()
                # Not cancelled: only one that leaves by itself gives up what does not end.
                await asyncio.wait({working})
    except BaseExceptionGroup as group:
        # Whoever tests wants what went wrong, and not that it did so in a group of one.
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
