"""What a connection still has to send: bounded in frames and bytes."""

from __future__ import annotations

from collections.abc import Callable

from colonies.server.event import Event

Dropped = Callable[[], None]
"""What is called for a frame that was taken but will never be sent."""


class Outbox:
    """Frames in order, for one writer.

    A push over the bound is refused, and the reader is then cut off; a reply waits for room, which
    holds back only the peer that asked for it.
    """

    def __init__(self, *, max_frames: int, max_bytes: int) -> None:
        self.send_now: Callable[[bytes], bool] = _later
        """Sends a frame at once if that needs no waiting: nothing is put here then."""
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        # Not a deque: nearly always it is empty, and a deque takes 600 bytes even so.
        self._frames: list[tuple[bytes, Dropped | None]] = []
        self._given: Dropped | None = None
        self._bytes = 0
        self._is_closed = False
        self._is_awaited = False
        self._readable = Event()
        self._roomy = Event()
        self._empty = Event()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._is_closed

    def push(self, frame: bytes, dropped: Dropped | None = None) -> bool:
        """Take a frame if there is room and the outbox is open."""
        if self._is_closed or self._is_full():
            return False
        self._add(frame, dropped)
        return True

    async def put(self, frame: bytes) -> None:
        """Take a frame when there is room; drop it when the outbox is closed."""
        while self._is_full() and not self._is_closed:
            self._roomy.clear()
            await self._roomy.wait()
        if not self._is_closed:
            self._add(frame, None)

    async def get(self) -> bytes | None:
        """Give the next frame; None when the outbox is closed and empty."""
        while not self._frames:
            if self._is_closed:
                return None
            self._readable.clear()
            self._is_awaited = True
            try:
                await self._readable.wait()
            finally:
                self._is_awaited = False
        frame, self._given = self._frames.pop(0)
        self._bytes -= len(frame)
        if not self._is_full():
            self._roomy.set()
        if not self._frames:
            self._empty.set()
        return frame

    async def wait_empty(self) -> None:
        """Wait until nothing in it waits to be sent, or it is closed."""
        while self._frames and not self._is_closed:
            self._empty.clear()
            await self._empty.wait()

    def give_up(self) -> None:
        """Take notice that the frame given last could not be sent."""
        if self._given is not None:
            self._given()

    def close(self, *, discard: bool) -> None:
        """Take nothing more; what is still in it goes out, or is dropped."""
        self._is_closed = True
        self._roomy.set()
        self._empty.set()
        self._readable.set()
        if discard:
            frames, self._frames = self._frames, []
            for _, dropped in frames:
                if dropped is not None:
                    dropped()

    def _is_full(self) -> bool:
        return len(self._frames) >= self._max_frames or self._bytes >= self._max_bytes

    def _add(self, frame: bytes, dropped: Dropped | None) -> None:
        # Straight past the writer, if that has nothing to send.
        if self._is_awaited and not self._frames and self.send_now(frame):
            return
        self._frames.append((frame, dropped))
        self._bytes += len(frame)
        self._readable.set()


def _later(_frame: bytes) -> bool:
    return False
