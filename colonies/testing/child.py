"""A runtime in a process of its own, so that it can be killed; started by `World.launched`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import msgspec

from colonies import logs
from colonies.core.identity import PrivateKey
from colonies.settings import Settings
from colonies.testing.running import run
from runtimes.base import Runtime

BUSY = b"busy\n"


class Order(msgspec.Struct, frozen=True):
    """What the child shall be: the name of a plugin, as ``module:Class``, and all it needs."""

    plugin: str
    plugin_settings: Any
    settings: Settings
    owner: str
    key: str
    folder: str
    grace: float


class Launched:
    """A runtime in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def busy(self) -> None:
        """Wait until its plugin executes anything; raise AssertionError if it has ended."""
        if self._process.stdout and await self._process.stdout.readline() != BUSY:
            raise AssertionError("the runtime has ended; what it said is on standard error")


@asynccontextmanager
async def launch(order: Order) -> AsyncIterator[Launched]:
    """Start a runtime, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdin:
            process.stdin.write(msgspec.json.encode(order))
            process.stdin.close()
        yield Launched(process)
    finally:
        if process.returncode is None:
            process.kill()
        # To its end, so that the pipe is closed before the loop is.
        await process.communicate()


async def _work(order: Order) -> None:
    kind: type[Runtime] = resolve_name(order.plugin)
    working = run(
        kind(msgspec.convert(order.plugin_settings, kind.Settings)),
        order.settings,
        owner=PrivateKey(order.owner),
        key=PrivateKey(order.key),
        folder=Path(order.folder),
        slots=1,
        grace=order.grace,
        drain=0,
    )
    async with working as running:
        await running.busy()
        sys.stdout.buffer.write(BUSY)
        sys.stdout.buffer.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs.configure(verbose=False)
    asyncio.run(_work(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
