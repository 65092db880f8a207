"""Turns: so many calls are worked on at once, and of those who wait one of each line is next.

However much one colony asks of a hub, what the hub does next is the next of everybody's: a call
waits for no more than what is under way, and one call of each other colony. As no more is under way
than that, no statement, no line for a connection to the database and no round of the event loop is
longer either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from colonies.core.errors import Unavailable

LONGEST_WAIT = 10.0
"""Seconds after which a call that was not begun is refused, to be asked again."""


class Turns:
    """Lets in who calls, each by their turn."""

    def __init__(self, most: int, line_of: Callable[[str], Hashable]) -> None:
        """Take how many may be in at once; ``line_of`` says in which line an identity waits."""
        self._most = most
        self._line_of = line_of
        self._taken = 0
        # In the order in which it is their turn; nobody is in a line while there is room.
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(map(len, self._lines.values()))

    async def take(self, caller: str) -> None:
        """Wait for a turn, to be given back; raise Unavailable to whoever waited too long."""
        if self._taken < self._most:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(self._line_of(caller), deque()).append(turn)
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it came when nobody wanted it any more
            if isinstance(error, TimeoutError):
                raise Unavailable("the hub has too much to do") from None
            raise

    def give_back(self) -> None:
        """End a turn; whoever is next has it."""
        self._taken -= 1
        while self._lines and self._taken < self._most:
            whose, line = next(iter(self._lines.items()))
            turn = line.popleft()
            del self._lines[whose]
            if line:
                self._lines[whose] = line
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Leave a turn to others during the block, which only waits; then have it again at once."""
        self.give_back()
        try:
            yield
        finally:
            self._taken += 1
