"""What a connection still has to send: bounded in frames and bytes."""

from __future__ import annotations

import asyncio
from collections import deque


class Outbox:
    """Frames in order, for one writer.

    A push over the bound is refused, and the reader is then cut off; a reply waits for room, which
    holds back only the peer that asked for it.
    """

    def __init__(self, *, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._is_closed = False
        self._readable = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._is_closed

    def push(self, frame: bytes) -> bool:
        """Take a frame if there is room and the outbox is open."""
        if self._is_closed or not self._roomy.is_set():
            return False
        self._add(frame)
        return True

    async def put(self, frame: bytes) -> None:
        """Take a frame when there is room; drop it when the outbox is closed."""
        await self._roomy.wait()
        if not self._is_closed:
            self._add(frame)

    async def get(self) -> bytes | None:
        """Give the next frame; None when the outbox is closed and empty."""
        while not self._frames and not self._is_closed:
            self._readable.clear()
            await self._readable.wait()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        self._update()
        return frame

    def close(self, *, discard: bool) -> None:
        """Take nothing more; what is still in it goes out, unless discarded."""
        self._is_closed = True
        if discard:
            self._frames.clear()
        self._roomy.set()
        self._readable.set()

    def _add(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._readable.set()
        self._update()

    def _update(self) -> None:
        full = len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes
        if full and not self._is_closed:
            self._roomy.clear()
        else:
            self._roomy.set()
