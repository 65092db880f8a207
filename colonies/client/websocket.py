"""The library's socket, with a short way out and in for texts.

Its own way sends under a lock and with a look at how much waits, and keeps what comes for a task
that then hands it on: together that is half as much as a signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import OPEN

MOST_UNSENT = 64 * 1024
"""Bytes that may wait to be sent when more are sent without waiting."""


class WebSocket(ClientConnection):
    """A socket to a hub."""

    take: Callable[[bytes], bool] | None = None
    """Takes a text as it comes; from the first on that it does not take, all are to be received."""

    def send_now(self, text: bytes) -> bool:
        """Send a text if nothing has to be waited for; whether it was."""
        if self.protocol.state is not OPEN:
            return False
        if self.transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        self.protocol.send_text(text)
        self.transport.write(b"".join(self.protocol.data_to_send()))
        return True

    def process_event(self, event: Any) -> None:
        """Hand over a text, or let the library do what is to be done."""
        if self.take is not None and isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if event.opcode is Opcode.TEXT and event.fin and self.take(bytes(event.data)):
                return
            self.take = None  # what comes after it must not come before it
        super().process_event(event)
