"""The logs of pods, written into the folders of their jobs as they come.

A log is read from its beginning each time, and what is there already is left out: the API can
begin at a time or count lines, but not at a byte.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from runtimes.job_state import Unsure
from runtimes.kubernetes.api import Api
from runtimes.kubernetes.terms import CONTAINER

logger = structlog.get_logger()

FOLLOWED = 60
"""Logs that are followed at once; of more, what is there is seen when their jobs have ended."""

READ = 8
"""Logs of ended jobs that are read at once."""

TRIES = 5
"""Times that the log of an ended job is asked for."""

PAUSE = 1.0
"""Seconds before a log is asked for again; a follower may end while its pod goes on."""


class Logs:
    """Follows what runs, and reads to the end what has ended."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._following: dict[str, asyncio.Task[None]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._read: set[str] = set()
        self._turns = asyncio.Semaphore(READ)

    async def close(self) -> None:
        """Read no more."""
        tasks = [*self._following.values(), *self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def follow(self, pod: str, path: Path) -> None:
        """Write on what a pod says, unless that is done already, or too many are."""
        if pod not in self._following and len(self._following) < FOLLOWED:
            self._following[pod] = asyncio.create_task(self._follow(pod, path))

    def is_read(self, pod: str, path: Path) -> bool:
        """Whether all is there that an ended pod has said; if not, it is read now."""
        if pod in self._read:
            return True
        if pod not in self._reading:
            self._reading[pod] = asyncio.create_task(self._finish(pod, path))
        return False

    def forget(self, pod: str) -> None:
        """Drop what is known of a pod."""
        self._read.discard(pod)
        for tasks in (self._following, self._reading):
            if task := tasks.get(pod):
                task.cancel()

    async def _follow(self, pod: str, path: Path) -> None:
        try:
            await self._copy(pod, path, follow=True)
            await asyncio.sleep(PAUSE)
        except (Unsure, OSError) as error:
            logger.debug("log not followed", pod=pod, error=str(error))
            await asyncio.sleep(PAUSE)
        finally:
            del self._following[pod]

    async def _finish(self, pod: str, path: Path) -> None:
        try:
            if following := self._following.get(pod):
                following.cancel()
                await asyncio.wait({following})
            async with self._turns:
                await self._read_whole(pod, path)
            self._read.add(pod)
        finally:
            del self._reading[pod]

    async def _read_whole(self, pod: str, path: Path) -> None:
        why = ""
        for number in range(TRIES):
            try:
                if await self._copy(pod, path, follow=False):
                    return
                why = "the pod is gone"
                break
            except (Unsure, OSError) as error:
                why = str(error)
                await asyncio.sleep(PAUSE * number)
        logger.warning("log not read", pod=pod, error=why)
        await asyncio.to_thread(_append, path, f"[the log could not be read: {why}]\n".encode())

    async def _copy(self, pod: str, path: Path, *, follow: bool) -> bool:
        """Append what is not there yet; whether there is a log at all."""
        known = await asyncio.to_thread(_size, path)
        async with self._api.log(pod, CONTAINER, follow=follow) as log:
            if not log.is_there:
                return False
            async for piece in log.pieces():
                fresh = piece[known:]
                known = max(0, known - len(piece))
                if fresh:
                    await asyncio.to_thread(_append, path, fresh)
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
