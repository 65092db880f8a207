"""Somebody idle for a runtime: woken to look for work, or handed what was just submitted."""

from __future__ import annotations

from colonies.core.errors import Failure
from colonies.core.process import Process
from colonies.core.runtime import Runtime
from colonies.server.event import Event
from colonies.server.moves import Claim


class Waiter:
    """A place in the line of those who are idle for one runtime."""

    def __init__(self, runtime: Runtime, terms: Claim) -> None:
        """Take how the runtime would hold a process."""
        self.runtime = runtime
        self.terms = terms
        self.offer: Process | None = None
        self.is_idle = False
        """Whether there was nothing to have, and it stands in line."""
        self.refusal: Failure | None = None
        self._room = 0
        self._promised = 0
        self._handed: list[Process] = []
        self._is_stirred = False
        self._news = Event()

    @property
    def has_room(self) -> bool:
        """Whether a process may be promised: it is waited for, and not by looking just now."""
        return self._room > self._promised + len(self._handed)

    def promise(self) -> None:
        """Promise a process; it is handed over or withdrawn soon, and waited for until then."""
        self._promised += 1

    def hand(self, process: Process) -> None:
        """Hand over a process that was promised, as it was assigned."""
        self._promised -= 1
        self._handed.append(process)
        self._news.set()

    def withdraw(self) -> None:
        """Take a promise back; whoever waits looks why."""
        self._promised -= 1
        self.stir()

    def stir(self) -> None:
        """Make `wait` return, for another look."""
        self._is_stirred = True
        self._news.set()

    def refuse(self, failure: Failure) -> None:
        """Make `wait` raise this: whoever waits shall not go on."""
        self.refusal = failure
        self.stir()

    def make_room(self) -> bool:
        """Take one more than was said, if somebody waits with room just now."""
        if self._room:
            self._room += 1
        return self._room > 0

    async def wait(self, *, room: int = 0) -> list[Process]:
        """Wait for whatever is worth another look, or for up to ``room`` processes.

        Gives what was handed over; nothing, when it is time to look. Raises the refusal of a
        runtime shut out.
        """
        self._room = room
        try:
            while not (self._is_stirred or self._handed):
                await self._hear()
        finally:
            self._room = 0
        while self._promised:
            await self._hear()
        if self._handed:
            handed, self._handed = self._handed, []
            return handed
        self._is_stirred = False
        if self.refusal:
            raise self.refusal
        return []

    async def _hear(self) -> None:
        self._news.clear()
        await self._news.wait()
