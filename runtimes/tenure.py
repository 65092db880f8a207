"""Which attempts a lasting plugin is making: on disk, so that its next life can go on with them.

A file each, ``held/<runtime>/<process>.<attempt>.json`` in the state folder: the process as it was
assigned, token and environment included, for nobody but the user to read.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog

from colonies.core.envelope import new_request_id
from colonies.core.process import Process
from runtimes.files import attempt_file, make_private, remove_drafts, write_whole
from runtimes.lasting import Lasting
from runtimes.loop import Abandoned, LoopThread

logger = structlog.get_logger()


class Tenure:
    """The attempts of one lasting plugin, from their assignment until nothing is left to say."""

    def __init__(
        self, plugin: Lasting, thread: LoopThread, state_folder: Path, runtime_id: str
    ) -> None:
        self._plugin = plugin
        self._thread = thread
        self._folder = state_folder / "held" / runtime_id
        self._runtime_id = runtime_id
        self.subscription = new_request_id()
        """By which all lives of this runtime subscribe to work, as far as they know of it."""

    async def load(self) -> list[Process]:
        """Give the attempts that an earlier life was making."""
        try:
            return await asyncio.to_thread(self._load)
        except OSError as error:
            logger.warning("held attempts not read", error=str(error))
            return []

    async def recover(self, left: list[Process]) -> None:
        """Tell the plugin what there is to go on with."""
        await self._thread.run(self._plugin.recover, left)

    async def begin(self, process: Process) -> None:
        """Write an attempt down before anything is done for it."""
        try:
            await asyncio.to_thread(self._keep, process)
        except (OSError, ValueError) as error:
            # It is made all the same: only a restart would not know of it.
            logger.warning("held attempt not kept", process=process.process_id, error=str(error))

    async def end(self, process: Process) -> None:
        """Forget an attempt: its outcome is said, or kept elsewhere, or does not count."""
        try:
            await self._thread.run(self._plugin.forget, process)
            await asyncio.to_thread((self._folder / _name_of(process)).unlink, missing_ok=True)
        except (OSError, ValueError, Abandoned) as error:
            logger.warning("attempt not forgotten", process=process.process_id, error=str(error))

    async def leave(self) -> None:
        """Have the plugin let go of what goes on without it."""
        try:
            await self._thread.run(self._plugin.leave)
        except Abandoned:
            logger.warning("plugin abandoned", error="it does not let go")

    def _keep(self, process: Process) -> None:
        make_private(self._folder)
        path = self._folder / _name_of(process)
        if not path.exists():
            write_whole(path, msgspec.json.encode(process))

    def _load(self) -> list[Process]:
        self._load_subscription()
        remove_drafts(self._folder)
        found, odd = [], []
        for path in sorted(self._folder.glob("*.json")):
            process = self._read(path)
            if process:
                found.append(process)
            else:
                odd.append(path.name)
        if odd:
            where = str(self._folder)
            logger.warning("held attempts not read", folder=where, count=len(odd), first=odd[0])
        return found

    def _load_subscription(self) -> None:
        path = self._folder / "subscription"
        try:
            self.subscription = path.read_text()
        except FileNotFoundError:
            make_private(self._folder)
            write_whole(path, self.subscription.encode())

    def _read(self, path: Path) -> Process | None:
        try:
            process = msgspec.json.decode(path.read_bytes(), type=Process)
            is_ours = process.assigned_runtime_id == self._runtime_id
            return process if is_ours and _name_of(process) == path.name else None
        except (OSError, ValueError):  # msgspec's errors are ValueErrors
            return None


def _name_of(process: Process) -> str:
    return attempt_file(process.process_id, process.attempt)
