"""What one subscription brings: processes mostly, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from colonies.client.websocket import WebSocket
from colonies.core.envelope import Reply, open_reply
from colonies.core.errors import ColoniesError, ConnectionLost, Malformed
from colonies.core.identity import PrivateKey
from colonies.core.process import Process

MAX_UNREAD = 10_000
"""Processes of one stream that nobody has read yet; more end the stream with an error."""

_PUSHED: Any = Process | list[Process]


class Stream:
    """Things as they are pushed; iterate over it."""

    send: Callable[[], Awaitable[None]]
    key: PrivateKey
    websocket: WebSocket | None = None

    def __init__(self, name: str, kind: Any = _PUSHED, most: int | None = None) -> None:
        """Take what is pushed, one thing or a list of them.

        Of what can be asked for otherwise, only the ``most`` newest that are unread are kept.
        """
        self.name = name
        self._kind = kind
        self._unread: deque[Any] = deque(maxlen=most)
        self._changed = asyncio.Event()
        self._error: ColoniesError | None = None

    def feed(self, reply: Reply) -> None:
        """Take a push."""
        try:
            pushed = open_reply(reply, self._kind)
        except Malformed as failure:
            self.fail(failure)
            return
        if len(self._unread) >= MAX_UNREAD:
            self.fail(ConnectionLost(f"more than {MAX_UNREAD} unread pushes"))
            return
        self._unread += pushed if isinstance(pushed, list) else (pushed,)
        self._changed.set()

    def fail(self, error: ColoniesError) -> None:
        """End with an error, after what has come already."""
        self._error = self._error or error
        self._changed.set()

    def take_unread(self) -> list[Any]:
        """Give what nobody has read, and forget it."""
        unread = list(self._unread)
        self._unread.clear()
        return unread

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._unread:
            if self._error:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._unread.popleft()
