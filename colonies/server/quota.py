"""Quotas: how much one identity, or one colony, may ask of a hub.

Without limits, as the settings come, nothing is counted. Rates hold for one hub each; how many wait
is counted in the database, for all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from colonies.core.errors import OverQuota
from colonies.server.db import Statements
from colonies.settings import Settings

RECOUNT_AFTER = 10.0
"""Seconds that a count holds while there is room."""

RECOUNT_AT_LIMIT_AFTER = 1.0
"""Seconds after which a colony that was at its limit is counted again."""

MOST_KNOWN = 10_000
"""Identities, or colonies, that are remembered at once; over it, those that may ask anew go."""


class Rate:
    """So many a second for each key, and as many at once after a pause."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._free_at: dict[str, float] = {}

    def take(self, key: str, count: int) -> float:
        """Take so many and give 0, or take none and give the seconds until the next may be taken.

        Whoever takes many at once pays for them afterwards.
        """
        if not self._per_second:
            return 0.0
        now = self._clock()
        earliest = now - 1.0
        free_at = max(self._free_at.get(key, earliest), earliest)
        if free_at > now:
            return free_at - now
        if len(self._free_at) >= MOST_KNOWN:
            self._free_at = {key: at for key, at in self._free_at.items() if at > earliest}
        self._free_at[key] = free_at + count / self._per_second
        return 0.0


@dataclass(slots=True)
class _Waiting:
    """How many wait in a colony, at most: as counted, and submitted since or just now."""

    count: int = 0
    in_flight: int = 0
    counted_at: float = float("-inf")

    @property
    def most(self) -> int:
        return self.count + self.in_flight


class Quotas:
    """What one hub lets people submit."""

    def __init__(
        self, db: Statements, settings: Settings, clock: Callable[[], float] = monotonic
    ) -> None:
        self._db = db
        self._clock = clock
        self._rates = (
            ("identity", settings.max_submits, Rate(settings.max_submits, clock)),
            ("colony", settings.max_colony_submits, Rate(settings.max_colony_submits, clock)),
        )
        self._max_waiting = settings.max_waiting
        self._waiting: dict[str, _Waiting] = {}

    @asynccontextmanager
    async def submitting(self, caller: str, colony_id: str, count: int) -> AsyncIterator[None]:
        """Let somebody submit so many processes to a colony; raise OverQuota if it is too much."""
        for (whose, limit, rate), key in zip(self._rates, (caller, colony_id), strict=True):
            if seconds := rate.take(key, count):
                raise OverQuota(
                    f"more than {limit:g} submits a second by one {whose}: "
                    f"try again in {seconds:.1f} s"
                )
        if not self._max_waiting:
            yield
            return
        waiting = self._waiting_in(colony_id)
        waiting.in_flight += count
        try:
            await self._check(colony_id, waiting)
            yield
            waiting.count += count
        finally:
            waiting.in_flight -= count

    def _waiting_in(self, colony_id: str) -> _Waiting:
        if len(self._waiting) >= MOST_KNOWN and colony_id not in self._waiting:
            self._waiting = {key: one for key, one in self._waiting.items() if one.in_flight}
        return self._waiting.setdefault(colony_id, _Waiting())

    async def _check(self, colony_id: str, waiting: _Waiting) -> None:
        now = self._clock()
        is_full = waiting.most > self._max_waiting
        if now - waiting.counted_at >= (RECOUNT_AT_LIMIT_AFTER if is_full else RECOUNT_AFTER):
            waiting.counted_at = now  # first, so that one of a crowd counts
            waiting.count = await self._db.fetch_value(
                "get_waiting_count", colony_id=colony_id, most=self._max_waiting
            )
        if waiting.most > self._max_waiting:
            raise OverQuota(
                f"colony <{colony_id}> may have no more than {self._max_waiting} processes waiting"
            )
