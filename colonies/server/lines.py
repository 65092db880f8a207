"""The lines of those who are idle: who has been so for longest is woken first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeAlias

from colonies.core.errors import Failure
from colonies.core.process import Conditions, Process
from colonies.core.runtime import Runtime
from colonies.server.moves import Claim
from colonies.server.parties import NOBODY, Outlet, Wish
from colonies.server.running import UNLIMITED, Limits
from colonies.server.waiter import Waiter

MAX_ASKED = 8
"""Waiters that are looked at to find one with room; whoever is offered a process looks anyway."""

Key: TypeAlias = tuple[str, str]
"""A colony, and a type or a runtime in it."""

Line: TypeAlias = dict[Waiter, None]
"""A dictionary as an ordered set."""


class Lines:
    """A line for each runtime type of a colony, and one for each runtime."""

    def __init__(self, outlet: Outlet = NOBODY, limits: Limits = UNLIMITED) -> None:
        self._outlet = outlet
        self._limits = limits
        self._waiters: set[Waiter] = set()
        self._by_type: dict[Key, Line] = defaultdict(dict)
        self._by_id: dict[Key, Line] = defaultdict(dict)
        self._closed: Failure | None = None

    def __len__(self) -> int:
        """Give how many wait, in line or not."""
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """Give everybody who waits, in line or not."""
        return iter(self._waiters)

    @contextmanager
    def waiting(self, runtime: Runtime, terms: Claim) -> Iterator[Waiter]:
        """Be known as idle for a runtime; `line_up` before every look at the database."""
        if self._closed:
            raise self._closed
        waiter = Waiter(runtime, terms)
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)
            self.step_out(waiter)

    def line_up(self, waiter: Waiter) -> Process | None:
        """Take a place at the end of the line; offers from now on are not missed.

        Gives the offer that was the reason to look, to be passed on if another was found.
        """
        offer, waiter.offer = waiter.offer, None
        self._stand(waiter)
        return offer

    def rest(self, waiter: Waiter) -> None:
        """Note that a look has found too little: from now on other hubs shall tell what waits.

        Not before, as whoever finds enough need not be told. What comes in between, they tell when
        they hear of the wish.
        """
        runtime = waiter.runtime
        if waiter in self._by_type.get((runtime.colony_id, runtime.runtime_type), ()):
            waiter.is_idle = True
            self._outlet.wish(Wish.WORK, runtime.colony_id, runtime.runtime_type)

    def step_out(self, waiter: Waiter) -> None:
        """Leave the line; an offer that was not looked at is somebody else's chance."""
        self._leave(waiter)
        offer, waiter.offer = waiter.offer, None
        self.decline(offer)

    def offer(self, process: Process) -> None:
        """Wake the one who has been idle longest among those who may have the process."""
        conditions = process.spec.conditions
        for waiter in self._candidates(conditions):
            if conditions.fit(waiter.runtime):
                self._leave(waiter)
                waiter.offer = process
                waiter.stir()
                return

    def pass_on(self, offer: Process | None, taken: list[Process]) -> None:
        """Offer to the next one what somebody was woken for who then took something else."""
        if offer and taken and offer.process_id not in {one.process_id for one in taken}:
            self.offer(offer)

    def decline(self, offer: Process | None) -> None:
        """Offer to the next one what somebody was woken for who cannot take it."""
        if offer:
            self.offer(offer)

    def promise(self, conditions: Conditions) -> Waiter | None:
        """Find somebody who takes a process to be without looking; the next one is another's."""
        if self._limits.are_set:  # whether one more may run is for a claim to count
            return None
        for waiter in islice(self._candidates(conditions), MAX_ASKED):
            if waiter.has_room and conditions.fit(waiter.runtime):
                waiter.promise()
                self._leave(waiter)
                self._stand(waiter)
                waiter.is_idle = True
                return waiter
        return None

    def stir(self, colony_id: str, runtime_type: str, runtime_id: str = "") -> None:
        """Make the next one in line for a type, or for this very runtime, look for itself."""
        lines = self._by_id if runtime_id else self._by_type
        if waiter := next(iter(lines.get((colony_id, runtime_id or runtime_type), ())), None):
            self._leave(waiter)
            waiter.stir()

    def make_room(self, colony_id: str) -> None:
        """Make those look who were held up by how much a colony ran; something has ended."""
        for queue, runtime_id in self._limits.held_up(colony_id):
            self.stir(colony_id, queue.runtime_type, runtime_id)

    def refit(self, runtime: Runtime) -> None:
        """Have those who wait for a runtime go by what it has now, and look again."""
        for waiter in self._waiters:
            is_same = waiter.runtime.runtime_id == runtime.runtime_id
            if is_same and waiter.runtime.colony_id == runtime.colony_id:
                self._leave(waiter)
                waiter.runtime = runtime
                waiter.stir()

    def end(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """End the waits of a runtime, or of a whole colony."""
        for waiter in self._waiters:
            runtime = waiter.runtime
            if runtime.colony_id == colony_id and runtime_id in ("", runtime.runtime_id):
                waiter.refuse(failure)

    def close(self, failure: Failure) -> None:
        """End every wait, now and from now on."""
        self._closed = failure
        for waiter in self._waiters:
            waiter.refuse(failure)

    def queues(self) -> list[Key]:
        """Give the colony and type of everybody in line."""
        return list(self._by_type)

    def idle_queues(self) -> list[Key]:
        """Give the colony and type of everybody in line who does not look just now."""
        return [key for key, line in self._by_type.items() if any(one.is_idle for one in line)]

    def runtimes(self) -> list[str]:
        """Give the ids of all runtimes that somebody is idle for."""
        return [runtime_id for _, runtime_id in self._by_id]

    def _candidates(self, conditions: Conditions) -> Iterator[Waiter]:
        colony_id = conditions.colony_id
        if conditions.is_addressed:
            for runtime_id in conditions.runtime_ids:
                yield from self._by_id.get((colony_id, runtime_id), ())
        else:
            yield from self._by_type.get((colony_id, conditions.runtime_type), ())

    def _stand(self, waiter: Waiter) -> None:
        waiter.is_idle = False
        for lines, key in self._lines_of(waiter.runtime):
            lines[key][waiter] = None

    def _leave(self, waiter: Waiter) -> None:
        waiter.is_idle = False
        for lines, key in self._lines_of(waiter.runtime):
            lines[key].pop(waiter, None)
            if not lines[key]:
                del lines[key]

    def _lines_of(self, runtime: Runtime) -> Iterator[tuple[dict[Key, Line], Key]]:
        yield self._by_type, (runtime.colony_id, runtime.runtime_type)
        yield self._by_id, (runtime.colony_id, runtime.runtime_id)
