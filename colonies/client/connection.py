"""One socket for everything: calls by their ids, pushes by their subscription.

Open at the first use and opened again whenever it is lost, with growing pauses and jitter; what was
subscribed is subscribed again. A call that was under way when the socket went raises
ConnectionLost: whether it happened is not known, so it is repeated (see `insistence`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Protocol, cast

import msgspec
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from colonies.client.closing import Closing
from colonies.client.insistence import pauses
from colonies.client.stream import Stream
from colonies.client.websocket import WebSocket
from colonies.core import wire
from colonies.core.envelope import Reply, new_request_id, open_reply, seal, too_large
from colonies.core.errors import (
    ColoniesError,
    ConnectionLost,
    DeadlineExceeded,
    Failure,
    Misconfigured,
    Unavailable,
)
from colonies.core.identity import PrivateKey
from colonies.settings import Settings

logger = logging.getLogger(__name__)

MAX_REPLY_BYTES = 64 * 1024 * 1024

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Seconds between attempts to reconnect, before jitter: when a hub goes, all come back at once."""

GOODBYE_PAUSES = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before each try to end what the hub may not have begun yet."""


def endpoint(settings: Settings, scheme: str) -> str:
    """Give the address of the hub, for ``ws`` or ``http``."""
    host = f"[{settings.server_host}]" if ":" in settings.server_host else settings.server_host
    return f"{scheme}{'s' if settings.tls else ''}://{host}:{settings.server_port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Give how to check the hub's certificate; None without TLS."""
    if not settings.tls:
        return None
    context = ssl.create_default_context()
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Transport(Protocol):
    """What carries a call to the hub and brings the reply."""

    has_served: bool
    """Whether the hub has ever done what it was asked, or said when: it is worth waiting for."""

    is_closed: bool

    async def call(
        self,
        payload_type: str,
        fields: Mapping[str, Any],
        key: PrivateKey | None,
        timeout: float,
        *,
        req: str = "",
    ) -> Reply:
        """Give the reply to one try within ``timeout`` seconds; ``req`` is that of every try."""

    async def close(self) -> None:
        """Leave nothing open."""


class Connection(Closing):
    """The socket to one hub. Enter it, or close it, so that nothing is left running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ids = count(1)
        self._websocket: WebSocket | None = None
        self._opening = asyncio.Lock()
        self._answers: dict[str, asyncio.Future[Reply]] = {}
        self._streams: dict[str, Stream] = {}
        self._lasting: set[str] = set()  # to be subscribed again
        self._subscribed: set[str] = set()  # on the present socket
        self._is_resubscribing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_closed = False
        self.has_served = False

    async def close(self) -> None:
        """Close the socket and end every stream; may be called twice."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._websocket is not None:
            await self._websocket.close()
        self._lose(ConnectionLost("the connection was closed"))
        for stream in self._streams.values():
            stream.fail(ConnectionLost("the connection was closed"))

    async def call(
        self,
        payload_type: str,
        fields: Mapping[str, Any],
        key: PrivateKey | None,
        timeout: float,
        *,
        req: str = "",
    ) -> Reply:
        """Send a signed request once and give its reply within ``timeout`` seconds.

        Raises ConnectionLost when there is no hub or it goes, DeadlineExceeded when it is silent.
        """
        id_ = str(next(self._ids))
        frame = self._checked(seal(payload_type, fields, key, id_, req=req))
        try:
            if self._websocket is not None and self._websocket.send_now(frame):
                return await self._answer_within(id_, timeout)
            async with asyncio.timeout(timeout):
                return await self._exchange(id_, frame)
        except TimeoutError:
            place = endpoint(self._settings, "ws")
            raise DeadlineExceeded(f"{place} did not answer within {timeout:g} s") from None

    async def _answer_within(self, id_: str, seconds: float) -> Reply:
        """Give the reply to what was just sent; raise TimeoutError when there is none in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        self._answers[id_] = answer
        timer = loop.call_later(seconds, _give_up, answer)  # a third of `asyncio.timeout`
        try:
            return await answer
        finally:
            timer.cancel()
            self._answers.pop(id_, None)

    def _checked(self, frame: bytes) -> bytes:
        if len(frame) > self._settings.max_message_bytes:
            raise too_large(len(frame), self._settings.max_message_bytes)
        return frame

    async def _exchange(self, id_: str, frame: bytes) -> Reply:
        websocket = await self._open()
        answer = asyncio.get_running_loop().create_future()
        self._answers[id_] = answer
        try:
            await websocket.send(frame, text=True)
            reply: Reply = await answer
        except ConnectionClosed as error:
            raise ConnectionLost(f"the hub hung up: {error}") from error
        finally:
            self._answers.pop(id_, None)
        return reply

    def make_stream(
        self,
        payload_type: str,
        fields: Callable[[], dict[str, Any]],
        key: PrivateKey,
        *,
        make: Callable[[str], Stream] = Stream,
        request: str = "",
    ) -> Stream:
        """Make a stream for `subscribe`; ``fields`` is asked anew each time it is subscribed."""
        stream = make(f"s{next(self._ids)}")
        request = request or new_request_id()

        async def send() -> None:
            websocket = await self._open()
            asked = fields()
            if asked.get("holding") is not None and websocket is not stream.websocket:
                stream.take_unread()  # the hub gives to others what we do not say we hold
            stream.websocket = websocket
            frame = self._checked(seal(payload_type, asked, key, stream.name, req=request))
            reply = await self._exchange(stream.name, frame)
            open_reply(reply, msgspec.Raw)
            if websocket is not self._websocket:
                raise ConnectionLost("the hub hung up after it had subscribed us")
            if stream.name in self._streams:
                self._subscribed.add(stream.name)
            else:
                self._start(self._unsubscribe(stream.name, key))

        stream.send, stream.key = send, key
        self._streams[stream.name] = stream
        return stream

    async def subscribe(self, stream: Stream, timeout: float) -> None:
        """Subscribe a stream, and from then on again after every reconnect.

        Tried again after a failure, it is the same subscription, and what was pushed is not lost.
        """
        try:
            async with asyncio.timeout(timeout):
                await stream.send()
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout:g} s") from None
        self._lasting.add(stream.name)

    def abandon(self, stream: Stream) -> None:
        """Forget a stream that the hub may have begun, and tell it so."""
        self.forget(stream.name)
        if not self.is_closed:
            self._start(self._unsubscribe(stream.name, stream.key))

    async def _unsubscribe(self, name: str, key: PrivateKey) -> None:
        """End a subscription, also one that the hub is only about to begin."""
        with suppress(ColoniesError):
            for pause in GOODBYE_PAUSES:
                await asyncio.sleep(pause)
                fields = {"subscription": name}
                reply = await self.call("unsubscribemsg", fields, key, self._settings.try_timeout)
                if open_reply(reply, dict)["ended"]:
                    return

    def is_subscribed(self, stream: Stream) -> bool:
        """Whether the hub pushes to a stream just now."""
        return stream.name in self._subscribed

    def forget(self, name: str) -> None:
        """Take nothing more for a stream, and do not subscribe it again."""
        self._streams.pop(name, None)
        self._lasting.discard(name)
        self._subscribed.discard(name)

    async def _open(self) -> WebSocket:
        async with self._opening:
            if self.is_closed:
                raise ConnectionLost("the connection was closed")
            if self._websocket is None:
                websocket = await self._dial()
                if self.is_closed:
                    await websocket.close()
                    raise ConnectionLost("the connection was closed")
                websocket.take = self._take_text
                self._websocket = websocket
                self._start(self._read(self._websocket))
            return self._websocket

    async def _dial(self) -> WebSocket:
        url = endpoint(self._settings, "ws") + "/ws"
        try:
            websocket = await open_websocket(
                url,
                create_connection=WebSocket,
                compression=None,
                max_size=MAX_REPLY_BYTES,
                open_timeout=self._settings.timeout,
                ssl=tls_context(self._settings),
                proxy=None,
            )
            return cast(WebSocket, websocket)
        except InvalidStatus as error:
            if "Retry-After" in error.response.headers:
                self.has_served = True  # it is there, and worth another try
                raise Unavailable(f"{url} has too much to do") from error
            raise ConnectionLost(f"no hub at {url}: {error}") from error
        except (OSError, WebSocketException) as error:
            raise ConnectionLost(f"no hub at {url}: {_reason(error)}") from error
        except ValueError as error:  # UnicodeError is one
            raise Misconfigured(f"{url} is no address: {error}") from error

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, websocket: WebSocket) -> None:
        reason = "the hub hung up"
        try:
            async for frame in websocket:
                self._take(wire.decode(frame, Reply))
        except ConnectionClosed as error:
            reason = f"the hub hung up: {error}"
        except Failure as failure:
            reason = f"the hub sent no reply: {failure}"
        self._websocket = None
        self._subscribed.clear()
        self._lose(ConnectionLost(reason))
        await websocket.close()
        if self._lasting and not (self.is_closed or self._is_resubscribing):
            await self._resubscribe()

    def _take_text(self, text: bytes) -> bool:
        """Take a text as it comes; what is no reply is left to `_read`, which then ends."""
        try:
            reply = wire.decode(text, Reply)
        except Failure:
            return False
        self._take(reply)
        return True

    def _take(self, reply: Reply) -> None:
        self.has_served = self.has_served or not reply.error
        if reply.subscription is not msgspec.UNSET:
            if stream := self._streams.get(reply.subscription):
                self._feed(stream, reply)
        elif reply.id is not msgspec.UNSET:
            answer = self._answers.get(reply.id)
            if answer and not answer.done():
                answer.set_result(reply)

    def _feed(self, stream: Stream, reply: Reply) -> None:
        if not reply.error:
            stream.feed(reply)
            return
        self.forget(stream.name)
        try:
            open_reply(reply, msgspec.Raw)
        except Failure as failure:
            stream.fail(failure)

    def _lose(self, error: ConnectionLost) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionLost(str(error)))
        self._answers.clear()

    async def _resubscribe(self) -> None:
        """Try until every stream is subscribed again, or was refused."""
        self._is_resubscribing = True
        logger.warning("lost %s, trying again", endpoint(self._settings, "ws"))
        growing = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        try:
            while self._lasting - self._subscribed:
                await asyncio.sleep(next(growing))
                await self._try_to_resubscribe()
            logger.info("connected again")
        finally:
            self._is_resubscribing = False

    async def _try_to_resubscribe(self) -> None:
        try:
            for name in self._lasting - self._subscribed:
                await self._subscribe_again(name)
        except (ConnectionLost, Unavailable) as error:
            logger.debug("reconnect failed: %s", error)
        except TimeoutError:
            logger.debug("reconnect failed: no answer in time")
            if self._websocket is not None:
                await self._websocket.close()  # it may have been subscribed: begin anew

    async def _subscribe_again(self, name: str) -> None:
        stream = self._streams.get(name)
        if stream is None:
            return
        try:
            await self.subscribe(stream, self._settings.try_timeout)
        except Unavailable:
            raise
        except Failure as failure:
            self.forget(name)
            stream.fail(failure)


def _give_up(answer: asyncio.Future[Reply]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
