"""Saying a thing seldom that happens often."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic

USUAL_PERIOD = 10.0
"""Seconds from one line of a log to the next of the same kind."""


class Seldom:
    """Counts what happens until it may be said again, each kind by itself."""

    def __init__(
        self, period: float = USUAL_PERIOD, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Take how many seconds there are at least between saying the same and saying it again."""
        self._period = period
        self._clock = clock
        self._unsaid: dict[Hashable, int] = {}
        self._said: dict[Hashable, float] = {}

    def count(self, kind: Hashable) -> int:
        """Note that it has happened; give how often since it was said, or 0 if it is too early."""
        unsaid = self._unsaid.get(kind, 0) + 1
        if self._clock() - self._said.get(kind, -self._period) < self._period:
            self._unsaid[kind] = unsaid
            return 0
        self._said[kind] = self._clock()
        self._unsaid[kind] = 0
        return unsaid
