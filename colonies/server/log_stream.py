"""A log that is followed: pushed page by page, never faster than the peer reads."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from colonies.core.envelope import Reply
from colonies.core.errors import Failure, NotFound, Unavailable
from colonies.core.log import LogPage, Progress
from colonies.core.process import Process, State
from colonies.core.subscription import Subscription
from colonies.server import log
from colonies.server.call import Call
from colonies.server.connection import Connection
from colonies.server.event import Event

PUSHED_LOG = "subscribelogsmsg"

LOOK_AGAIN = 5.0
"""Seconds after which a reader looks though nobody has told it to, as that may be lost."""


class LogStream:
    """Pushes what comes after a position, until the process has ended.

    It holds a position and no text: when the socket has room, it reads what follows. Changes of the
    process are only reasons to look for it.
    """

    def __init__(self, call: Call, connection: Connection, process: Process, position: int) -> None:
        self.caller = call.caller
        self.process_id = process.process_id
        self.subscription = Subscription(
            colony_ids=frozenset({process.colony_id}),
            states=frozenset(State),
            process_id=process.process_id,
        )
        self._colony_id = process.colony_id
        self._db = call.db
        self._hub = call.hub
        self._connection = connection
        self._name = call.id
        self._position = position
        self._shown: tuple[int, Progress] | None = None
        self._stirred = Event()
        self._is_stopped = False

    def push(self, payload: str) -> None:
        """Look again, as the process has changed."""
        del payload
        self.stir()

    def stir(self) -> None:
        """Look again soon."""
        self._stirred.set()

    def end(self, failure: Failure) -> None:
        """End the subscription and say why."""
        self._connection.end_stream(self._name, failure)

    def stop(self) -> None:
        """Push nothing more."""
        self._is_stopped = True
        self._hub.listeners.remove(self)
        self._hub.logs.remove(self)
        self._stirred.set()

    async def run(self) -> None:
        """Push until stopped, or all has been."""
        try:
            while not self._is_stopped:
                self._stirred.clear()
                try:
                    is_all = await self._push_next()
                except Unavailable:  # the database is away, or the hub stops
                    is_all = True
                if is_all and not self._is_stopped:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_AGAIN):
                            await self._stirred.wait()
        except Failure as failure:
            self.end(failure)

    async def _push_next(self) -> bool:
        """Push a page if there is any news; says whether there is no more for now."""
        async with self._connection.quiet():
            if self._is_stopped:
                return True
            reader = log.Reader(self._colony_id, self.process_id, self._position)
            part = await log.read(self._db, reader)
            if part is None:
                raise NotFound(f"there is no process <{self.process_id}>")
            if self._is_stopped:
                return True
            page = part.page
            if self._is_news(page):
                self._push(part.payload)
        self._position = page.next_position
        if page.is_over:
            self._connection.close_stream(self._name)
        return page.next_position >= page.length

    def _is_news(self, page: LogPage) -> bool:
        shown = (page.attempt, page.progress)
        is_news = bool(page.entries) or page.is_over or shown != self._shown
        self._shown = shown
        return is_news

    def _push(self, payload: str) -> None:
        self._connection.push(
            Reply(payload_type=PUSHED_LOG, payload=payload, subscription=self._name)
        )
