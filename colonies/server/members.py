"""What an identity is, in which colonies: remembered for a moment, since every call asks.

Forgotten at once when anything about colonies or runtimes is changed, by this hub or by another
that tells, and after a second in any case, so that what is not told takes effect here as fast. A
claim does not rely on it: its statement reads the runtime itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeAlias, TypeVar

from colonies.core.colony import Colony
from colonies.core.runtime import Runtime
from colonies.server.db import Statements

T = TypeVar("T")

Memory: TypeAlias = dict[str, tuple[float, T]]
"""What was found of each identity, and until when that is remembered."""

LIFETIME = 1.0
"""Seconds that memberships are remembered."""

MAX_REMEMBERED = 10_000
"""Identities remembered at once; over it, all are forgotten."""


class Members:
    """The runtimes that an identity is, in whichever colonies, and the colony that it owns.

    ``generation`` counts how often anything about them has changed.
    """

    def __init__(
        self,
        db: Statements,
        clock: Callable[[], float] = monotonic,
        *,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what tells the other hubs to forget as well."""
        self._db = db
        self._clock = clock
        self._tell = tell
        self._remembered: Memory[list[Runtime]] = {}
        self._owned: Memory[Colony | None] = {}
        self.generation = 0

    async def of(self, identity: str) -> list[Runtime]:
        """Give every runtime that an identity is, approved or not."""
        until, runtimes = self._remembered.get(identity, (0.0, []))
        if self._clock() < until:
            return runtimes
        generation = self.generation
        runtimes = await self._db.batched(_memberships, identity)
        self._remember(self._remembered, identity, runtimes, generation)
        return runtimes

    async def colony_of(self, identity: str) -> Colony | None:
        """Give the colony that an identity owns."""
        until, colony = self._owned.get(identity, (0.0, None))
        if self._clock() < until:
            return colony
        generation = self.generation
        colony = await self._db.fetch_maybe(Colony, "get_colony", colony_id=identity)
        self._remember(self._owned, identity, colony, generation)
        return colony

    def _remember(self, memory: Memory[T], identity: str, found: T, generation: int) -> None:
        # What was read before a change must not be remembered after it.
        if generation == self.generation:
            if len(memory) >= MAX_REMEMBERED:
                memory.clear()
            memory[identity] = (self._clock() + LIFETIME, found)

    def line_of(self, identity: str) -> tuple[str, ...]:
        """Give what an identity has in common with its fellows: every colony that it is in.

        An owner is called as its colony is; whoever is not known is by itself. Nobody gets into the
        line of others by letting them into a colony of their own.
        """
        _, runtimes = self._remembered.get(identity, (0.0, []))
        return tuple(sorted(one.colony_id for one in runtimes)) or (identity,)

    def forget(self) -> None:
        """Forget everything, on every hub: something about colonies or runtimes has changed."""
        self.forget_here()
        self._tell()

    def forget_here(self) -> None:
        """Forget everything on this hub."""
        self.generation += 1
        self._remembered.clear()
        self._owned.clear()


async def _memberships(db: Statements, identities: Sequence[str]) -> list[list[Runtime]]:
    found: dict[str, list[Runtime]] = {identity: [] for identity in identities}
    for runtime in await db.fetch_all(Runtime, "list_memberships", callers=list(found)):
        found[runtime.runtime_id].append(runtime)
    return [found[identity] for identity in identities]
