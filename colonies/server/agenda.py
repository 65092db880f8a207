"""When crons and generators come next, so that the leader asks seldom and nothing is late for that.

Whatever makes one come sooner than was known is told to the leader, whichever hub that is; what is
not told, because a notification was lost, is found when it asks again in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum

from colonies.server.db import Statements

ASKED_EVERY = 10.0
"""Seconds from one question to the next at the latest."""


class Kind(IntEnum):
    """What recurs; the number is that of its column in the answer."""

    CRON = 0
    GENERATOR = 1


class Agenda:
    """Until when nothing recurs, as far as is known."""

    def __init__(self, db: Statements, *, tell: Callable[[], None] = lambda: None) -> None:
        """Take what tells the other hubs to ask again as well."""
        self._db = db
        self._tell = tell
        self._asking = asyncio.Lock()
        self._generation = 0
        self._quiet_until = [0.0 for _ in Kind]

    async def is_due(self, kind: Kind) -> bool:
        """Whether one of a kind may have come; those who ask at the same time share the answer."""
        clock = asyncio.get_running_loop().time
        async with self._asking:
            if clock() >= self._quiet_until[kind]:
                await self._ask()
        return clock() >= self._quiet_until[kind]

    async def _ask(self) -> None:
        generation = self._generation
        (left,) = await self._db.fetch_rows("get_seconds_to_recurring", within=ASKED_EVERY)
        # What was read before a change must not be relied on after it.
        if generation == self._generation:
            now = asyncio.get_running_loop().time()
            self._quiet_until = [now + seconds for seconds in left]

    def change(self) -> None:
        """Ask again, at whichever hub leads: something may come sooner than it knows."""
        self.ask_again()
        self._tell()

    def ask_again(self) -> None:
        """Ask again, if it is this hub that leads."""
        self._generation += 1
        self._quiet_until = [0.0 for _ in Kind]
