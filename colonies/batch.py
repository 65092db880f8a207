"""Group commit: what arrives while something is under way goes into the next one.

The hub shares statements so, as a durable row costs a round trip and a flush to disk, and a hundred
cost little more; the client shares messages, as a signature can cover many. Nothing is waited for,
and who comes first goes at once, unless a `Pace` says that it is worth while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from colonies.core.errors import ConnectionLost, DeadlineExceeded, Unavailable

A = TypeVar("A")
R = TypeVar("R")

OUTAGES = (Unavailable, ConnectionLost, DeadlineExceeded)
"""What befalls all alike: it is not tried again for each."""

Run = Callable[[list[A]], Awaitable[Sequence[R]]]
"""Do something with all of these, together or not at all; gives a result for each."""


class Pace(Protocol):
    """Knows how long to wait for others to come."""

    def note(self, seconds: float, *, calls: int, rows: int) -> None:
        """Take how long something took, for so many calls, of so many rows in all."""

    def pause(self) -> float:
        """Give how many seconds to wait before the next is done."""


class Lane(Protocol):
    """Knows what else is under way."""

    @property
    def is_clear(self) -> bool:
        """Whether the next can be done without waiting for anything else that is under way."""

    async def clear(self, length: Callable[[], int]) -> None:
        """Wait for that, but not for long; ``length`` gives how many are waiting for it by then."""

    def begin(self) -> None:
        """Take notice that something is under way from now on."""

    def end(self) -> None:
        """Take notice that it is done."""


class AtOnce:
    """A pace for what nobody has to wait for."""

    def note(self, seconds: float, *, calls: int, rows: int) -> None:
        """Take no notice."""

    def pause(self) -> float:
        """Give none."""
        return 0.0


AT_ONCE = AtOnce()


class Open:
    """A lane for what is in nobody's way."""

    is_clear = True

    async def clear(self, length: Callable[[], int]) -> None:
        """Wait for nothing."""

    def begin(self) -> None:
        """Take no notice."""

    def end(self) -> None:
        """Take no notice."""


OPEN = Open()


@dataclass(slots=True)
class Place(Generic[A, R]):
    """A place in line."""

    item: A
    rows: int
    done: asyncio.Future[R]
    calls: int = 1
    """0 for those who came with one before."""


class Batch(Generic[A, R]):
    """The line in front of something that is done once at a time, for ``most`` rows at most."""

    def __init__(
        self, run: Run[A, R], *, most: int, pace: Pace = AT_ONCE, lane: Lane = OPEN
    ) -> None:
        self._run = run
        self._pace = pace
        self._lane = lane
        self._most = most
        self._line: deque[Place[A, R]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self.is_idle = True
        """Whether nobody is in line and nothing is under way."""

    async def add(self, item: A, *, rows: int = 1) -> R:
        """Give what comes of an item, alone or with others; raise what goes wrong with it.

        ``rows`` is how many it may change. Whoever is cancelled before it is their turn has asked
        for nothing.
        """
        if not (self.is_idle and self._lane.is_clear) or self._pace.pause():
            done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._line.append(Place(item, rows, done))
            if self.is_idle:
                self.is_idle = False
                self._pass_on()
            return await done
        # Whoever comes first needs nobody else: no task is made for one that is alone.
        self.is_idle = False
        started = perf_counter()
        self._lane.begin()
        try:
            (result,) = await self._run([item])
            self._pace.note(perf_counter() - started, calls=1, rows=rows)
        finally:
            self._lane.end()
            self._pass_on()
        return result

    async def add_all(self, items: Iterable[A]) -> list[R | BaseException]:
        """Give what comes of each of several items, or what goes wrong with it.

        They come at once, so the first need not go alone.
        """
        loop = asyncio.get_running_loop()
        places: list[Place[A, R]] = [
            Place(item, 1, loop.create_future(), calls=0 if number else 1)
            for number, item in enumerate(items)
        ]
        self._line += places
        if self.is_idle:
            self.is_idle = False
            self._pass_on()
        return await _all_of(places)

    async def close(self) -> None:
        """Stop; whoever is still in line hears of it."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])

    def _pass_on(self) -> None:
        """Let those go on who came meanwhile."""
        if self._line:
            self._runner = asyncio.get_running_loop().create_task(self._go_on())
        else:
            self.is_idle = True

    async def _go_on(self) -> None:
        taken: list[Place[A, R]] = []
        try:
            while self._line:
                if pause := self._pause():
                    await asyncio.sleep(pause)
                await self._lane.clear(self._line.__len__)
                taken = self._take()
                self._lane.begin()
                try:
                    await self._settle(taken)
                finally:
                    self._lane.end()
        finally:
            self._runner = None
            self.is_idle = True
            _fail([*taken, *self._line], Unavailable("stopping"))
            self._line.clear()

    def _pause(self) -> float:
        """Give how long to wait for more; not if there is half of what goes into one statement."""
        is_enough = sum(place.rows for place in self._line) * 2 >= self._most
        return 0.0 if is_enough else self._pace.pause()

    def _take(self) -> list[Place[A, R]]:
        """Take from the line as many as go into one statement, and always one."""
        taken: list[Place[A, R]] = []
        room = self._most
        while self._line and (not taken or self._line[0].rows <= room):
            place = self._line.popleft()
            room -= place.rows
            taken.append(place)
        return taken

    async def _settle(self, taken: list[Place[A, R]]) -> None:
        """Run for all; if that fails, for one after the other: one bad row harms nobody else's."""
        asked = [place for place in taken if not place.done.done()]
        if not asked:
            return
        started = perf_counter()
        try:
            results = await self._run([place.item for place in asked])
            rows = sum(place.rows for place in asked)
            self._pace.note(
                perf_counter() - started, calls=sum(place.calls for place in asked), rows=rows
            )
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asked
            if len(asked) == 1 or isinstance(error, OUTAGES):
                _fail(asked, error)
                return
        else:
            for place, result in zip(asked, results, strict=True):
                if not place.done.done():
                    place.done.set_result(result)
            return
        for place in asked:
            await self._settle([place])


async def _all_of(places: Sequence[Place[A, R]]) -> list[R | BaseException]:
    """Give what came of each; when cancelled, cancel all.

    One after the other: as they are done by hundreds, `asyncio.gather` would take thrice as long.
    """
    try:
        for place in places:
            if not place.done.done():
                await asyncio.wait([place.done])
    except asyncio.CancelledError:
        for place in places:
            if not place.done.cancel():
                place.done.exception()  # nobody asks for it any more
        raise
    return [place.done.exception() or place.done.result() for place in places]


def _fail(asked: list[Place[A, R]], error: Exception) -> None:
    for place in asked:
        if not place.done.done():
            place.done.set_exception(error)
