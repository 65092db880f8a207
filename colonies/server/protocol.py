"""uvicorn as the hub needs it: who says nothing is dropped, and a socket that is idle costs little.

What the bytes mean is in `web.py` and `connection.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from colonies.core.errors import Misconfigured
from colonies.server.event import Event
from colonies.server.web import LINE
from colonies.settings import Settings

MAX_PONG_BYTES = 1024 * 1024
"""Answers to pings that a peer may leave unread."""

MAX_HEADER_BYTES = 64 * 1024
HEADER_TIMEOUT = 10.0
"""Seconds that a new connection has for the header of its first request."""

FLUSH_BYTES = 64 * 1024
"""What is sent in one round of the loop before some of it is written."""

INVALID_DATA = 1007
GRACE = 5
"""Seconds that calls in flight have when the hub stops."""


class Web(uvicorn.Server):
    """uvicorn, leaving signals to whoever runs us; raises Misconfigured for a bad certificate."""

    def __init__(self, app: Any, settings: Settings) -> None:
        super().__init__(_config(app, settings))
        self.stopping = asyncio.Event()

    def capture_signals(self) -> Any:
        """Capture none."""
        return nullcontext()

    async def main_loop(self) -> None:
        """Wait until it is time to stop; theirs looks ten times a second."""
        await self.stopping.wait()


class _HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, minus those who connect and say nothing, or never come to the point."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._silence = self.loop.call_later(HEADER_TIMEOUT, transport.close)
        self._header_bytes = 0
        self._is_in_header = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._header_bytes += len(data)
        if self._is_in_header and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._silence.cancel()
        self._silence = self.loop.call_later(HEADER_TIMEOUT, self.transport.close)
        self._header_bytes = 0
        self._is_in_header = True

    def on_headers_complete(self) -> None:
        self._silence.cancel()
        self._is_in_header = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silence.cancel()
        super().connection_lost(exc)


class _Mailbox:
    """What has come until the app takes it; asyncio's queue takes 3 kB even when it is empty."""

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._came = Event()

    def put_nowait(self, message: Any) -> None:
        self._messages.append(message)
        self._came.set()

    def empty(self) -> bool:
        return not self._messages

    async def get(self) -> Any:
        while not self._messages:
            self._came.clear()
            await self._came.wait()
        return self._messages.pop(0)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, plus a way to drop a peer that does not read, and to hear pongs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        light: Any = self  # our mailbox and event do what of theirs is used
        light.queue, light.writable = _Mailbox(), Event()
        self.writable.set()
        self.on_pong: Callable[[], None] = _nothing
        self.on_frame: Callable[[bytes], bool] = _later
        self._is_sending = False
        self._unsent = 0

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            scope: Any = self.scope
            scope["extensions"][LINE] = self

    def settle(self) -> None:
        """Forget what was said to open the socket: 4 kB, for as long as it is open."""
        scope: Any = self.scope
        scope["headers"] = []
        self.request.headers.clear()  # the parser keeps the request itself
        del self.request, self.response

    async def send(self, message: Any) -> None:
        """Take a handshake that was refused for complete; theirs logs an error for each."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_PONG_BYTES:
            self.transport.abort()

    def handle_pong(self, event: Any) -> None:
        super().handle_pong(event)
        self.on_pong()

    def send_now(self, frame: bytes) -> bool:
        """Send a frame: the first of a round of the loop at once, all others of it together."""
        if not self.writable.is_set() or self.transport.is_closing() or self.close_sent:
            return False
        if self.conn.state is not OPEN:  # the peer has said goodbye
            return False
        self.conn.send_text(frame)
        self._unsent += len(frame)
        if not self._is_sending:
            self._is_sending = True
            self.loop.call_soon(self._end_round)
            self._flush()
        elif self._unsent >= FLUSH_BYTES:
            self._flush()
        return True

    def _end_round(self) -> None:
        self._is_sending = False
        if self._unsent:
            self._flush()

    def _flush(self) -> None:
        """Hand over what was sent; each write of the loop's is one to the system."""
        self._unsent = 0
        output = self.conn.data_to_send()
        if output and not self.transport.is_closing():
            self.transport.write(b"".join(output))

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Drop a peer that answers no ping, even one that left things unread."""
        super().keepalive_timeout()
        self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """Close on text that is none (RFC 6455, 8.1), without a traceback on the console."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        if self.curr_msg_data_type == "text" and not _is_text(data):
            self.conn.fail(INVALID_DATA)
            self.handle_parser_exception()
        elif not self.close_sent and self.queue.empty() and self.on_frame(data):
            self.frames = []
        else:
            super().send_receive_event_to_app()


def _nothing() -> None:
    """Do nothing with a pong."""


def _later(_frame: bytes) -> bool:
    """Leave a frame for later."""
    return False


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _config(app: Any, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=_HttpProtocol,
        ws=_WebSocketProtocol,
        # Above the limit, so that what is somewhat too large is answered and not cut off.
        ws_max_size=4 * settings.max_message_bytes,
        ws_per_message_deflate=False,  # 33 µs and 41 KiB a connection for payloads of base64
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(f"--tls-cert, --tls-key: {error}") from error
    return config
