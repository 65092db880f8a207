"""Quotas: how much one identity, or one colony, may ask of a hub.

Without limits, as the settings come, nothing is counted. Rates hold for one hub each; how many wait
is counted in the database, for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from colonies.core.errors import OverQuota
from colonies.server.db import Statements
from colonies.server.intent import Submitter
from colonies.settings import Settings

K = TypeVar("K", bound=Hashable)

RECOUNT_AFTER = 10.0
"""Seconds that a count holds while there is room."""

RECOUNT_AT_LIMIT_AFTER = 1.0
"""Seconds after which what was found near its limit is counted again."""

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
    """How many wait, at most: as counted, and submitted since or just now."""

    counted: int = 0
    added: int = 0
    in_flight: int = 0
    counted_at: float = float("-inf")
    is_counting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def most(self) -> int:
        return self.counted + self.added + self.in_flight


class Backlog(Generic[K]):
    """So many that may wait for each key; they are counted now and then, and in between added up.

    ``count`` gives how many wait for a key, up to a number. At the limit they are counted again
    after a second, or when half as many were added since, who then pay for it.
    """

    def __init__(
        self, most: int, count: Callable[[K, int], Awaitable[int]], clock: Callable[[], float]
    ) -> None:
        self.most = most
        self._count = count
        self._clock = clock
        self._waiting: dict[K, _Waiting] = {}

    @asynccontextmanager
    async def adding(self, key: K, count: int, what: str) -> AsyncIterator[None]:
        """Let so many more wait; raise OverQuota, saying ``what`` may not, if it is too much."""
        if not self.most:
            yield
            return
        waiting = self._of(key)
        waiting.in_flight += count
        try:
            if self._is_old(waiting):
                await self._recount(key, waiting)
            if waiting.most > self.most:
                raise OverQuota(f"{what} may have no more than {self.most} processes waiting")
            yield
            waiting.added += count
        finally:
            waiting.in_flight -= count

    def _of(self, key: K) -> _Waiting:
        if len(self._waiting) >= MOST_KNOWN and key not in self._waiting:
            self._waiting = {key: one for key, one in self._waiting.items() if one.in_flight}
        return self._waiting.setdefault(key, _Waiting())

    def _is_old(self, waiting: _Waiting) -> bool:
        age = self._clock() - waiting.counted_at
        if waiting.most <= self.most:
            return age >= RECOUNT_AFTER
        return 2 * waiting.added > self.most or age >= RECOUNT_AT_LIMIT_AFTER

    async def _recount(self, key: K, waiting: _Waiting) -> None:
        async with waiting.is_counting:
            if not self._is_old(waiting):
                return  # somebody else of a crowd has counted
            added, counted_at = waiting.added, self._clock()
            waiting.counted = await self._count(key, self.most)
            # What was added meanwhile may be among it: better too many than too few.
            waiting.added -= added
            waiting.counted_at = counted_at


class Quotas:
    """What one hub lets people submit."""

    def __init__(
        self, db: Statements, settings: Settings, clock: Callable[[], float] = monotonic
    ) -> None:
        self._db = db
        self._rates = (
            ("identity", settings.max_submits, Rate(settings.max_submits, clock)),
            ("colony", settings.max_colony_submits, Rate(settings.max_colony_submits, clock)),
        )
        self._of_identities = Backlog(settings.max_identity_waiting, self._count_of_identity, clock)
        self._of_colonies = Backlog(settings.max_waiting, self._count_of_colony, clock)

    @asynccontextmanager
    async def submitting(self, caller: str, colony_id: str, count: int) -> AsyncIterator[Submitter]:
        """Let somebody submit so many processes to a colony; raise OverQuota if it is too much."""
        for (whose, limit, rate), key in zip(self._rates, (caller, colony_id), strict=True):
            if seconds := rate.take(key, count):
                raise OverQuota(
                    f"more than {limit:g} submits a second by one {whose}: "
                    f"try again in {seconds:.1f} s"
                )
        if not (self._of_identities.most or self._of_colonies.most):
            yield Submitter(caller)
            return
        identity, colony = f"identity <{caller}>", f"colony <{colony_id}>"
        async with (
            self._of_identities.adding((colony_id, caller), count, f"{identity} in {colony}"),
            self._of_colonies.adding(colony_id, count, colony),
        ):
            yield Submitter(caller, is_counted=bool(self._of_identities.most))

    async def _count_of_identity(self, key: tuple[str, str], most: int) -> int:
        colony_id, identity = key
        found: int = await self._db.fetch_value(
            "get_identity_waiting_count", colony_id=colony_id, submitted_by=identity, most=most
        )
        return found

    async def _count_of_colony(self, colony_id: str, most: int) -> int:
        found: int = await self._db.fetch_value("get_waiting_count", colony_id=colony_id, most=most)
        return found
