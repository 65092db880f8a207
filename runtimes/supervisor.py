"""Several runtimes at once, a child process each: started, started again, drained, replaced.

Which those are is read from a file by ``roster.py``, at the start and on SIGHUP. A child whose
standard input ends drains and leaves; so none outlives us, even if we are killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog

from colonies.client.insistence import pauses
from colonies.core.errors import Misconfigured
from runtimes.notify import RELOADING, STOPPING, VARIABLES, notify, ready, signs_of_life
from runtimes.roster import Entry

logger = structlog.get_logger()

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds before a runtime that has ended is started again, before jitter."""

STEADY = 60.0
"""Seconds after which an end is the first again, and not one more of a row."""


class Supervisor:
    """Keeps running what a file says, until told to stop."""

    def __init__(self, read: Callable[[], dict[str, Entry]]) -> None:
        """Read for the first time: raises Misconfigured, and nothing is started."""
        self._read = read
        self._wanted = read()
        self._keepers: dict[str, Keeper] = {}
        self._hangup = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Live until SIGTERM or SIGINT, and until all that runs has drained."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        async with signs_of_life(), asyncio.TaskGroup() as tasks:
            self._apply(tasks)
            ready(self._status())
            reloading = tasks.create_task(self._reload_when_told(tasks))
            await self._stopping.wait()
            reloading.cancel()
            for keeper in self._keepers.values():
                keeper.want(None)
        logger.info("runtimes stopped")

    def _stop(self) -> None:
        """Drain everything; a second call does not wait for what runs."""
        notify(STOPPING)
        if self._stopping.is_set():
            for keeper in self._keepers.values():
                keeper.hurry()
        self._stopping.set()

    async def _reload_when_told(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            notify(RELOADING)
            try:
                self._wanted = self._read()
            except Misconfigured as error:
                logger.error("file refused, all goes on as before", error=str(error))  # noqa: TRY400 - somebody's typing error
                ready(f"refused: {error}")
                continue
            self._apply(tasks)
            logger.info("file read", runtimes=sorted(self._wanted))
            ready(self._status())

    def _apply(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is new, and say to all others what is wanted of them now."""
        # By their keys, whatever they are called: no two processes shall be one runtime.
        wanted = {entry.identity: entry for entry in self._wanted.values()}
        for identity, keeper in self._keepers.items():
            keeper.want(wanted.get(identity))
        for identity in wanted.keys() - self._keepers.keys():
            keeper = self._keepers[identity] = Keeper(wanted[identity])
            tasks.create_task(self._keep(identity, keeper))

    async def _keep(self, identity: str, keeper: Keeper) -> None:
        await keeper.run()
        # At once: a keeper that has ended must not be asked to go on.
        del self._keepers[identity]

    def _status(self) -> str:
        return f"runs {', '.join(sorted(self._wanted))}"


class Keeper:
    """Keeps one runtime running as it is wanted, until it is not wanted any more."""

    def __init__(self, entry: Entry) -> None:
        self._wanted: Entry | None = entry
        self._changed = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None

    def want(self, entry: Entry | None) -> None:
        """Say how it shall run from now on; None is not at all. What differs drains first."""
        if entry != self._wanted:
            self._wanted = entry
            self._changed.set()

    def hurry(self) -> None:
        """Do not wait for what runs."""
        if self._child:
            with suppress(ProcessLookupError):
                self._child.terminate()

    async def run(self) -> None:
        """Start it, and start it again, with pauses that grow while it keeps ending."""
        loop = asyncio.get_running_loop()
        waits = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while entry := self._wanted:
            self._changed.clear()
            since = loop.time()
            how = await self._live(entry)
            if self._changed.is_set() or loop.time() - since > STEADY:
                waits = pauses(FIRST_PAUSE, LONGEST_PAUSE)
            if self._changed.is_set():
                continue
            pause = next(waits)
            logger.error(
                "runtime ended, starting it again",
                name=entry.name,
                error=how,
                seconds=round(pause, 1),
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _live(self, entry: Entry) -> str:
        """See one child to its end, which is asked for when it is not wanted; say how it ended."""
        try:
            self._child = child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "runtimes", *entry.words, "--tied"),
                stdin=asyncio.subprocess.PIPE,
                env={key: value for key, value in os.environ.items() if key not in VARIABLES},
                start_new_session=True,  # Ctrl-C is for us, who then let it drain
            )
        except OSError as error:
            return str(error)
        try:
            async with asyncio.TaskGroup() as tasks:
                ended = tasks.create_task(child.wait())
                changed = tasks.create_task(self._changed.wait())
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if child.returncode is None and child.stdin:
                    logger.info("runtime asked to drain", name=entry.name)
                    child.stdin.close()
            return f"exit code {child.returncode}"
        finally:
            self._child = None
