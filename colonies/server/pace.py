"""How long those who ask wait for others to share a statement with: not at all, unless it is slow.

A statement that takes far longer than it need shows that the database, or a processor on the way,
is busy. Several hubs that go on at once, each with what few have asked for, then make it busier;
what gathers while each waits a little costs one statement instead of many. Measured with 50 clients
by 4 hubs: half as many statements, at 0.6 of PostgreSQL's time a cycle.

Who comes alone, or after a pause, is never kept waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

SLOW = 3.0
"""How many times what it takes at least a statement takes that is slow."""

LEAST = 0.001
"""Seconds that a durable statement takes: one that found nothing to do is no measure for others."""

GAIN = 3.0
"""How many times as long as a statement was too slow the next one is waited for."""

LONGEST = 0.02
"""Seconds that anybody waits at most."""

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


class Pace:
    """What statements of one kind have taken of late."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
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
        return min(LONGEST, max(0.0, GAIN * (self._seconds - SLOW * self._least)))

    def _is_fresh(self, now: float) -> bool:
        return now <= self._ended + STALE
