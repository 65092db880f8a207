"""Where messages begin and end: HTTP with a length, and WebSocket frames (RFC 6455)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

CLOSED = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""How a peer that is gone shows."""

END_OF_HEAD = b"\r\n\r\n"
FIN, MASKED, CONTROL = 0x80, 0x80, 0x08
TWO_BYTES, EIGHT_BYTES = 126, 127
EXTENSIONS = b"sec-websocket-extensions:"


class Reader(asyncio.StreamReader):
    """A stream that tells its end to who does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        """Take the end of the connection."""
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: BaseException) -> None:
        """Take the failure of the connection."""
        super().set_exception(exc)
        self.ended.set()


@dataclass
class HttpMessage:
    """A request or a response, whole."""

    raw: bytes
    path: str
    body: bytes
    is_upgrade: bool


async def read_http(reader: asyncio.StreamReader) -> HttpMessage | None:
    """Read one message; None at the end of the connection.

    Extensions of WebSockets are not offered on: compressed frames could not be read.
    """
    try:
        head = await reader.readuntil(END_OF_HEAD)
    except asyncio.IncompleteReadError:
        return None
    lines = head.removesuffix(END_OF_HEAD).split(b"\r\n")
    lines = [line for line in lines if not line.lower().startswith(EXTENSIONS)]
    pairs = [line.lower().split(b":", 1) for line in lines[1:]]
    headers = {name.strip(): value.strip() for name, value in pairs}
    is_upgrade = headers.get(b"upgrade") == b"websocket"
    body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
    path = lines[0].split(b" ")[1].decode()
    return HttpMessage(b"\r\n".join(lines) + END_OF_HEAD + body, path, body, is_upgrade)


@dataclass
class Incoming:
    """A message of one frame or more, or a control frame: its bytes, and what they say."""

    is_control: bool
    raw: bytes = b""
    content: bytes = field(default=b"", repr=False)


async def read_frames(reader: asyncio.StreamReader) -> AsyncIterator[Incoming]:
    """Read messages until the connection ends; control frames come between the parts of one."""
    message = Incoming(is_control=False)
    while True:
        try:
            first, raw, content = await _read_frame(reader)
        except CLOSED:
            return
        if first & CONTROL:
            yield Incoming(True, raw, content)
            continue
        message.raw += raw
        message.content += content
        if first & FIN:
            yield message
            message = Incoming(is_control=False)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = await reader.readexactly(2)
    first, length = head[0], head[1] & ~MASKED
    if length in (TWO_BYTES, EIGHT_BYTES):
        extended = await reader.readexactly(2 if length == TWO_BYTES else 8)
        head, length = head + extended, int.from_bytes(extended, "big")
    mask = await reader.readexactly(4) if head[1] & MASKED else b""
    body = await reader.readexactly(length)
    return first, head + mask + body, _unmask(body, mask)


def _unmask(body: bytes, mask: bytes) -> bytes:
    if not mask:
        return body
    size = len(body)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(body, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
