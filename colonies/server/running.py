"""How many processes may run at once: of a colony, and at one runtime.

What runs is counted in the database, by a claim that lets no other of its colony go on meanwhile,
whichever hub it is at: so the limits are exact. Without them, as the settings come, nothing is
counted and nobody waits.

A claim that is cut short is no error; there just is nothing to have. Its queue is held up, and
somebody in it looks again whenever a process of the colony has ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec

from colonies.core.process import Process
from colonies.server.db import Database, Statements
from colonies.server.moves import Claim, claim_from
from colonies.server.queue import Bookmarks, Queue

Line: TypeAlias = tuple[Queue, str]
"""Runtimes that may be held up: those of a queue, or one that asks alone, by its id."""


class Limits:
    """How many may run at once; 0 is as many as there are."""

    def __init__(self, colony: int = 0, runtime: int = 0) -> None:
        """Take how many of one colony, and how many of its processes at one runtime."""
        self.colony = colony
        self.runtime = runtime
        self._held_up: dict[str, set[Line]] = defaultdict(set)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def are_set(self) -> bool:
        """Whether there are any."""
        return bool(self.colony or self.runtime)

    @asynccontextmanager
    async def room(
        self, db: Database, line: Line, asked: Sequence[Claim]
    ) -> AsyncIterator[tuple[Statements, Sequence[Claim]]]:
        """Give what to claim by during the block, and each claim as far as there is room for it."""
        if not self.are_set:
            yield db, asked
            return
        colony_id = line[0].colony_id
        # Before looking, so that what ends in between is not missed.
        self._held_up[colony_id].add(line)
        lock = self._locks.setdefault(colony_id, asyncio.Lock())
        # Here first, so that claims which have to wait hold no connection to the database.
        async with lock, db.transaction() as tx:
            await tx.execute("lock_running", colony_id=colony_id)
            running = dict(await tx.fetch_rows("list_running_counts", colony_id=colony_id))
            yield tx, self._within(asked, running)

    def _within(self, asked: Sequence[Claim], running: Mapping[str, int]) -> list[Claim]:
        """Shorten claims to what there is room for; nobody has a second before all had a first."""
        room = self.colony - sum(running.values()) if self.colony else sum(c.count for c in asked)
        at = Counter(running)
        counts = [0] * len(asked)
        for seat in range(max(one.count for one in asked)):
            for place, one in enumerate(asked):
                is_full = self.runtime and at[one.runtime_id] >= self.runtime
                if room > 0 and seat < one.count and not is_full:
                    room -= 1
                    at[one.runtime_id] += 1
                    counts[place] += 1
        return [
            msgspec.structs.replace(one, count=count)
            for one, count in zip(asked, counts, strict=True)
        ]

    def forget(self, line: Line) -> None:
        """Note that a claim took all there was: nobody in this line is held up."""
        colony_id = line[0].colony_id
        lines = self._held_up.get(colony_id, set())
        lines.discard(line)
        if not lines:
            self._held_up.pop(colony_id, None)

    def held_up(self, colony_id: str) -> Iterable[Line]:
        """Give who may have something now that a process of a colony has ended."""
        return tuple(self._held_up.get(colony_id, ()))


UNLIMITED = Limits()


async def claim_within(
    db: Database, asked: Sequence[Claim], queue: Queue, bookmarks: Bookmarks, limits: Limits
) -> list[list[Process] | None]:
    """Assign what waits in a queue, as `claim_from` does, within limits."""
    line = (queue, "")
    async with limits.room(db, line, asked) as (statements, within):
        claimed = await claim_from(statements, within, queue, bookmarks)
    if within == asked and sum(len(one or ()) for one in claimed) < sum(c.count for c in asked):
        limits.forget(line)
    return claimed


async def claim_alone(db: Database, asked: Claim, queue: Queue, limits: Limits) -> list[Process]:
    """Assign what waits for a runtime by its id, or in its queue, in order and within limits."""
    line = (queue, asked.runtime_id)
    async with limits.room(db, line, [asked]) as (statements, (within,)):
        claimed = await statements.fetch_all(
            Process,
            "claim_latest_processes" if queue.latest else "claim_oldest_processes",
            colony_id=queue.colony_id,
            runtime_id=within.runtime_id,
            count=within.count,
            is_leased=within.is_leased,
            pushed_over=within.pushed_over,
            **within.intent.parameters,
        )
    if within == asked and len(claimed) < asked.count:
        limits.forget(line)
    return claimed
