"""The doors, on one port: an ASGI app that moves bytes to and from the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Protocol

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colonies.core import wire
from colonies.core.envelope import error_reply
from colonies.core.errors import Failure, TimedOut, TooLarge, Unavailable, UnknownType
from colonies.server.call import Door, Peer
from colonies.server.connection import POLICY_VIOLATION, Connection
from colonies.server.descriptors import NONE_LEFT
from colonies.server.dispatch import Dispatcher
from colonies.server.metrics import Metrics
from colonies.settings import Settings

logger = structlog.get_logger()

HANG_UP_TIMEOUT = 1.0
"""Seconds that a close frame may take to leave."""

LINE = "colonies.line"
"""The ASGI scope's key for the server's own end of a socket, a `Line`."""

PAGES = ("/health", "/ready", "/metrics")
"""What whoever watches a hub asks, which is answered however busy it is."""

OK = 200
_TRY_AGAIN = PlainTextResponse(
    "too many of this address have not said who they are",
    Unavailable.status,
    {"retry-after": "1"},
)
"""The answer to a handshake that may be tried again: behind one address there may be thousands."""

TEXT = {"content-type": "text/plain; charset=utf-8"}


def make_app(
    dispatcher: Dispatcher,
    settings: Settings,
    metrics: Metrics,
    *,
    check: Callable[[], Awaitable[None]],
) -> ASGIApp:
    """Make the app; ``check`` raises a Failure when the hub is not ready to serve."""
    api = _Api(dispatcher, settings)
    pages = Starlette(
        routes=[
            Route("/api", api.post, methods=["POST"]),
            Route(PAGES[0], _health, methods=["GET"]),
            Route(PAGES[1], _Ready(check).get, methods=["GET"]),
            Route(PAGES[2], _Exporter(metrics).get, methods=["GET"]),
        ]
    )
    doors = (Door.WS, Door.PUBSUB)
    sockets = {door.value: _Sockets(door, dispatcher, settings, metrics) for door in doors}

    # Starlette's own way to a socket would keep 3 kB of frames for as long as that is open.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        door = sockets.get(path) if scope["type"] == "websocket" else None
        await (door or pages)(scope, receive, send)

    return app


def refusing(app: ASGIApp) -> ASGIApp:
    """Make the app of who came when there was no room: how the hub is, and else to come again."""
    failure = error_reply(Unavailable(NONE_LEFT))
    headers = {**TEXT, "retry-after": "1", "connection": "close"}
    refusal = Response(wire.encode(failure), Unavailable.status, headers)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        if scope["path"] in PAGES:
            await app(scope, receive, send_last)
        else:
            await refusal(scope, receive, send)

    return answer


async def _health(_request: Request) -> Response:
    return PlainTextResponse("")


class _Ready:
    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check

    async def get(self, _request: Request) -> Response:
        date = {"Date": formatdate(usegmt=True)}  # whoever asks can compare the clocks
        try:
            await self._check()
        except Failure as failure:
            return PlainTextResponse(failure.message, Unavailable.status, date)
        return PlainTextResponse("", headers=date)


class _Exporter:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")


class _Api:
    """One envelope per request, one reply per response; the status is the failure's."""

    def __init__(self, dispatcher: Dispatcher, settings: Settings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings

    async def post(self, request: Request) -> Response:
        peer = Peer(Door.API, request.client.host if request.client else "")
        try:
            body = await self._body(request)
        except Failure as refusal:
            headers = {**TEXT, "connection": "close"}
            return Response(wire.encode(error_reply(refusal)), refusal.status, headers)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(request, peer))
            reply, failure = await self._dispatcher.answer(body, peer)
            watch.cancel()
        return Response(wire.encode(reply), failure.status if failure else OK, TEXT)

    async def _body(self, request: Request) -> bytes:
        limit = self._settings.max_message_bytes
        if int(request.headers.get("content-length", 0)) > limit:
            raise TooLarge(f"expected at most {limit} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"expected at most {limit} bytes")
        except TimeoutError:
            raise TimedOut("the body did not arrive in time") from None
        except ClientDisconnect:
            raise TimedOut("the body ended too early") from None
        return bytes(body)


async def _watch(request: Request, peer: Peer) -> None:
    """Tell a long poll that nobody waits for it any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    peer.leave()


class _Sockets:
    """The WebSocket doors: accepts, counts strangers, and hands over to a Connection."""

    def __init__(
        self, door: Door, dispatcher: Dispatcher, settings: Settings, metrics: Metrics
    ) -> None:
        self._door = door
        self._dispatcher = dispatcher
        self._settings = settings
        self._open = metrics.connections.labels(door)
        self._strangers: dict[str, set[Connection]] = {}  # by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        connection = Connection(self._door, client[0] if client else "", self._settings)
        await receive()  # the handshake
        if self._count_strangers(connection.address) >= self._settings.max_strangers:
            await _TRY_AGAIN(scope, receive, send)
            return
        self._strangers.setdefault(connection.address, set()).add(connection)
        self._open.inc()
        try:
            await send({"type": "websocket.accept"})
            line: Line = scope["extensions"][LINE]
            line.settle()
            line.on_pong, line.on_frame = connection.hear, connection.take
            await connection.serve(_AsgiSocket(receive, send, line), self._answer)
        finally:
            self._open.dec()
            self._strangers.get(connection.address, set()).discard(connection)
            self._count_strangers(connection.address)

    def _count_strangers(self, address: str) -> int:
        """Count those of an address that are still unknown, and forget who is not."""
        strangers = {one for one in self._strangers.pop(address, ()) if not one.is_authenticated}
        if strangers:
            self._strangers[address] = strangers
        return len(strangers)

    async def _answer(self, frame: bytes, connection: Connection) -> bytes | None:
        reply, failure = await self._dispatcher.answer(frame, connection)
        if self._door is Door.WS:
            return wire.encode(reply)
        # v1 acknowledges nothing, and does not hear messages that this door does not take.
        if failure and not isinstance(failure, UnknownType):
            connection.push(reply)
            connection.close(POLICY_VIOLATION, failure.code)
        return None


class Line(Protocol):
    """The server's own end of a socket: what ASGI has no words for."""

    on_pong: Callable[[], None]
    """Called when the peer answers a ping."""

    on_frame: Callable[[bytes], bool]
    """Takes a frame as it comes; one that it does not take is received in the words of ASGI."""

    def settle(self) -> None:
        """Forget the handshake."""

    def send_now(self, frame: bytes) -> bool:
        """Send a frame if nothing has to be waited for; whether it was."""

    def abort(self) -> None:
        """Drop the connection."""


class _AsgiSocket:
    """A connection's wire: straight where that is possible, else in the words of ASGI."""

    def __init__(self, receive: Receive, send: Send, line: Line) -> None:
        self._receive = receive
        self._send = send
        self._line = line
        self.send_now = line.send_now

    async def frames(self) -> AsyncIterator[bytes]:
        while (message := await self._receive())["type"] == "websocket.receive":
            text = message.get("text")
            yield text.encode() if text is not None else message["bytes"]

    async def send(self, frame: bytes) -> None:
        try:
            await self._send({"type": "websocket.send", "text": frame.decode()})
        except RuntimeError as error:  # the server has closed before we could know
            raise ConnectionResetError("the socket is closed") from error

    async def close(self, code: int, reason: str) -> None:
        with suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(HANG_UP_TIMEOUT):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                return
        self._line.abort()
