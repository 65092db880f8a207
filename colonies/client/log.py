"""What a client can ask about logs: one short method an RPC, and following one to its end."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Self, cast

import msgspec

from colonies.client.asking import Asking
from colonies.client.closing import Closing
from colonies.client.stream import Stream
from colonies.core.errors import Failure, FailureMessage, failure_from
from colonies.core.log import Append, LogPage

MOST_UNREAD = 8
"""Pages that are kept for who does not read them; of more the oldest are asked for again."""


class Logs(Asking):
    """The part of `Colonies` that is about logs."""

    async def add_logs(self, appends: Iterable[Append]) -> list[Failure | None]:
        """Add to the logs of processes that the caller is running; gives what was wrong with each.

        Of each attempt one after the other, with growing numbers; what is sent again with a number
        that was sent before changes nothing.
        """
        said = await self._call(list[FailureMessage], "addlogsmsg", appends=list(appends))
        return [failure_from(one) if one.status else None for one in said]

    async def get_logs(
        self, process_id: str, position: int = 0, *, seconds: float = 0.0
    ) -> LogPage:
        """Give what follows a position in the log of a process, or what is new of it.

        That is a page, and how far the log and the progress have come; what was said more than
        ``seconds`` ago is left out, unless that is 0.
        """
        return await self._call(
            LogPage, "getlogsmsg", process_id=process_id, position=position, seconds=seconds
        )

    async def subscribe_logs(self, process_id: str, position: int = 0) -> FollowedLog:
        """Follow the log of a process from a position on until it has ended."""
        log = FollowedLog(self, process_id, position)
        await log.open()
        return log


class FollowedLog(Closing):
    """The pages of a log as it grows; use it in ``async with`` and ``async for``.

    It ends with the log. What is not read soon is not kept but asked for when it is wanted, and
    after a reconnect it goes on where it was: no text comes twice, and none is left out but what
    the hub does not keep.
    """

    def __init__(self, logs: Logs, process_id: str, position: int) -> None:
        self._logs = logs
        self._process_id = process_id
        self._position = position
        self._pushed: LogPage | None = None
        self._is_over = False
        self._stream: Stream

    async def open(self) -> None:
        """Subscribe."""
        self._stream = await self._logs._open_stream(  # noqa: SLF001 - two halves of one thing
            "subscribelogsmsg",
            make=partial(Stream, kind=LogPage, most=MOST_UNREAD),
            late={"position": lambda: self._position},
            process_id=self._process_id,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LogPage:
        """Wait for the next page; raise what ended the subscription before the log was over."""
        while not self._is_over:
            page = self._pushed or cast("LogPage", await anext(self._stream))
            self._pushed = None
            if page.position > self._position:  # some were too many to be kept
                self._pushed = page
                page = await self._logs.get_logs(self._process_id, self._position)
            if page.next_position < self._position:
                continue  # pushed before the socket was lost, and read by another way
            return self._taken(page)
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the subscription; may be called twice."""
        await self._logs.end_subscription(self._stream)

    def _taken(self, page: LogPage) -> LogPage:
        """Give what is new of a page, and go on after it."""
        fresh = [entry for entry in page.entries if entry.position >= self._position]
        page = msgspec.structs.replace(page, position=self._position, entries=fresh)
        self._position = page.next_position
        self._is_over = page.is_over
        return page
