"""One WebSocket: a read loop, a task a message, one writer, and the streams it subscribed to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Protocol

import msgspec
import structlog

from colonies.core import wire
from colonies.core.envelope import Reply, error_reply
from colonies.core.errors import Conflict, Failure, NotFound, TimedOut, Unavailable
from colonies.server.call import Door, Peer
from colonies.server.event import Event
from colonies.server.outbox import Outbox
from colonies.settings import Settings

logger = structlog.get_logger()

Answer = Callable[[bytes, "Connection"], Awaitable[bytes | None]]

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
NORMAL = 1000

FAREWELL_TIMEOUT = 5.0
"""Seconds that a peer has for reading what was waiting when the connection was closed."""

MISSED_HEARTBEATS = 3
"""Heartbeats that may be missed before a connection counts as dead."""


class Stream(Protocol):
    """Something that goes on pushing until it is stopped."""

    def stop(self) -> None:
        """Push nothing more."""


class Socket(Protocol):
    """The wire under a connection."""

    def frames(self) -> AsyncIterator[bytes]:
        """Give what arrives and was not taken at once, until the peer is gone."""

    def send_now(self, frame: bytes) -> bool:
        """Send a frame if nothing has to be waited for; whether it was."""

    async def send(self, frame: bytes) -> None:
        """Send a frame, waiting while the peer does not read; raise OSError when it is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye if the peer still listens, then hang up; must not wait for long."""


class Connection(Peer):
    """A peer that can be pushed to. It owns every task that works for it."""

    def __init__(self, door: Door, address: str, settings: Settings) -> None:
        super().__init__(door, address)
        self._settings = settings
        self._outbox = Outbox(
            max_frames=settings.max_pushes,
            max_bytes=settings.max_pushed_messages * settings.max_message_bytes,
        )
        self._streams: dict[str, Stream] = {}
        self._requests: dict[str, str] = {}
        self._tasks = asyncio.TaskGroup()
        self._in_flight = 0
        self._standing_aside = 0
        self._has_room = Event()
        self._has_room.set()
        self._takes_at_once = False
        self._answerer: Answer
        self._timers: dict[tuple[str, ...], asyncio.TimerHandle] = {}
        self._heartbeat = 0.0
        self._quiet: asyncio.Lock | None = None  # few need it, and it is not small
        self._farewell = (NORMAL, "")
        self._reading: asyncio.Timeout | None = None

    async def serve(self, socket: Socket, answer: Answer) -> None:
        """Answer frames until the peer or we close; leave nothing running."""
        self._answerer = answer
        self._outbox.send_now = socket.send_now
        self._schedule(("stranger",), self._settings.stranger_timeout, self._refuse_stranger)
        async with self._tasks:
            writing = self._tasks.create_task(self._write(socket))
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None) as self._reading:
                        await self._read(socket)
            finally:
                self._takes_at_once = False
                self._reading = None
                self._leave()
                writing.cancel()
            await socket.close(*self._farewell)

    def close(self, code: int, reason: str, *, discard: bool = False) -> None:
        """Send what is waiting, unless discarded, then close the socket."""
        if self._outbox.is_closed:
            return
        self._farewell = (code, reason)
        self._outbox.close(discard=discard)
        if discard:
            self._cut()
        else:
            self._schedule(("farewell",), FAREWELL_TIMEOUT, self._cut)

    def authenticate(self) -> None:
        """Note that the peer has sent a valid message: it may be silent from now on."""
        super().authenticate()
        self._cancel(("stranger",))

    @contextmanager
    def stand_aside(self) -> Iterator[None]:
        """Do not count a message that only waits among those in flight.

        Else a peer that waits often enough would not be read any more, nor be seen to leave.
        """
        if self._standing_aside >= self._settings.max_subscriptions:
            raise Conflict(f"no more than {self._settings.max_subscriptions} waits at once")
        self._standing_aside += 1
        self._count(-1)
        try:
            yield
        finally:
            self._standing_aside -= 1
            self._count(1)

    def push(self, reply: Reply, dropped: Callable[[], None] | None = None) -> bool:
        """Send without waiting; a reader that has fallen too far behind is cut off.

        Of a frame that was taken but will not be sent after all, ``dropped`` is told.
        """
        if self._outbox.push(wire.encode(reply), dropped):
            return True
        if not self._outbox.is_closed:
            logger.warning("slow reader cut off", peer=self.address)
            self.close(TRY_AGAIN_LATER, "too slow", discard=True)
        return False

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Wait until nothing waits to be sent, one after the other.

        For who pushes much, so that it is no more than the peer reads, and never cuts it off.
        """
        self._quiet = self._quiet or asyncio.Lock()
        async with self._quiet:
            await self._outbox.wait_empty()
            yield

    def has_stream(self, name: str, request: str) -> bool:
        """Whether this very request has opened a stream here that is still open."""
        return bool(request) and self._requests.get(name) == request

    def stream(self, name: str) -> Stream | None:
        """Give an open stream by its name."""
        return self._streams.get(name)

    def open_stream(self, name: str, stream: Stream, request: str = "") -> None:
        """Keep a stream under the name its pushes carry, until it is stopped or the socket goes."""
        if self.is_gone:
            raise Unavailable("the connection is closed")
        if name in self._streams:
            raise Conflict(f"there is a subscription <{name}> on this connection", field="id")
        if len(self._streams) >= self._settings.max_subscriptions:
            raise Conflict(f"no more than {self._settings.max_subscriptions} subscriptions")
        self._streams[name] = stream
        self._requests[name] = request

    @contextmanager
    def opening(self, name: str, stream: Stream, request: str) -> Iterator[None]:
        """Open a stream, and close it again if what belongs to opening it goes wrong."""
        self.open_stream(name, stream, request)
        try:
            yield
        except BaseException:
            with suppress(NotFound):
                self.close_stream(name)
            raise

    def close_stream(self, name: str) -> None:
        """Stop a stream; raise NotFound when there is none of this name."""
        stream = self._streams.pop(name, None)
        self._requests.pop(name, None)
        if stream is None:
            raise NotFound(f"there is no subscription <{name}> on this connection")
        self._cancel(("stream", name))
        stream.stop()

    def end_stream(self, name: str, failure: Failure) -> None:
        """Stop a stream from this side and say why; a v1 client is told by closing the socket."""
        if name not in self._streams:
            return
        self.close_stream(name)
        if self.door is Door.PUBSUB:
            self.close(NORMAL, failure.message)
        else:
            self.push(msgspec.structs.replace(error_reply(failure), subscription=name))

    def end_stream_after(self, name: str, seconds: float) -> None:
        """Let a stream time out."""
        message = f"subscription <{name}> ended after {seconds:g} s"
        self._schedule(("stream", name), seconds, lambda: self.end_stream(name, TimedOut(message)))

    def start(self, work: Awaitable[None]) -> None:
        """Run something for as long as the connection; it must end when the peer is gone."""
        self._tasks.create_task(self._guard(work))

    def expect_heartbeat(self, seconds: float) -> None:
        """Close the connection when it has been silent for three times as long."""
        self._heartbeat = seconds * MISSED_HEARTBEATS
        self.hear()

    def take(self, frame: bytes) -> bool:
        """Answer a frame as it comes, if none waits before it and there is room; whether it was."""
        if not self._takes_at_once or not self._has_room.is_set():
            return False
        self.hear()
        self._begin(frame)
        return True

    async def _read(self, socket: Socket) -> None:
        self._takes_at_once = True
        async for frame in socket.frames():
            self._takes_at_once = False
            self.hear()
            await self._has_room.wait()
            self._begin(frame)
            self._takes_at_once = True

    def _begin(self, frame: bytes) -> None:
        self._count(1)
        self._tasks.create_task(self._guard(self._answer(frame)))

    def _count(self, change: int) -> None:
        self._in_flight += change
        if self._in_flight < self._settings.max_in_flight:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _answer(self, frame: bytes) -> None:
        try:
            reply = await self._answerer(frame, self)
            if reply is not None:
                await self._outbox.put(reply)
        finally:
            self._count(-1)

    async def _guard(self, work: Awaitable[None]) -> None:
        """Let no bug in one message take the others down without a trace."""
        try:
            await work
        except Exception:
            logger.exception("connection failed", peer=self.address)
            self.close(INTERNAL_ERROR, "internal error")

    async def _write(self, socket: Socket) -> None:
        while (frame := await self._outbox.get()) is not None:
            try:
                await socket.send(frame)
            except OSError:
                self._outbox.give_up()
                break
            except asyncio.CancelledError:
                self._outbox.give_up()
                raise
        self._cut()

    def _cut(self) -> None:
        """Read nothing more: all has been sent, or nothing can be."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.reschedule(0)

    def _leave(self) -> None:
        self._outbox.close(discard=True)
        for name in list(self._timers):
            self._cancel(name)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.stop()
        self.leave()

    def _refuse_stranger(self) -> None:
        if not self.is_authenticated:
            self.close(POLICY_VIOLATION, "no valid message in time")

    def hear(self) -> None:
        """Note a sign of life: a frame, or the answer to a ping."""
        super().hear()
        if self._heartbeat:
            self._schedule(("heartbeat",), self._heartbeat, self._miss_heartbeat)

    def _miss_heartbeat(self) -> None:
        logger.warning("silent connection closed", peer=self.address)
        self.close(POLICY_VIOLATION, "no heartbeat", discard=True)

    def _schedule(
        self, name: tuple[str, ...], seconds: float, callback: Callable[[], None]
    ) -> None:
        self._cancel(name)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, callback)

    def _cancel(self, name: tuple[str, ...]) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
