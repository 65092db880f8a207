"""What must be done once, however many hubs there are: by the one that leads.

Who leads has an advisory lock, which PostgreSQL gives to one session and takes back with it; the
session is that of `peers.py`. For a moment after its connection broke unnoticed a hub may believe
that it still leads, so a duty must do no harm if two do it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import msgspec
import structlog

from colonies.core.errors import Unavailable

logger = structlog.get_logger()


class Duty(msgspec.Struct, frozen=True):
    """Something that the leader does every so many seconds."""

    name: str
    period: float
    work: Callable[[], Awaitable[None]]


class Leader:
    """Does its duties from when it gains the lead until it loses it, and never besides."""

    def __init__(self, hub_id: str, duties: Iterable[Duty]) -> None:
        self._hub_id = hub_id
        self._duties = list(duties)
        self._tasks = asyncio.TaskGroup()
        self._under_way: list[asyncio.Task[None]] = []
        self.is_leading = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lose()
        await self._tasks.__aexit__(kind, error, traceback)

    def gain(self) -> None:
        """Begin with the duties; more than once makes no difference."""
        if self.is_leading:
            return
        self.is_leading = True
        logger.info("leader gained", hub=self._hub_id)
        self._under_way = [self._tasks.create_task(_repeat(duty)) for duty in self._duties]

    def lose(self) -> None:
        """Stop at once, in the middle of a duty if need be."""
        if not self.is_leading:
            return
        self.is_leading = False
        logger.info("leader lost", hub=self._hub_id)
        for task in self._under_way:
            task.cancel()
        self._under_way = []


async def _repeat(duty: Duty) -> None:
    while True:
        await asyncio.sleep(duty.period)
        try:
            await duty.work()
        except Unavailable as error:
            logger.warning("duty skipped", duty=duty.name, error=error.message)
        except Exception:
            logger.exception("duty failed", duty=duty.name)
