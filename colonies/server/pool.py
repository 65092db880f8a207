"""Connections to the database, shared: each is for one statement or transaction at a time.

The driver's own pool makes two tasks for each statement, which for one that finds a row or two is a
third of what it costs the hub, and two rounds of the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from colonies.core.errors import Unavailable
from colonies.server.primary import Connection


class Pool:
    """Up to so many connections, opened as they are needed; what was used last is used next."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, most: int, timeout: float
    ) -> None:
        """Take what opens one; ``timeout`` bounds the wait for one, in seconds."""
        self._connect = connect
        self._timeout = timeout
        self._seats = most  # that nobody has, for a connection each
        self._line: deque[asyncio.Future[None]] = deque()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._is_closed = False

    async def take(self) -> Connection:
        """Give a connection, to be given back; raise TimeoutError when there is none in time.

        And what goes wrong with opening it; Unavailable when the pool is closed.
        """
        if self._is_closed:
            raise _closed()
        if self._seats:
            self._seats -= 1
            if (connection := self._take_idle()) is not None:
                return connection
            return await self._take_new(self._timeout)
        deadline = asyncio.get_running_loop().time() + self._timeout
        await self._line_up()
        if (connection := self._take_idle()) is not None:
            return connection
        return await self._take_new(deadline - asyncio.get_running_loop().time())

    def give_back(self, connection: Connection) -> None:
        """End the use of a connection; one that is not as it was at first is dropped."""
        if connection.is_closed() or self._is_closed or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._give_up_seat()

    def drop_all(self) -> None:
        """Drop every connection, and what is under way on it."""
        for connection in list(self._all):
            connection.terminate()
        self._idle.clear()

    def close(self) -> None:
        """Drop every connection; whoever waits for one hears of it, and whoever comes."""
        self._is_closed = True
        self.drop_all()
        for seat in self._line:
            if not seat.done():
                seat.set_exception(_closed())
        self._line.clear()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            connection.terminate()  # it was closed from the other side: the driver tidies up
        return None

    async def _take_new(self, seconds: float) -> Connection:
        """Open a connection for who has a seat; they lose it when that goes wrong."""
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect()
        except BaseException:
            self._give_up_seat()
            raise
        self._all.add(connection)
        connection.add_termination_listener(self._all.discard)
        if self._is_closed:
            self.give_back(connection)
            raise _closed()
        return connection

    async def _line_up(self) -> None:
        """Wait for a seat, in the order of coming."""
        seat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(seat)
        try:
            async with asyncio.timeout(self._timeout):
                await seat
        except BaseException:
            if seat.done() and not seat.cancelled() and not self._is_closed:
                self._give_up_seat()  # it came when nobody wanted it any more
            raise

    def _give_up_seat(self) -> None:
        while self._line:
            seat = self._line.popleft()
            if not seat.done():
                seat.set_result(None)
                return
        self._seats += 1


def _closed() -> Unavailable:
    return Unavailable("the hub is stopping")
