"""How long those who ask wait for others to share a statement with: not at all, unless it is slow.

A statement that takes far longer than it need shows that the database, or a processor on the way,
is busy. Several hubs that go on at once, each with what few have asked for, then make it busier;
what gathers while each waits a little costs one statement instead of many. Measured with 50 clients
by 4 hubs: half as many statements, at 0.6 of PostgreSQL's time a cycle.

Who comes alone, or after a pause, is never kept waiting.

And while there are other hubs, each has one shared statement under way at a time, whatever it does:
as many together as one hub has alone. Whichever line is longest is next, so those who ask for one
thing after the other come to do so together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

SLOW = 3.0
"""How many times what it takes at least a statement takes that is slow."""

LEAST = 0.001
"""Seconds that a durable statement takes: one that found nothing to do is no measure for others."""

GAIN = 3.0
"""How many times as long as a statement was too slow the next one is waited for."""

LONGEST = 0.02
"""Seconds that anybody waits at most."""

STUCK = 0.1
"""Seconds after which a statement keeps none of another kind back any more."""

STALE = 0.1
"""Seconds after which it is not known any more how busy it is."""

ROW = 0.00005
"""Seconds that a row takes: they do not make a statement slow."""

FEW = 1.5
"""Calls that share a statement, of late: if no more, there is nobody to wait for."""

DOUBLED_IN = 60.0
"""Seconds in which the least that was found counts twice, so that it is found anew if it grows."""

SHARE = 0.3
"""How much the last statement counts, against those before."""


class Lane:
    """Where statements of all kinds go one at a time, while there are other hubs."""

    def __init__(self) -> None:
        self.others = 0
        """How many other hubs there are."""
        self._under_way = 0
        self._line: dict[asyncio.Future[None], Callable[[], int]] = {}

    @property
    def is_clear(self) -> bool:
        """Whether the next one can go at once."""
        return not (self.others and (self._under_way or self._line))

    async def clear(self, length: Callable[[], int]) -> None:
        """Wait until it is clear and no line is longer, but not for long: one may be stuck."""
        if self.is_clear:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[turn] = length
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(STUCK):
                    await turn
        finally:
            del self._line[turn]

    def begin(self) -> None:
        """Take notice of a statement."""
        self._under_way += 1

    def end(self) -> None:
        """Take notice that it is done: the longest line is next."""
        self._under_way -= 1
        waiting = [turn for turn in self._line if not turn.done()]
        if waiting and not self._under_way:
            max(waiting, key=lambda turn: self._line[turn]()).set_result(None)


class Pace:
    """What statements of one kind have taken of late, and what lane they go through."""

    def __init__(self, clock: Callable[[], float] = monotonic, *, lane: Lane | None = None) -> None:
        self._lane = lane or Lane()
        self._clock = clock
        self._least = float("inf")
        self._seconds = 0.0
        self._calls = 0.0
        self._ended = float("-inf")

    def note(self, seconds: float, *, calls: int, rows: int) -> None:
        """Take how long a statement took, for so many calls, of so many rows in all."""
        now = self._clock()
        seconds = max(LEAST, seconds - rows * ROW)
        self._least = min(self._least * 2 ** ((now - self._ended) / DOUBLED_IN), seconds)
        share = SHARE if self._is_fresh(now) else 1.0
        self._seconds += share * (seconds - self._seconds)
        self._calls += share * (calls - self._calls)
        self._ended = now

    def pause(self) -> float:
        """Give how many seconds to wait before the next one."""
        if self._calls <= FEW or not self._is_fresh(self._clock()):
            return 0.0
        turn = self._seconds * self._lane.others
        return min(LONGEST, max(turn, GAIN * (self._seconds - SLOW * self._least)))

    def _is_fresh(self, now: float) -> bool:
        return now <= self._ended + STALE
