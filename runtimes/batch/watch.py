"""One look at a time for all jobs, however many: the only place that asks for their states.

A look that fails says nothing: who follows a job is told when a look has succeeded, and has shown
something else than before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog

from runtimes.job_state import Sight, Unsure

logger = structlog.get_logger()

Sights = dict[str, tuple[Sight, ...]]
"""The jobs of each name; of one name there may be several, if an answer was lost."""

EASE = 10
"""Of all time, looking takes a tenth at most: who has very many jobs looks less often."""

LONGEST_PAUSE = 30.0
"""Seconds between looks at most, however long they take."""


class System(Protocol):
    """A queue system as far as looking goes; either way one call for all, or Unsure."""

    async def look(self) -> Sights:
        """Give every job of ours that the system has in its queue, or has just had."""

    async def look_back(self, job_ids: list[str]) -> dict[str, Sight]:
        """Give what the system remembers of jobs that have left the queue."""


class Followed:
    """One name that somebody waits for news of."""

    def __init__(self, watch: Watch) -> None:
        self.sights: tuple[Sight, ...] = ()
        self._watch = watch
        self._seen = 0
        self._is_waiting_for_look = False
        self._news = asyncio.Event()

    async def news(self, timeout: float | None = None) -> None:
        """Wait for something that has changed, or a stir, for ``timeout`` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()
        self._news.clear()

    async def fresh(self) -> tuple[Sight, ...]:
        """Give what a look shows that begins from now on."""
        mark = self._watch.begun
        self._is_waiting_for_look = True
        try:
            while self._seen <= mark:
                await self._news.wait()
                self._news.clear()
        finally:
            self._is_waiting_for_look = False
        return self.sights

    def stir(self) -> None:
        """Have whoever waits look around."""
        self._news.set()

    def show(self, number: int, sights: tuple[Sight, ...]) -> None:
        """Take what a look has shown."""
        has_changed = sights != self.sights
        self.sights, self._seen = sights, number
        if has_changed or self._is_waiting_for_look:
            self._news.set()


class Watch:
    """Looks while somebody follows something, never twice within ``period`` seconds."""

    def __init__(self, system: System, period: float, on_look: Callable[[Sights], None]) -> None:
        self.begun = 0
        self._system = system
        self._period = period
        self._on_look = on_look
        self._followed: dict[str, Followed] = {}
        self._asked: dict[str, list[asyncio.Future[Sight | None]]] = {}
        self._wanted = asyncio.Event()
        self._is_blind = False
        self._owes_look = False

    @contextmanager
    def follow(self, name: str) -> Iterator[Followed]:
        """Tell of the jobs of a name."""
        followed = self._followed[name] = Followed(self)
        self._wanted.set()
        try:
            yield followed
        finally:
            del self._followed[name]

    def look_once(self) -> None:
        """Look, even if nobody follows anything."""
        self._owes_look = True
        self._wanted.set()

    def history(self, job_id: str) -> asyncio.Future[Sight | None]:
        """Ask how a job ended that is in the queue no more, if the system remembers it."""
        answer: asyncio.Future[Sight | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(job_id, []).append(answer)
        self._wanted.set()
        return answer

    async def run(self) -> None:
        """Look, as long as anybody wants it."""
        while True:
            await self._wanted.wait()
            await self._turn(self._look)
            if self._asked:
                await self._turn(self._look_back)
            if not (self._followed or self._asked or self._owes_look):
                self._wanted.clear()

    async def _turn(self, look: Callable[[], Awaitable[None]]) -> None:
        """Look, and then do nothing for a while."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            await look()
        except Unsure as error:
            if not self._is_blind:
                logger.warning("jobs not seen", error=str(error))
            self._is_blind = True
            ease = 1
        else:
            if self._is_blind:
                logger.info("jobs seen again")
            self._is_blind = False
            ease = EASE
        took = loop.time() - since
        await asyncio.sleep(max(self._period, min(ease * took, LONGEST_PAUSE)) - took)

    async def _look(self) -> None:
        self.begun += 1
        sights = await self._system.look()
        self._owes_look = False
        for name, followed in list(self._followed.items()):
            followed.show(self.begun, sights.get(name, ()))
        self._on_look(sights)

    async def _look_back(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            found = await self._system.look_back(list(asked))
        except Unsure:
            # Asked again at the next turn.
            for job_id, answers in asked.items():
                self._asked.setdefault(job_id, []).extend(answers)
            raise
        for job_id, answers in asked.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(found.get(job_id))
