"""How many processes a runtime holds at once: never more than its slots, and at times fewer.

A plugin may say how many it has room for; and after the machine could not start one, for want of
files or memory, the runtime takes no more than run then, and little by little more again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from colonies.client.work import Changes
from colonies.core.errors import ColoniesError

logger = structlog.get_logger()

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds that a process is kept which cannot be started, before others may have it.

The first is enough for the hub to hear that we take less; they grow while nothing runs here at all,
as then it would come back at once.
"""

EASE = 10.0
"""Seconds after which twice as many are taken as before, if nothing has failed to start."""


class Credit:
    """What the hub is told that we can hold."""

    def __init__(self, slots: int, running: Callable[[], int]) -> None:
        """Take the most, and how to see how many there are now."""
        self._slots = slots
        self._running = running
        self._admitted = slots
        self._bearable = slots
        self._returning = 0
        self._pause = FIRST_PAUSE
        self._easing: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    @property
    def now(self) -> int:
        """How many can be held now; one at least, so that it is noticed when all is well again."""
        return max(1, min(self._slots, self._admitted, self._bearable))

    def admit(self, count: int) -> None:
        """Hold so many from now on, as far as the machine can bear it."""
        before = self.now
        self._admitted = count
        self._compare(before)

    def has_begun(self) -> None:
        """Take notice that something could be executed."""
        self._pause = FIRST_PAUSE

    @contextmanager
    def short(self) -> Iterator[float]:
        """Hold fewer for a while, as one could not be begun; gives for how long to keep that."""
        before = self.now
        self._returning += 1
        pause = self._pause
        self._bearable = min(self._bearable, max(1, self._running() - self._returning))
        if self._bearable == 1:
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self._ease_later()
        self._compare(before)
        try:
            yield pause
        finally:
            self._returning -= 1

    def _ease_later(self) -> None:
        if self._easing:
            self._easing.cancel()
        self._easing = asyncio.get_running_loop().call_later(EASE, self._ease)

    def _ease(self) -> None:
        before = self.now
        self._easing = None
        self._bearable = min(self._slots, 2 * self._bearable)
        if self._bearable < self._slots:
            self._ease_later()
        self._compare(before)

    def _compare(self, before: int) -> None:
        if self.now != before:
            self._changed.set()

    async def follow(self, work: Changes) -> None:
        """Tell the hub whenever we can hold more, or fewer, than before."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await work.ask_again()
            except ColoniesError as error:
                logger.debug("credit not changed", error=str(error))  # a reconnect says it too
