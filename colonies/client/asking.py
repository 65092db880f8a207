"""One identity's way to a hub: it signs, asks until there is an answer, and subscribes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import takewhile
from typing import Any, TypeVar

import msgspec

from colonies.client.closing import Closing
from colonies.client.connection import Connection, Transport
from colonies.client.insistence import insist
from colonies.client.keychain import find_key
from colonies.client.stream import Stream
from colonies.client.work import Changes
from colonies.core.envelope import new_request_id, open_reply
from colonies.core.errors import ConnectionLost, Failure, Misconfigured
from colonies.core.identity import PrivateKey
from colonies.core.wire import wire_name
from colonies.settings import Settings

T = TypeVar("T")

READS = ("get", "resolve", "why", "version")
"""How payload types begin that change nothing, and may be repeated as they are."""

GOODBYE_TIMEOUT = 2.0
"""Seconds that the end of a subscription waits for the hub to hear of it."""


class Asking(Closing):
    """What is under every method of `Colonies`."""

    def __init__(
        self, transport: Transport, settings: Settings, key: PrivateKey | None = None
    ) -> None:
        self.settings = settings
        self.key = key
        self._transport = transport

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        await self._transport.close()

    async def _subscribe(
        self,
        payload_type: str,
        *,
        late: Mapping[str, Callable[[], Any]] | None = None,
        request: str = "",
        **fields: Any,
    ) -> Changes:
        stream = await self._open_stream(payload_type, late=late, request=request, **fields)
        return Changes(self, stream)

    async def _open_stream(
        self,
        payload_type: str,
        *,
        late: Mapping[str, Callable[[], Any]] | None = None,
        make: Callable[[str], Stream] = Stream,
        request: str = "",
        **fields: Any,
    ) -> Stream:
        """Subscribe, and give the stream."""
        connection = self._connection()

        def current() -> dict[str, Any]:
            return _wired(fields) | {name: get() for name, get in (late or {}).items()}

        stream = connection.make_stream(
            payload_type, current, self._key(), make=make, request=request
        )
        patience = self.settings.try_timeout
        try:
            await self._insist(lambda left: connection.subscribe(stream, min(left, patience)))
        except (Failure, Misconfigured):
            connection.forget(stream.name)
            raise
        except BaseException:
            connection.abandon(stream)
            raise
        return stream

    async def end_subscription(self, stream: Stream) -> None:
        """Forget a stream and tell the hub, if it is there."""
        connection = self._connection()
        is_subscribed = connection.is_subscribed(stream)
        connection.forget(stream.name)  # first: it must not be subscribed again meanwhile
        if is_subscribed:
            with suppress(ConnectionLost, TimeoutError):  # it went with the socket
                async with asyncio.timeout(GOODBYE_TIMEOUT):
                    await self._call(msgspec.Raw, "unsubscribemsg", subscription=stream.name)

    async def ask_again(self, stream: Stream) -> None:
        """Send a subscription once more, if it is there; a reconnect does that by itself."""
        if self._connection().is_subscribed(stream):
            await self._connection().subscribe(stream, self.settings.try_timeout)

    def _connection(self) -> Connection:
        if not isinstance(self._transport, Connection):
            raise Misconfigured("subscriptions need a WebSocket; this client uses POST /api")
        return self._transport

    def _colony(self, colony_id: str) -> str:
        if found := colony_id or self.settings.colony_id:
            return found
        raise Misconfigured("which colony? Give its id or set COLONIES_COLONYID")

    def _key(self) -> PrivateKey:
        if self.key is None:
            self.key = find_key(self.settings, "runtime")
        return self.key

    async def _call(self, kind: type[T], payload_type: str, **fields: Any) -> T:
        return await self._ask(kind, payload_type, _wired(fields), self._key())

    async def _ask(
        self,
        kind: type[T],
        payload_type: str,
        fields: Mapping[str, Any],
        key: PrivateKey | None,
        wait: int = 0,
    ) -> T:
        """Ask until there is an answer; it may take ``wait`` seconds on purpose, if above 0.

        Whoever waits says how long; when asking again, no longer than there is time left.
        """
        request = "" if payload_type.startswith(READS) else new_request_id()
        patience = self.settings.try_timeout

        async def ask(left: float) -> T:
            longest = max(1, min(wait, int(left - patience))) if wait > 0 else wait
            timed = {**fields, "timeout": longest} if wait else fields
            timeout = min(max(0, longest) + patience, left)
            reply = await self._transport.call(payload_type, timed, key, timeout, req=request)
            return open_reply(reply, kind)

        return await self._insist(ask, max(0, wait))

    async def _insist(self, work: Callable[[float], Awaitable[T]], wait: float = 0.0) -> T:
        transport = self._transport

        def is_hopeful() -> bool:
            return transport.has_served and not transport.is_closed

        return await insist(work, seconds=wait + self.settings.timeout, is_hopeful=is_hopeful)


def _wired(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {wire_name(name): value for name, value in fields.items()}


def after_last(had: Sequence[T], time_of: Callable[[T], datetime]) -> dict[str, Any]:
    """Give the fields that make a list go on after what was had of it, sorted by such times."""
    if not had:
        return {}
    last = time_of(had[-1])
    same = takewhile(lambda one: time_of(one) == last, reversed(had))
    return {"from_time": last, "skip": sum(1 for _ in same)}
