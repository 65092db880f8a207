"""The life of a container, from its being made until nothing is left of it.

An engine is asked by its commands, and is not believed: a command may fail, hang, be killed or say
nonsense, and the container may have been made, or be running, all the same. So what is removed is
removed by name, whatever the engine has said, and what could not be is tried again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from runtimes.child import Child, start_child
from runtimes.container.asking import Asking, EngineFailed, engine_environment
from runtimes.container.engine import House, Wanted
from runtimes.container.looks import Look, Looks

logger = structlog.get_logger()

CERTAIN = 2
"""Looks in a row that must not show a container before it counts as not being there."""

CREATIONS = 3
"""Times that a container is made before it is given up, if nobody knows what came of it."""

REMOVALS = 2
"""Times that a container is removed before that is left for later."""

SWEEP_PERIOD = 600.0
"""Seconds between looks for containers that are left though their engine removed them."""


class Containers:
    """The containers of one runtime at one engine."""

    look_period = 30.0
    """Seconds after which one whose engine says nothing is asked for."""

    gone_after = 30.0
    """Seconds after which one that the engine does not show has vanished."""

    def __init__(self, asking: Asking, looks: Looks, house: House, runtime_id: str) -> None:
        self._asking = asking
        self._looks = looks
        self._engine = asking.engine
        self._house = house
        self._runtime_id = runtime_id
        self._held: set[str] = set()
        self._left: set[str] = set()
        self._swept_at = time.monotonic()

    async def make(self, wanted: Wanted, folder: Path, pull: str) -> None:
        """Make a container, with an image that is fetched as ``pull`` says.

        Whatever comes of it, `remove` must follow. Its engine works in ``folder``, which is the
        container's own: some leave things there. Raises EngineFailed.
        """
        self._held.add(wanted.name)
        if pull == "always":
            await self._pull(wanted.image)
        try:
            await self._create(wanted, folder)
        except EngineFailed:
            # That it is here is not asked before: mostly it is.
            if pull == "always" or await self._has(wanted.image):
                raise
            if pull == "never":
                reason = f"image {wanted.image} is not here, and none is fetched"
                raise EngineFailed(reason) from None
            await self._pull(wanted.image)
            await self._create(wanted, folder)

    async def _has(self, image: str) -> bool:
        """Whether an image is here, or may be."""
        try:
            return (await self._asking.ask(self._engine.has_image(image))).code <= 0
        except EngineFailed:
            return True

    async def _pull(self, image: str) -> None:
        await self._asking.need(self._engine.pull(image), patience=self._asking.pull_patience)

    async def _create(self, wanted: Wanted, folder: Path) -> None:
        """Make a container, again if it was not made; its name makes sure that there is one."""
        argv = self._engine.create(wanted, self._house)
        for left in reversed(range(CREATIONS)):
            try:
                # To its end even if cancelled: what a daemon makes later, nobody would remove.
                await _whole(self._asking.need(argv, cwd=str(folder)))
            except EngineFailed as error:
                if error.is_unsure and await self._is_made(wanted.name):
                    return
                if not (error.is_unsure and left):
                    raise
                logger.warning("container not made", container=wanted.name, error=str(error))
            else:
                return

    async def _is_made(self, name: str) -> bool:
        """Whether there is a container, made by us and not yet started."""
        with suppress(EngineFailed):
            for _ in range(CERTAIN):
                if look := await self._insist(name):
                    return look.is_unstarted and look.keeper == this_keeper()
        return False

    async def _insist(self, name: str) -> Look | None:
        """Look until the engine answers; raise EngineFailed when it does not for too long."""
        since = time.monotonic()
        while True:
            try:
                return await self._looks.look(name)
            except EngineFailed:
                if time.monotonic() > since + self.gone_after:
                    raise

    async def start(self, name: str, folder: Path) -> Child:
        """Start a container; gives the command that follows it to its end."""
        try:
            argv = self._engine.start(name)
            return await start_child(argv, engine_environment(), cwd=str(folder))
        except (OSError, ValueError) as error:
            raise EngineFailed(str(error)) from error

    async def followed(self, name: str, child: Child) -> None:
        """Wait until the command that follows a container ends, or nothing has run for a while."""
        was_idle = is_idle = False
        while not (was_idle and is_idle):
            try:
                async with asyncio.timeout(self.look_period):
                    await child.process.wait()
                    return
            except TimeoutError:
                was_idle, is_idle = is_idle, await self._is_idle(name)
        logger.warning("engine hung", container=name)

    async def _is_idle(self, name: str) -> bool:
        with suppress(EngineFailed):
            look = await self._looks.look(name)
            return look is None or look.is_unstarted or look.is_ended
        return False

    async def end_of(self, name: str) -> Look:
        """Say how a container has ended that is not followed any more, or how it is instead.

        Raises EngineFailed when the engine has not shown it for too long.
        """
        since, looks = time.monotonic(), 0
        while True:
            look, why = None, "the engine does not show it"
            try:
                look = await self._looks.look(name)
            except EngineFailed as error:
                why = str(error)
            if look and (look.is_ended or look.is_unstarted):
                return look
            looks += 1
            if looks < CERTAIN:
                continue
            if look and look.state.running:
                return look
            if time.monotonic() > since + self.gone_after:
                raise EngineFailed(f"it is {look.state.status}" if look else why)

    async def stop(self, name: str, grace: float) -> None:
        """Ask a container to end, and have it killed if it does not."""
        seconds = max(round(grace), 0)
        try:
            argv = self._engine.stop(name, seconds)
            await self._asking.need(argv, patience=self._asking.patience + seconds)
        except EngineFailed as error:
            logger.warning("container not stopped", container=name, error=str(error))

    async def remove(self, name: str) -> bool:
        """Remove a container, if there is one; says whether none is left."""
        is_gone = False
        for _ in range(REMOVALS):
            try:
                answer = await self._asking.ask(self._engine.remove(name))
                is_gone = answer.code == 0 or await self._looks.look(name) is None
                said = answer.complaint
            except EngineFailed as error:
                said = str(error)
            if is_gone:
                break
            logger.warning("container not removed", container=name, error=said)
        self._held.discard(name)
        (self._left.discard if is_gone else self._left.add)(name)
        return is_gone

    async def tidy(self) -> None:
        """Try again to remove what could not be; now and then, look for what else is left."""
        for name in sorted(self._left):
            if name not in self._left:
                continue  # another is at it, or has been
            self._left.discard(name)
            try:
                await self.remove(name)
            except BaseException:
                self._left.add(name)
                raise
        if time.monotonic() > self._swept_at + SWEEP_PERIOD:
            with suppress(EngineFailed):
                await self.sweep()

    async def sweep(self) -> bool:
        """Remove what is this runtime's and held by nobody: left by an earlier start, or by us.

        Says whether nothing was left. Raises EngineFailed when the engine does not say what there
        is.
        """
        self._swept_at = time.monotonic()
        names = await self._looks.names_of(self._runtime_id)
        left = set(names) - self._held
        for look in await self._looks.look_at_all(sorted(left)) if left else []:
            if look.name not in self._held and _is_orphan(look):
                await self.remove(look.name)
                logger.info("container swept", container=look.name)
        return not left

    async def close(self) -> None:
        """Leave nothing behind."""
        for _ in range(REMOVALS):
            try:
                if await self.sweep():
                    break
            except EngineFailed as error:
                logger.warning("containers not swept", error=str(error))
        await self._looks.close()


def _is_orphan(look: Look) -> bool:
    return look.keeper == this_keeper() or not is_alive(look.keeper)


async def _whole(doing: Coroutine[Any, Any, str]) -> None:
    """Await to its end what must not be left half done, and only then be cancelled."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(EngineFailed):
            await task
        raise


def this_keeper() -> str:
    """Name this very process, as no other of this machine was or will be named."""
    return _keeper(os.getpid())


def is_alive(keeper: str) -> bool:
    """Whether the process of that name runs; on another machine, or before a boot, none does."""
    pid = keeper.rpartition(" ")[0].rpartition(" ")[2]
    try:
        return pid.isdecimal() and _keeper(int(pid)) == keeper
    except OSError:
        return False


def _keeper(pid: int) -> str:
    """Give boot, process namespace, number and time of start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        since = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:  # no Linux, or no such process
        return f"unknown {pid} 0"
    return f"{boot} {space} {pid} {since}"
